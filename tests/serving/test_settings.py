"""Settings of the service: ranges and defaults."""

import pytest

from recbole_gro import UserError
from recbole_gro.serving.settings import AccessLogSettings, ServiceSettings


@pytest.mark.parametrize(
    ("key", "accepted", "refused"),
    [(ServiceSettings.served_k, 2, 1), (ServiceSettings.served_k, 100, 2.5), (AccessLogSettings.access_log, True, 1)],
)
def test_ranges(key, accepted, refused):
    key.check(accepted)
    with pytest.raises(UserError, match=rf"^{key.name}: .* is not allowed; it takes "):
        key.check(refused)


def test_lists_have_100_items_and_queries_are_not_logged_by_default():
    assert ServiceSettings.of({}).served_k == 100
    assert AccessLogSettings.of({}).access_log is False
