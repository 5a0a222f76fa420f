"""Several short sequences in one row, so that no padding is computed."""

from dataclasses import dataclass

import torch
from torch import Tensor

WORTH_IT = 0.85  # sequences are packed where the packed table is below this share of the padded one


@dataclass
class Packing:
    """Place of each of B sequences in a table of packed rows [R, W], up to K sequences per row.

    Attributes:
        row: [B].
        slot: [B] which sequence of its row it is, 0 .. K - 1.
        start: [B] column of its first item.
        shape: R, K, W.
    """

    row: Tensor
    slot: Tensor
    start: Tensor
    shape: tuple[int, int, int]


def pack(lengths: Tensor) -> Packing | None:
    """Distribute sequences over as few rows as hold them: longest first, in alternating directions.

    Args:
        lengths: [B] items in each sequence.

    Returns:
        The packing; None where it would save little, and on a GPU, where reading the lengths would wait for the device.

    >>> pack(torch.tensor([3, 7, 4, 7])).row
    tensor([2, 0, 2, 1])
    """
    if not lengths.is_cpu:
        return None
    n, order = len(lengths), lengths.argsort(descending=True, stable=True)
    widest = int(lengths[order[0]])
    rows = -(-int(lengths.sum()) // widest)
    slots = -(-n // rows)
    dealt = torch.arange(slots * rows).view(slots, rows)
    dealt[1::2] = dealt[1::2].flip(1)
    place = torch.empty(n, dtype=torch.long)
    place[order] = dealt.flatten().argsort()[:n]
    slot, row = place // rows, place % rows
    table = torch.zeros(slots * rows, dtype=torch.long).scatter_(0, place, lengths).view(slots, rows)
    end = table.cumsum(0)
    columns = int(end[-1].max())
    if rows * columns > WORTH_IT * n * widest:
        return None
    return Packing(row, slot, end[slot, row] - lengths, (rows, slots, columns))
