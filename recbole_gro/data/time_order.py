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


def warn_of_rounded_times(dataset: Dataset) -> None:
    """Log a warning where RecBole's own dataset may have lost the order of interactions.

    It may where successive times of a user are equal and float32 may have rounded them: they are at least `COARSE`, or
    the dataset has times that are no whole numbers. A `SequenceDataset` sorts before it rounds, and pre-split files
    are not sorted; both are skipped.

    Args:
        dataset: the training part of a split dataset.
    """
    rows, time = dataset.inter_feat, dataset.time_field
    presplit = dataset.benchmark_filename_list is not None
    if hasattr(dataset, "history") or presplit or time not in rows or rows[time].dim() > 1:
        return
    last = rows[dataset.item_list_length_field].unsqueeze(1) - 1
    # of a user's first row too, the earliest item of whose history is no row
    before = rows[getattr(dataset, f"{time}_list_field")].gather(1, last).squeeze(1).numpy()
    times = rows[time].numpy()
    # from COARSE / 2 on float32 has whole numbers alone, which say nothing about the file's
    whole = (times == times.round()).all() and np.abs(times).min(initial=np.inf) < COARSE / 2
    rounded = (times == before) & ((not whole) | (np.abs(times) >= COARSE))
    if rounded.any():
        console.warning(
            f"dataset {dataset.dataset_name}: {rounded.sum()} of {len(times)} interactions have the {time} of the "
            f"same user's one before; RecBole rounds times to float32 before it sorts, here to steps of "
            f"{np.spacing(np.abs(times).max()):g}, so that histories may be out of order; build the dataset with "
            f"recbole_gro.data.build_dataset in place of create_dataset, which sorts by the file's own values"
        )
