"""Pre-split files (`benchmark_filename`): each row of NAME.train.inter and its like holds its own history."""

from collections import Counter
from collections.abc import Iterable, Mapping

import numpy as np
import pandas as pd

from recbole_gro.utils.errors import UserError

PADDING = "0"
SAMPLED = 10_000  # rows, evenly spaced, whose lists are compared with the items to predict


def unpadded(rows: pd.DataFrame, item: str, suffix: str, padded: bool, files: Mapping[str, int]) -> pd.DataFrame:
    """Return rows with the padding removed from their lists.

    Args:
        rows: one per next item; lists are arrays in the columns that end in `suffix`.
        item: the item column.
        suffix: the setting LIST_SUFFIX.
        padded: whether the item token "0" in a list is padding, as in RecBole's files, rather than an item.
        files: {file: number of its rows}, in their order.

    Raises:
        UserError: a row without history, or lists of different length in a row.
    """
    items = rows[item + suffix]
    nothing = PADDING if padded else ""
    kept = items.map(lambda tokens: tokens != nothing)
    lists = {}
    for field in (field for field in rows if field + suffix in rows):
        values = rows[field + suffix]
        uneven = values.map(len) != items.map(len)
        if uneven.any():
            raise UserError(f"{_place(files, uneven.argmax())}: {field + suffix} is not as long as {item + suffix}")
        lists[field + suffix] = [row[keep] for row, keep in zip(values, kept, strict=True)]
    empty = ~kept.map(any)
    if empty.any():
        raise UserError(f"{_place(files, empty.argmax())}: {item + suffix} has no item")
    return rows.assign(**{name: pd.Series(values, index=rows.index) for name, values in lists.items()})


def unknown_items(lists: pd.Series, known: Iterable[pd.Series]) -> str:
    """Return in words how many of the items in some of the lists stand in no column of items, where it is most of them.

    Args:
        lists: arrays of item tokens.
        known: columns of item tokens.
    """
    items = pd.Series(np.concatenate(lists.iloc[:: -(-len(lists) // SAMPLED)].to_numpy()))
    unknown = items[~items.isin(pd.concat([*known]))]
    if len(unknown) <= len(items) / 2:
        return ""
    return f"{len(unknown):,} of {len(items):,} items are no item to predict, such as {unknown.iloc[0]!r},"


def _place(files: Mapping[str, int], row: int) -> str:
    ends = np.cumsum(list(files.values()))
    part = int(np.searchsorted(ends, row, side="right"))
    return f"{list(files)[part]}, row {row - (ends[part - 1] if part else 0) + 1} below the first line"


def joined_histories(
    lists: Mapping[str, pd.Series], targets: Mapping[str, np.ndarray]
) -> tuple[dict[str, np.ndarray], np.ndarray, np.ndarray, np.ndarray]:
    """Concatenate the rows' histories, each followed by its next item, from the shortest to the longest.

    Args:
        lists: {field: n arrays, the values of a row's history in order of time}, of one length per row.
        targets: {field: [n] value of the row's next item}.

    Returns:
        {field: [t] values}, [t] the row of each, [n] start of a row's history, [n] position of its next item.
    """
    sizes = next(iter(lists.values())).map(len).to_numpy()
    order = np.argsort(sizes, kind="stable")
    target = np.empty(len(order), dtype=np.int64)
    target[order] = np.cumsum(sizes[order] + 1) - 1
    row = np.repeat(order, sizes[order] + 1)
    is_target = np.zeros(len(row), dtype=bool)
    is_target[target] = True
    history = {}
    for field, values in lists.items():
        history[field] = np.empty(len(row), dtype=targets[field].dtype)
        history[field][is_target] = targets[field][order]
        history[field][~is_target] = np.concatenate(values.to_numpy()[order])
    return history, row, target - sizes, target


def distinct_interactions(users: np.ndarray, items: np.ndarray, start: np.ndarray, targets: np.ndarray) -> Counter[int]:
    """Return the number of interactions per item of some rows, of which one row may repeat those of another.

    Of a row whose history, cut to the longest one, goes on where another row's ends, the next item alone is new.

    Args:
        users: [t] user of each position of the joined histories.
        items: [t] item ids.
        start: [t] where the row of each position starts.
        targets: [n] positions of the next items of the rows to be counted.
    """
    sliding, new = sliding_rows(users, items, start, targets)
    whole = targets[~sliding]
    change = np.zeros(len(users) + 1, dtype=np.int64)
    change[start[whole]] += 1  # each row has positions of its own
    change[whole + 1] -= 1
    counted = np.cumsum(change[:-1]) > 0
    first = first_occurrences(users[counted], items[counted], start[counted])
    counts = np.bincount(np.r_[items[counted][first], items[new]])
    return Counter({item: n for item, n in enumerate(counts.tolist()) if n})


def sliding_rows(
    users: np.ndarray, items: np.ndarray, start: np.ndarray, targets: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Return which rows [n] continue another one of their user by an item, and the positions of these items, each once.

    Rows that were cut to a length do: the history of one is that of another with its next item, less the first. Those
    of fewer items than the longest history were not cut. Histories are compared by a random hash of 64 bits.

    Args:
        users: [t] user of each position of the joined histories.
        items: [t] item ids.
        start: [t] where the row of each position starts.
        targets: [n] positions of the next items of the rows.
    """
    sizes = targets - start[targets]
    rows = np.flatnonzero(sizes == sizes.max(initial=1))
    ends, begins = targets[rows], start[targets[rows]]
    draw = np.random.default_rng(1)
    of_item, of_user, of_place = (
        draw.integers(2**64, size=n, dtype=np.uint64)
        for n in (items.max(initial=0) + 1, users.max(initial=0) + 1, sizes.max(initial=1) + 1)
    )

    def hashed(first: np.ndarray) -> np.ndarray:
        """Return the hashes of histories [n] by their first position."""
        found = of_user[users[first]]
        for place, odd in enumerate(of_place[:-1] | np.uint64(1)):  # a place, not a row
            found = found + of_item[items[first + place]] * odd
        return found

    before = hashed(begins)
    goes_on = np.isin(before, hashed(begins + 1))
    # the rows of a user who returns to the same items may all continue one another: one of them began
    names, first = np.unique(users[ends], return_index=True)
    goes_on[first[np.isin(names, users[ends[~goes_on]], invert=True)]] = False
    sliding = np.zeros(len(targets), dtype=bool)
    sliding[rows[goes_on]] = True
    whole = before + of_item[items[ends]] * of_place[-1]
    return sliding, ends[goes_on][np.unique(whole[goes_on], return_index=True)[1]]


def first_occurrences(users: np.ndarray, items: np.ndarray, start: np.ndarray) -> np.ndarray:
    """Return one position of each distinct beginning of a user's sequences, as rows of prefixes repeat it.

    Beginnings are compared by a random hash of 64 bits, the sum of a draw per item times an odd draw per place.

    Args:
        users: [t] user of each position; sequences stand one after the other.
        items: [t] item ids.
        start: [t] a number that the positions of one sequence share.

    >>> first_occurrences(np.array([1, 1, 1, 1, 1]), np.array([7, 8, 7, 8, 9]), np.array([0, 0, 2, 2, 2])).tolist()
    [0, 1, 4]
    """
    begins = np.flatnonzero(np.r_[True, start[1:] != start[:-1]]) if len(start) else np.zeros(0, int)
    sizes = np.diff(np.r_[begins, len(start)])
    place = np.arange(len(start)) - np.repeat(begins, sizes)
    draw = np.random.default_rng(0)
    of_item = draw.integers(2**64, size=items.max(initial=0) + 1, dtype=np.uint64)
    of_user = draw.integers(2**64, size=users.max(initial=0) + 1, dtype=np.uint64)
    of_place = draw.integers(2**64, size=place.max(initial=0) + 1, dtype=np.uint64) | np.uint64(1)
    sums = np.cumsum(of_item[items] * of_place[place])  # modulo 2**64
    before = np.r_[np.zeros(1, np.uint64), sums][begins]
    return np.sort(np.unique(sums - np.repeat(before, sizes) + of_user[users], return_index=True)[1])
