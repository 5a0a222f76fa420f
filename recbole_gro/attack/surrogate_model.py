"""Model extraction (Yue et al., RecSys'21): a surrogate trained with Eq. 4 on the lists a black box gave out."""

import torch
from recbole.data.interaction import Interaction

from recbole_gro.config.config import derive
from recbole_gro.config.settings import setting
from recbole_gro.utils.errors import UserError


class Catalogue:
    """All the data an attacker has: how many items there are. Stands where RecBole's models want a dataset.

    Args:
        config: the surrogate's config.
        n_items: size of the id space, padding included.
        items: a dataset whose item features he sees beside the items; None where he sees none.
    """

    user_num = 1  # nobody but the unknown user

    def __init__(self, config, n_items: int, items=None):
        self.item_field, self.user_field = config["ITEM_ID_FIELD"], config["USER_ID_FIELD"]
        self.item_num = n_items
        self.field2seqlen = {config["ITEM_ID_FIELD"] + config["LIST_SUFFIX"]: config["MAX_ITEM_LIST_LENGTH"]}
        self.inter_feat = Interaction({self.item_field: torch.zeros(0, dtype=torch.long)})
        self.items = items

    def num(self, field: str) -> int:
        """How many ids a field has."""
        if field == self.item_field:
            return self.item_num
        if field == self.user_field:
            return self.user_num
        items = self._public_items(f"the number of values of {field}")
        if field not in items.get_item_feature():
            raise UserError(f"surrogate: its model reads {field}; an attacker sees items and their features only")
        return items.num(field)

    def get_item_feature(self) -> Interaction:
        """The table of items and their features."""
        return self._public_items("features of items").get_item_feature()

    @property
    def field2type(self) -> dict:
        """Types of the fields of the item table."""
        return self._public_items("features of items").field2type

    def _public_items(self, wanted: str):
        if self.items is None:
            raise UserError(
                f"surrogate: its model reads {wanted}; an attacker knows the number of items only "
                f"(surrogate_knows_features=True lets him see the item features)"
            )
        return self.items

    def __getattr__(self, name: str):
        if name.startswith("__"):
            raise AttributeError(name)
        raise UserError(f"surrogate: its model reads {name} of the data; an attacker knows the number of items only")


def create_surrogate(config, n_items: int, items=None):
    """An untrained model of the surrogate's architecture and its config, from the target's config.

    Args:
        config: the target's config; names of fields, architecture where `surrogate_model` names no other.
        n_items: size of the id space, padding included.
        items: the target's dataset, of which item features are used where `surrogate_knows_features` is set.
    """
    name, file = setting(config, "surrogate_model"), setting(config, "surrogate_config")
    derived = derive(config, name, file, "surrogate_model")
    known = items if setting(config, "surrogate_knows_features") else None
    return derived.model_class(derived, Catalogue(derived, n_items, known)).to(derived["device"]), derived
