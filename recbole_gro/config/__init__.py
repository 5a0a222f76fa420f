"""Settings: RecBole's Config without its traps, files, typed settings, RecBole's own settings, model names."""

from recbole_gro.config.config import DEFAULT_DATASET, Config, derive, plain, plain_settings, setting

__all__ = ["DEFAULT_DATASET", "Config", "derive", "plain", "plain_settings", "setting"]
