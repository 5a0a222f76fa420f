"""Settings: RecBole's Config without its traps, files, typed settings, RecBole's own settings, model names."""

from recbole_gro.utils import compat  # noqa: F401, I001  (first: RecBole on today's libraries)

from recbole_gro.config.config import DEFAULT_DATASET, Config, derive, plain, plain_settings
from recbole_gro.config.settings import Settings, key, setting

__all__ = ["DEFAULT_DATASET", "Config", "Settings", "derive", "key", "plain", "plain_settings", "setting"]
