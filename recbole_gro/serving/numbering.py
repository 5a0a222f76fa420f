"""Renumbering of a dataset to the ids of a checkpoint."""

import numpy as np
from recbole.data.dataset import Dataset

from recbole_gro.utils.errors import UserError


def renumber(dataset: Dataset, item_tokens: list[str], user_tokens: list[str]) -> None:
    """Give the items and users of a dataset the ids that a model was trained with.

    Items without interactions here stay in the catalogue; users unknown to the model follow the known ones.

    Args:
        dataset: read from its files, not yet built; changed in place.
        item_tokens: tokens by item id, padding first.
        user_tokens: tokens by user id, padding first.

    Raises:
        UserError: the dataset has an item that the model does not know.
    """
    known = set(item_tokens)
    unknown = [token for token in dataset.field2id_token[dataset.iid_field].tolist() if token not in known]
    if unknown:
        raise UserError(
            f"item {unknown[0]!r} is unknown to the model ({len(unknown)} of {dataset.item_num - 1} items are); "
            f"it was trained on {len(item_tokens) - 1} items and serves data that have no others"
        )
    known = set(user_tokens)
    newer = [token for token in dataset.field2id_token[dataset.uid_field].tolist() if token not in known]
    _renumber_field(dataset, dataset.iid_field, item_tokens)
    _renumber_field(dataset, dataset.uid_field, user_tokens + newer)


def _renumber_field(dataset: Dataset, field: str, tokens: list[str]) -> None:
    """Number the tokens of a field, and of those that share its tokens, by their places in `tokens`."""
    old = dataset.field2id_token[field]
    ids = {token: number for number, token in enumerate(tokens)}
    new_id = np.array([ids[token] for token in old.tolist()])
    # an item without interactions takes the features of the padding
    row_of = np.zeros(len(tokens), dtype=int)
    row_of[new_id] = np.arange(len(old))
    sharing = [name for name, known in dataset.field2id_token.items() if known is old]
    for name in sharing:
        dataset.field2id_token[name], dataset.field2token_id[name] = np.array(tokens), ids
    for table_name in dataset.feat_name_list:
        table = getattr(dataset, table_name)
        for name in table.columns.intersection(sharing):
            lists = table[name].dtype == object
            table[name] = table[name].map(new_id.__getitem__) if lists else new_id[table[name]]
        if (table_name, field) in (("item_feat", dataset.iid_field), ("user_feat", dataset.uid_field)):
            table = table.iloc[row_of].reset_index(drop=True)
            table[field] = np.arange(len(tokens))
            setattr(dataset, table_name, table)
