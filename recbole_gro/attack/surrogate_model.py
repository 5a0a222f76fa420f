"""The untrained surrogate, and the dataset that it is built with."""

from typing import Any

from recbole.config import Config
from torch import nn

from recbole_gro.attack.settings import QuerySettings, SurrogateSettings
from recbole_gro.config.config import derive, with_settings
from recbole_gro.config.config_like import ConfigLike
from recbole_gro.config.files import read_config_file
from recbole_gro.config.models import model_name, models_of
from recbole_gro.scoring import scorer_class
from recbole_gro.trainer.catalogue import StandInDataset
from recbole_gro.utils.errors import UserError


class SurrogateDataset(StandInDataset):
    """Stand in for the data of a surrogate: the number of items, no user and no interaction.

    `items` is a dataset whose item features are public; None for none.
    """

    def refused(self, field: str) -> UserError:
        """Return the error for a surrogate that reads more than the attack has."""
        no_features = "the number of items only (surrogate_knows_features=True adds item features)"
        sees = no_features if self.items is None else "items and their features only"
        return UserError(f"surrogate: its model reads {field} of the data; an attacker sees {sees}")


def surrogate_models(config: ConfigLike) -> list[Any]:
    """Return the architectures of the candidate surrogates: names, classes, or None for the target's."""
    return models_of(SurrogateSettings.of(config).surrogate_model)


def surrogates_by_name(config: ConfigLike) -> dict[str, Any]:
    """Return the architectures of the candidate surrogates by the name that results have for them."""
    return {str(name and model_name(name)): name for name in surrogate_models(config)}


def surrogate_length(config: ConfigLike, model_class: type) -> int:
    """Return the places of a sequence that a surrogate reads: the items of the longest query, and BERT4Rec's mask.

    It has been trained on none that is longer. On ML-1M a BERT4Rec of queries of 50 items reaches twice the NDCG@10 on
    the last 49 items of the users' histories that it reaches on 199.

    Args:
        config: of the attack.
        model_class: the surrogate's.
    """
    longest = config["MAX_ITEM_LIST_LENGTH"]
    items = QuerySettings.of(config).query_length or longest
    return min(longest, max(2, items + scorer_class(model_class).extra_places))


def create_surrogate(
    config: ConfigLike, n_items: int, items: Any = None, model: Any = None
) -> tuple[nn.Module, Config]:
    """Return an untrained surrogate, on the config's device, and its config.

    Args:
        config: of the attack: the target's, whose architecture is used where no other is named.
        n_items: size of the id space, padding included.
        items: the target's dataset; its item features are used where `surrogate_knows_features` is set.
        model: name or class, one of `surrogate_models`; None: the first of them.

    Raises:
        UserError: the surrogate's model reads more of the data than the attack has.
    """
    name = surrogate_models(config)[0] if model is None else model
    settings = SurrogateSettings.of(config)
    file = settings.surrogate_config
    derived = derive(config, name, file, "surrogate_model")
    if "MAX_ITEM_LIST_LENGTH" not in (read_config_file(file) if file else {}):
        derived = with_settings(derived, MAX_ITEM_LIST_LENGTH=surrogate_length(config, derived.model_class))
    features = items if settings.surrogate_knows_features else None
    dataset = SurrogateDataset(derived, n_items, items=features)
    return derived.model_class(derived, dataset).to(derived["device"]), derived
