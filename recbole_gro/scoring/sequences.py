"""Item sequences padded on the right: read, cut to their most recent items, sorted into groups of similar length."""

from typing import Any

import torch
from torch import Tensor

from recbole_gro.utils.errors import InvalidQuery
from recbole_gro.utils.item_lists import are_ids

GROUPS = 8  # maximum groups of similar length per batch
ROWS_PER_GROUP = 32  # minimum: the matrix products of smaller groups cost more than their padding


def length_groups(lengths: Tensor, widest: int) -> list[tuple[Any, int]]:
    """Group rows of similar length with the columns they need, so that little padding is computed.

    On a GPU all rows make one group: reading the lengths would wait for the device, and more, smaller kernels
    gain nothing there.

    Args:
        lengths: [B] items in each row.
        widest: number of columns; a longer row counts as that long.

    Returns:
        (rows, columns) pairs: rows as indices [b], or as a slice of all where there is one group.

    >>> length_groups(torch.tensor([3, 9, 4]), 8)
    [(slice(None, None, None), 8)]
    """
    if not lengths.is_cpu:
        return [(slice(None), widest)]
    order = lengths.argsort(stable=True)
    groups: list[tuple[Any, int]] = []
    for rows in reversed(order.split(max(ROWS_PER_GROUP, -(-len(order) // GROUPS)))):
        width = min(int(lengths[rows[-1]]), widest)
        if groups and width > 0.9 * groups[-1][1]:
            rows, width = torch.cat([rows, groups[-1][0]]), groups.pop()[1]
        groups.append((rows, width))
    return groups if len(groups) > 1 else [(slice(None), groups[0][1])]


def keep_recent(sequences: Tensor, lengths: Tensor, longest: int, width: int) -> tuple[Tensor, Tensor]:
    """Return the last `longest` items of each sequence, padded right with 0 to `width` columns, and their lengths.

    Args:
        sequences: [B, L] item ids padded right with 0.
        lengths: [B].
        longest: most items to keep.
        width: columns of the result, at least the longest kept length.

    Returns:
        [B, width] ids and [B] lengths.

    >>> keep_recent(torch.tensor([[1, 2, 3], [4, 0, 0]]), torch.tensor([3, 1]), 2, 2)
    (tensor([[2, 3],
            [4, 0]]), tensor([2, 1]))
    """
    kept = lengths.clamp(max=longest)
    place = torch.arange(width, device=sequences.device)
    index = (place + (lengths - kept).unsqueeze(1)).clamp(max=sequences.shape[1] - 1)
    return sequences.gather(1, index) * (place < kept.unsqueeze(1)), kept


def pad_sequences(sequences: Any) -> tuple[Tensor, Tensor]:
    """Return item ids [B, L] padded right with 0 and lengths [B], from a tensor of that form or a list of id lists.

    Raises:
        InvalidQuery: no sequence, an empty one, padding before an item, or anything but integers.
    """
    try:
        rows = sequences if isinstance(sequences, Tensor) else _padded(sequences)
        fits = rows.dim() == 2 and len(rows) > 0 and are_ids(rows)
        reason = f"these are {rows.dtype} {list(rows.shape)}"
    except (TypeError, ValueError, RuntimeError, OverflowError) as error:
        fits, reason = False, " ".join(str(error).split())
    if not fits:
        raise no_sequences(reason)
    rows = rows.long()
    lengths = (rows != 0).sum(1)
    filled = torch.arange(rows.shape[1], device=rows.device) < lengths.unsqueeze(1)
    if not bool((lengths > 0).all()):
        raise InvalidQuery("an empty sequence has no next item; every sequence needs at least one item id")
    if not torch.equal(filled, rows != 0):
        raise InvalidQuery("sequences are padded on the right: no 0 may stand before an item id")
    return rows, lengths


def no_sequences(reason: str) -> InvalidQuery:
    """Return the refusal of what are no sequences at all."""
    return InvalidQuery(f"sequences must be integer ids, a tensor [B, L] or a list of id lists, at least one: {reason}")


def _padded(sequences: Any) -> Tensor:
    rows = [torch.as_tensor(row) for row in sequences]
    for row in rows:
        if len(row) and not are_ids(row):
            raise ValueError(f"one of them holds {row.dtype}")
    return torch.nn.utils.rnn.pad_sequence([row.long() for row in rows], batch_first=True)


def rows_at(table: Tensor, rows: Tensor) -> Tensor:
    """Return table[rows], with a gradient that is the same to the last bit every time.

    The gradient of an index adds up the rows that occur twice in any order where several threads do so on a CPU.

    Args:
        table: [R, ...] of which rows are read.
        rows: [N] whole numbers, some of them twice.
    """
    if table.is_cpu and torch.get_num_threads() > 1:
        return table.index_select(0, rows)
    return table[rows]


def outputs_after(outputs: Tensor, rows: Tensor, places: Tensor) -> Tensor:
    """Return outputs[rows, places] as `rows_at` does.

    Args:
        outputs: [B, L, H] of a model.
        rows: [N] of them.
        places: [N] in these rows.
    """
    return rows_at(outputs.flatten(0, 1), rows * outputs.shape[1] + places)
