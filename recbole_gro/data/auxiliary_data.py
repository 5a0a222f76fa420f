"""What an attacker may know of real users: training items of a share of them, as a plain tensor."""

import torch
from torch import Tensor

from recbole_gro.data.dataset import SequenceDataset
from recbole_gro.utils.errors import UserError


def auxiliary_sequences(train: SequenceDataset, share: float, longest: int, generator: torch.Generator) -> Tensor:
    """The most recent training items of some users, drawn at random; nothing of validation and test.

    Args:
        train: the training part of a split dataset.
        share: of its users, 0 to 1; at least one user is drawn.
        longest: most items of a user, L.
        generator: source of the draw.

    Returns:
        [U, L] item ids, most recent last, padded right with 0.

    Raises:
        UserError: a dataset without rows to draw from.
    """
    trained, first, last = train.spans_of_users()
    if not len(trained):
        raise UserError(f"dataset {train.dataset_name}: no user has training items for an attacker to know")
    n_known = max(1, round(share * len(trained)))
    known = torch.randperm(len(trained), generator=generator)[:n_known]
    first, last = torch.maximum(first[known], last[known] - longest), last[known]
    place = first.unsqueeze(1) + torch.arange(longest)
    items = train.history[train.iid_field][place.clamp(max=len(train.history) - 1)]
    return items * (place < last.unsqueeze(1))
