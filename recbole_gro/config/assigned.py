"""Settings that a script assigns after it made a config, as in `config["n_heads"] = 1`."""

from typing import Any

from recbole.config import Config

from recbole_gro.config.known_names import OF_ARCHITECTURES, own_names, recbole_names
from recbole_gro.config.models import role_models
from recbole_gro.config.settings import plugin_keys

OF_A_RUN = {"defense", "output_dir", "resume_dir", "stages_dir"}  # which runs assign themselves


def assigned_settings(config: Config) -> dict[str, Any]:
    """Return the settings of architectures and of this plugin whose value is not the one that the config was made with.

    RecBole itself assigns some of its own keys, such as those of evaluation, which are therefore no part of it.

    Args:
        config: RecBole's Config or ours.
    """
    models = [config.model_class, *role_models(config.final_config_dict)]
    of_models = frozenset[str]().union(*map(own_names, models)) - recbole_names() | OF_ARCHITECTURES
    names = (of_models | plugin_keys().keys()) - OF_A_RUN
    made_with = {**config.internal_config_dict, **config.external_config_dict}
    return {
        name: value
        for name, value in config.final_config_dict.items()
        if name in names and (name not in made_with or made_with[name] != value)
    }
