"""Interactions without an item, as RecBole's own dataset has them where an item is called NA."""

import torch
from recbole.data.dataset import Dataset

from recbole_gro.utils.log import console


def warn_of_missing_items(*parts: Dataset) -> None:
    """Log a warning where rows of RecBole's own dataset have no item, or one in their history.

    RecBole reads with pandas, which takes NA, null and nan for missing. It removes their rows, but other ones where it
    has removed rows of users before, and the padding id 0 stands for such an item then. A `SequenceDataset` reads them
    as names.

    Args:
        parts: of one split dataset, such as those to train and to validate with.
    """
    n = lacking = 0
    for part in parts:
        rows, items = part.inter_feat, getattr(part, f"{part.iid_field}_list_field", "")
        if items not in rows:  # a `SequenceDataset` has no lists
            continue
        inside = torch.arange(rows[items].shape[1]) < rows[part.item_list_length_field].unsqueeze(1)
        n += len(rows)
        lacking += int((((rows[items] == 0) & inside).any(1) | (rows[part.iid_field] == 0)).sum())
    if lacking:
        console.warning(
            f"dataset {parts[0].dataset_name}: {lacking} of {n} rows have an interaction without an item, id 0; "
            "RecBole takes names such as NA, null and nan for missing; build the dataset with "
            "recbole_gro.data.build_dataset in place of create_dataset, which reads them as names"
        )
