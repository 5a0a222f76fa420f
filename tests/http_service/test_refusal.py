import pytest

from recbole_gro.http_service.refusal import Refusal


@pytest.mark.parametrize(
    ("refusal", "headers"),
    [
        (Refusal(402, "spent"), {}),
        (Refusal(429, "slower", retry_after=3), {"Retry-After": "3"}),
        (Refusal(401, "no key"), {"WWW-Authenticate": "Bearer"}),
    ],
)
def test_headers_follow_from_the_status(refusal, headers):
    assert refusal.headers == headers
