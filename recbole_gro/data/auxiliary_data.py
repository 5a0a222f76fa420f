"""Auxiliary data of an attacker: training items of a share of the users."""

import torch
from torch import Tensor

from recbole_gro.data.dataset import SequenceDataset
from recbole_gro.utils.errors import UserError


def auxiliary_sequences(train: SequenceDataset, share: float, longest: int, generator: torch.Generator) -> Tensor:
    """Return the most recent training items of random users, without validation and test items.

    Args:
        train: the training part of a split dataset.
        share: of its users, 0 to 1; at least one user is drawn.
        longest: maximum number of items per user, L.
        generator: source of the draw.

    Returns:
        [U, L] item ids, most recent last, padded right with 0.

    Raises:
        UserError: no user has training items.
    """
    trained, first, last = train.spans_of_users()
    if not len(trained):
        raise UserError(f"dataset {train.dataset_name}: no user has training items, of which auxiliary data consist")
    drawn = torch.randperm(len(trained), generator=generator)[: max(1, round(share * len(trained)))]
    first, last = torch.maximum(first[drawn], last[drawn] - longest), last[drawn]
    place = first.unsqueeze(1) + torch.arange(longest)
    items = train.history[train.iid_field][place.clamp(max=len(train.history) - 1)]
    return items * (place < last.unsqueeze(1))
