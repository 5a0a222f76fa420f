"""Settings of the service: ranges."""

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
