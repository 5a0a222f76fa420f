"""The order of interactions in time, by the values of the file; RecBole rounds them to float32 first."""

from decimal import Decimal

import numpy as np
import pandas as pd
from recbole.data.dataset import Dataset

from recbole_gro.data.typed_columns import DIGITS
from recbole_gro.utils.log import console

COARSE = 2.0**24  # from here on neighbouring float32 values differ by 2 or more: whole seconds are rounded


def time_ranks(times: np.ndarray) -> np.ndarray:
    """Return the rank of each time by its exact decimal value; equal times have equal ranks.

    Args:
        times: [n] integers, numbers of at most `DIGITS` digits, or numbers of any length as texts.

    Returns:
        [n] int64, from 0.

    >>> time_ranks(np.array(["1e3", "7", "1700000000000000001", "1700000000000000000", "1000.0"], object)).tolist()
    [1, 0, 3, 2, 1]
    """
    values, exact = times, np.zeros(0, dtype=np.int64)
    if times.dtype == object:
        values = times.astype(np.float64)
        if max(map(len, times), default=0) > DIGITS:
            # float64 rounds but keeps the order: only times that become equal are compared exactly
            exact = np.zeros(len(values), dtype=np.int64)
            alike = pd.Series(values).duplicated(keep=False).to_numpy()
            codes, names = pd.factorize(times[alike])
            exact[alike] = np.unique([Decimal(name.strip()) for name in names], return_inverse=True)[1][codes]
    order = np.lexsort((exact, values)) if len(exact) else np.argsort(values)
    ranks = np.zeros(len(order), dtype=np.int64)
    later = np.zeros(len(order), dtype=bool)
    for part in (values, exact) if len(exact) else (values,):
        part = part[order]
        later[1:] |= part[1:] != part[:-1]
    ranks[order] = np.cumsum(later)
    return ranks


def warn_of_rounded_times(*parts: Dataset) -> None:
    """Log a warning where RecBole's own dataset may have lost the order of interactions.

    It may where successive times of a user are equal and float32 may have rounded them: they are at least `COARSE`, or
    the part has times that are no whole numbers. A `SequenceDataset` sorts before it rounds, and pre-split files
    are not sorted; both are skipped.

    Args:
        parts: of one split dataset, such as those to train and to validate with.
    """
    found = [(part, *_rounded(part)) for part in parts if _may_be_rounded(part)]
    if not (rounded := sum(int(rows.sum()) for _, _, rows in found)):
        return
    first, n = found[0][0], sum(len(times) for _, times, _ in found)
    largest = max(np.abs(times).max(initial=0) for _, times, _ in found)
    console.warning(
        f"dataset {first.dataset_name}: {rounded} of {n} interactions have the {first.time_field} of the "
        f"same user's one before, in the file or since RecBole rounds times to float32 before it sorts, here to steps "
        f"of {np.spacing(largest):g}, so that histories may be out of order; build the dataset with "
        f"recbole_gro.data.build_dataset in place of create_dataset, which sorts by the file's own values"
    )


def _may_be_rounded(part: Dataset) -> bool:
    rows, time = part.inter_feat, part.time_field
    presplit = part.benchmark_filename_list is not None
    return not (hasattr(part, "history") or presplit or time not in rows or rows[time].dim() > 1)


def _rounded(part: Dataset) -> tuple[np.ndarray, np.ndarray]:
    """Return the times [n] of a part's interactions, and whether each equals the one before and may be rounded [n]."""
    rows, time = part.inter_feat, part.time_field
    last = rows[part.item_list_length_field].unsqueeze(1) - 1
    # of a user's first row too, the earliest item of whose history is no row
    before = rows[getattr(part, f"{time}_list_field")].gather(1, last).squeeze(1).numpy()
    times = rows[time].numpy()
    # from COARSE / 2 on float32 has whole numbers alone, which say nothing about the file's
    whole = (times == times.round()).all() and np.abs(times).min(initial=np.inf) < COARSE / 2
    return times, (times == before) & ((not whole) | (np.abs(times) >= COARSE))
