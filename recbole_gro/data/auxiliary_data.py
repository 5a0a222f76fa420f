"""What an attacker may know of real users: training items of a share of them, as a plain tensor."""

import torch
from torch import Tensor

from recbole_gro.data.dataset import SequenceDataset, train_rows_of
from recbole_gro.utils.errors import UserError


def known_sequences(train: SequenceDataset, share: float, longest: int, generator: torch.Generator) -> Tensor:
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
    rows = train.inter_feat
    users, start = rows[train.uid_field], rows[train.row_start_field]
    end = start + rows[train.item_list_length_field]
    if train_rows_of(train.config) == "prefixes":
        end = end + 1  # the item that the row is to predict is a training item too
    last = torch.zeros(train.user_num, dtype=torch.long).scatter_reduce_(0, users, end, "amax")
    trained = last.nonzero().squeeze(1)
    if not len(trained):
        raise UserError(f"dataset {train.dataset_name}: no user has training items for an attacker to know")
    n_known = max(1, round(share * len(trained)))
    known = trained[torch.randperm(len(trained), generator=generator)[:n_known]]
    first = torch.maximum(train.first_of_user[known], last[known] - longest)
    place = first.unsqueeze(1) + torch.arange(longest)
    items = train.history[train.iid_field][place.clamp(max=len(train.history) - 1)]
    return items * (place < last[known].unsqueeze(1))
