import pytest

from recbole_gro.http_service.refusal import HttpRefusal


@pytest.mark.parametrize(
    ("refusal", "headers"),
    [
        (HttpRefusal(402, "spent"), {}),
        (HttpRefusal(429, "slower", retry_after=3), {"Retry-After": "3"}),
        (HttpRefusal(401, "no key"), {"WWW-Authenticate": "Bearer"}),
    ],
)
def test_headers_follow_from_the_status(refusal, headers):
    assert refusal.headers == headers
