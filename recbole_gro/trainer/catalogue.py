"""The part of a dataset that RecBole's models read when they are built: sizes and item features."""

from collections.abc import Iterable
from types import SimpleNamespace
from typing import Any

import torch
from recbole.config import Config
from recbole.data.interaction import Interaction
from recbole.model.layers import FeatureSeqEmbLayer
from recbole.utils import FeatureType
from torch import nn

from recbole_gro.config.config import plain_settings
from recbole_gro.config.models import reference_to
from recbole_gro.utils.errors import UserError


class StandInDataset:
    """Replace a dataset where a RecBole model is built: sizes and item features, no interactions.

    Args:
        config: the model's settings.
        n_items: size of the item id space, padding included.
        n_users: size of the user id space, padding included; 1 for the padding alone.
        items: a dataset with item features; None where they are unknown.
    """

    def __init__(self, config: Config, n_items: int, n_users: int = 1, items: Any = None):
        self.config, self.items = config, items
        self.iid_field, self.uid_field = config["ITEM_ID_FIELD"], config["USER_ID_FIELD"]
        self.item_num, self.user_num = n_items, n_users
        self.field2seqlen = {self.iid_field + config["LIST_SUFFIX"]: config["MAX_ITEM_LIST_LENGTH"]}
        self.inter_feat = Interaction({self.iid_field: torch.zeros(0, dtype=torch.long)})

    def num(self, field: str) -> int:
        """Return the size of a field's id space."""
        sizes = {self.iid_field: self.item_num, self.uid_field: self.user_num}
        if field not in sizes and field not in self.get_item_feature():
            raise self.refused(field)
        return sizes.get(field) or self.items.num(field)

    def get_item_feature(self) -> Interaction:
        """Return the table of item features, one row per item, padding included."""
        return self._known_items().get_item_feature()

    @property
    def field2type(self) -> dict[str, FeatureType]:
        """RecBole's type of each item feature."""
        return self._known_items().field2type

    def refused(self, wanted: str) -> UserError:
        """Return the error for a model that reads `wanted`, which is not available."""
        return UserError(f"model: it reads {wanted} of the data, which are not available")

    def _known_items(self) -> Any:
        if not self.items:
            raise self.refused("item features")
        return self.items

    def __deepcopy__(self, memo: dict[int, Any]) -> "StandInDataset":
        return self  # models that keep their dataset share it

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        raise self.refused(name)


def item_features(dataset: Any, fields: Iterable[str] | None = None) -> dict[str, dict[str, Any]]:
    """Return values [n_items, ..], size and type of item features by field: those that are there, by default all."""
    table = dataset.get_item_feature()
    return {
        field: {"values": table[field], "size": dataset.num(field), "type": dataset.field2type[field].value}
        for field in (table.columns if fields is None else fields)
        if field in table
    }


def stored_items(features: dict[str, dict[str, Any]]) -> Any:
    """Return the `items` of a stand-in dataset from `item_features`; empty without any."""
    table = Interaction({field: stored["values"] for field, stored in features.items()})
    return features and SimpleNamespace(
        num=lambda field: features[field]["size"],
        get_item_feature=lambda: table,
        field2type={field: FeatureType(stored["type"]) for field, stored in features.items()},
    )


def checkpoint_of(config: Config, model: nn.Module, dataset: Any) -> dict[str, Any]:
    """Return the checkpoint of a model whose trainer writes none, to be served without the data."""
    catalogue = catalogue_state(config, model, dataset)
    settings = plain_settings(config) | {"model": reference_to(type(model))}
    return {"config": settings, "catalogue": catalogue} | weights_of(model)


def weights_of(model: Any) -> dict[str, Any]:
    """Return the part of a checkpoint that `load_weights` reads."""
    return {"state_dict": model.state_dict(), "other_parameter": other_parameter(model)}


def other_parameter(model: Any) -> dict[str, Any]:
    """Return RecBole's other_parameter of a model without modules, whose weights are in the state dict."""
    return {name: value for name, value in model.other_parameter().items() if not isinstance(value, nn.Module)}


def load_weights(model: Any, checkpoint: dict[str, Any]) -> Any:
    """Return a model with the weights of a checkpoint, in evaluation mode."""
    model.load_state_dict(checkpoint["state_dict"])
    if checkpoint.get("other_parameter"):
        model.load_other_parameter(checkpoint["other_parameter"])
    return model.eval()


def catalogue_state(config: Config, model: nn.Module, dataset: Any = None) -> dict[str, Any]:
    """Return the part of the data that a trained model is served with, as plain data.

    Args:
        config: the model's settings; `selected_features` names the item features that RecBole's models read.
        model: the RecBole model.
        dataset: its training data; None for a surrogate, which has the number of items alone.

    Returns:
        `item_tokens` and `user_tokens` in the order of the embedding tables (None without a dataset), the sizes
        `n_items` and `n_users` of these tables, and `features`, as `item_features` returns them: all that are loaded
        for a model of a user's, which may read any. `data_digests` are those of the data's files, by name; None where
        they are unknown.
    """
    layers = (layer.dataset for layer in model.modules() if isinstance(layer, FeatureSeqEmbLayer))
    items: Any = next(layers, None) if dataset is None else dataset
    may_read_any = ":" in reference_to(type(model)) and getattr(dataset, "item_feat", None) is not None
    fields = None if may_read_any else config["selected_features"] or []
    features = {} if items is None or fields == [] else item_features(items, fields)
    return {
        "item_tokens": None if dataset is None else dataset.field2id_token[dataset.iid_field].tolist(),
        "user_tokens": None if dataset is None else dataset.field2id_token[dataset.uid_field].tolist(),
        "n_items": model.n_items if dataset is None else dataset.item_num,
        "n_users": 1 if dataset is None else dataset.user_num,
        "features": features,
        "data_digests": dict(getattr(dataset, "data_digests", ())) or None,
    }
