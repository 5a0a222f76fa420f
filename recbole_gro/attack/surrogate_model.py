"""Model extraction (Yue et al., RecSys'21): a surrogate trained with Eq. 4 on the lists a black box gave out."""

from typing import Any

from recbole.config import Config

from recbole_gro.config.config import derive
from recbole_gro.config.settings import setting
from recbole_gro.trainer.catalogue import StandInDataset
from recbole_gro.utils.errors import UserError


class Catalogue(StandInDataset):
    """What an adversary knows of the data: the number of items; no user, no interaction.

    Args:
        config: the surrogate's config.
        n_items: size of the item id space, padding included.
        items: a dataset whose item features the adversary knows; None where it knows none.
    """

    def __init__(self, config: Config, n_items: int, items: Any = None):
        super().__init__(config, n_items, items=items)

    def refused(self, wanted: str) -> UserError:
        """Return the error for a surrogate that reads more than an adversary knows."""
        features = "the number of items only (surrogate_knows_features=True adds item features)"
        sees = features if self.items is None else "items and their features only"
        return UserError(f"surrogate: its model reads {wanted} of the data; an attacker sees {sees}")


def create_surrogate(config, n_items: int, items=None):
    """An untrained model of the surrogate's architecture and its config, from the target's config.

    Args:
        config: the target's config; names of fields, architecture where `surrogate_model` names no other.
        n_items: size of the id space, padding included.
        items: the target's dataset, of which item features are used where `surrogate_knows_features` is set.
    """
    name, file = setting(config, "surrogate_model"), setting(config, "surrogate_config")
    derived = derive(config, name, file, "surrogate_model")
    auxiliary = items if setting(config, "surrogate_knows_features") else None
    return derived.model_class(derived, Catalogue(derived, n_items, auxiliary)).to(derived["device"]), derived
