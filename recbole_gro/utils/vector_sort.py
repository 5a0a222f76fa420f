"""Rank the columns of scores with numpy's sort, which compares many numbers per instruction where the CPU can.

PyTorch's `topk` on a CPU compares one number at a time. Here a float32 score and its column become one whole number of
64 bits, so that one sort ranks both (benchmarks/serving.py).
"""

import functools
from typing import Any

import numpy
import numpy.typing
import torch
from torch import Tensor
from torch.nn import functional

THREADS = 4  # numpy sorts on one thread; with more threads than these PyTorch's topk, which uses all, is taken
SIGN = 2**31 - 1
GROUPS = 3.4  # per k: with fewer, more columns are ranked at the end, with more, more maxima
MOST_IN_A_GROUP = 16
SPARE = 32  # columns besides 2 k up to which a row is not ranked as a whole
NUMPY_2 = int(numpy.__version__.split(".")[0]) >= 2
# numbers per row, by the bytes of each, up to which numpy sorts with a fixed network of comparisons; longer rows it
# partitions first, which takes 3 to 6 times as long per number
NETWORK = {4: 512 if NUMPY_2 else 128, 8: 256}
FEW_ROWS = 20  # below which the calls for blocks take longer than the partitions
Array = numpy.typing.NDArray[Any]


@functools.cache
def _cpu_can() -> bool:
    """Return whether numpy sorts 64-bit integers with vector instructions: with AVX-512, since numpy 2 with AVX2."""
    kinds = ("AVX512", "AVX2") if NUMPY_2 else ("AVX512",)
    return torch.backends.cpu.get_cpu_capability() in kinds


def is_faster(scores: Tensor) -> bool:
    """Return whether `highest_columns` takes these scores and ranks them sooner than `torch.topk` does."""
    return (
        scores.device.type == "cpu"
        and scores.dtype == torch.float32
        and torch.get_num_threads() <= THREADS
        and _cpu_can()
    )


def highest_columns(scores: Tensor, k: int) -> Tensor:
    """Return the columns of the highest scores, best first; of equal ones the first column.

    NaN is above all, 0.0 above -0.0.

    >>> highest_columns(torch.tensor([[0.5, -1.0, 2.0, 2.0]]), 3)
    tensor([[2, 3, 0]])

    Args:
        scores: [N, n] float32 on a CPU.
        k: at most n.

    Returns:
        [N, k] whole numbers.
    """
    counting = _counting(scores.detach().clone(memory_format=torch.contiguous_format))
    return _columns(_largest(_keys(counting, torch.arange(scores.shape[1])), k).flip(1))


def highest_by_groups(scores: Tensor, k: int) -> Tensor:
    """Return what `highest_columns` does, sooner where k is a small part of n.

    k groups of columns have maxima of at least the k-th highest maximum, so the k highest scores are at least as high.
    Few other columns are: with 3.4 k groups 1.2 k in all, if scores are spread over the groups at random. Those are
    ranked; rows with many more, such as rows of equal scores, and rows with NaN are ranked as a whole.

    Args:
        scores: [N, n] float32 on a CPU.
        k: at most n.
    """
    scores = scores.detach()
    rows, n = scores.shape
    if n < 4 * k or not rows:
        return highest_columns(scores, k)
    if scores.stride(1) != 1:
        scores = scores.contiguous()
    lowest = _kth_maximum(scores, k).numpy()[:, None]
    kept = scores.numpy() >= lowest
    flat, counts = _true_entries(kept)
    as_a_whole = (counts < k) | (counts > 2 * k + SPARE)
    if as_a_whole.any():
        kept[as_a_whole] = False
        flat, counts = _true_entries(kept)
    ranked = _ranked_entries(scores, flat, counts, k) if len(flat) else torch.empty(rows, k, dtype=torch.long)
    if as_a_whole.any():
        whole = torch.from_numpy(as_a_whole)
        ranked[whole] = highest_columns(scores[whole], k)
    return ranked


def _kth_maximum(scores: Tensor, k: int) -> Tensor:
    """Return the k-th highest [N] of the maxima of groups of columns, NaN where one of them is."""
    n = scores.shape[1]
    groups = n // min(max(2, round(n / (GROUPS * k))), MOST_IN_A_GROUP)
    # group j holds the columns j, j + groups, j + 2 groups, ..: maxima over whole rows of memory
    maxima = torch.maximum(scores[:, :groups], scores[:, groups : 2 * groups])
    for first in range(2 * groups, n, groups):
        part = scores[:, first : first + groups]
        some = maxima[:, : part.shape[1]]
        torch.maximum(some, part, out=some)
    highest = _largest(_counting(maxima), k)
    kth = highest[:, 0].masked_fill(highest[:, -1] == SIGN, SIGN)
    return (kth ^ ((kth >> 31) & SIGN)).view(torch.float32)


def _true_entries(table: Array) -> tuple[Array, Array]:
    """Return where a table [N, n] of bool is True, row by row as its memory is, and the number [N] in each row."""
    flat = numpy.flatnonzero(table)
    ends = numpy.searchsorted(flat, numpy.arange(1, len(table) + 1) * table.shape[1])
    return flat, numpy.diff(ends, prepend=0)


def _ranked_entries(scores: Tensor, flat: Array, counts: Array, k: int) -> Tensor:
    """Return the columns [N, k] of the highest of some entries of scores [N, n], as `_true_entries` returns them."""
    rows, n = scores.shape
    row = numpy.repeat(numpy.arange(rows), counts)
    length, _ = scores.stride()
    memory = scores.as_strided(((rows - 1) * length + n,), (1,)).numpy()
    entries = torch.from_numpy(memory[flat + row * (length - n)])
    column = torch.from_numpy(flat - row * n)
    filled = numpy.arange(counts.max()) < counts[:, None]
    keys = numpy.full(filled.shape, torch.iinfo(torch.int64).min)
    keys[filled] = _keys(_counting(entries), column).numpy()
    return _columns(_largest(torch.from_numpy(keys), k).flip(1))


def _counting(scores: Tensor) -> Tensor:
    """Return 32-bit numbers in the order of the scores, NaN above all, in the memory of the scores."""
    not_numbers = scores.isnan() if len(scores) and scores.amax().isnan() else None
    bits = scores.view(torch.int32)
    bits ^= (bits >> 31) & SIGN  # the bits of floats count upwards as the floats do, but for negative ones
    return bits if not_numbers is None else bits.masked_fill_(not_numbers, SIGN)


def _keys(counting: Tensor, columns: Tensor) -> Tensor:
    """Return 64-bit numbers in the order of 32-bit ones, of equal ones the first column highest."""
    return (counting.long() << 32).bitwise_or_(SIGN - columns)


def _columns(keys: Tensor) -> Tensor:
    """Return the columns of `_keys`."""
    return SIGN - (keys & SIGN)


def _largest(numbers: Tensor, count: int) -> Tensor:
    """Return the largest of different numbers [N, n] in ascending order, [N, count]; what it is given is overwritten.

    A row that is too long for a network is cut into blocks, which are sorted. The larger of the last of one block and
    the first of another, of the last but one and the second, and so on, are then the largest of both.
    """
    rows, n = numbers.shape
    most = NETWORK[numbers.element_size()]
    blocks = -(-n // most)
    width = max(count, -(-n // blocks))
    if blocks == 1 or width > most or rows < FEW_ROWS:
        numbers.numpy().sort(axis=1)
        return numbers[:, -count:]
    lowest = torch.iinfo(numbers.dtype).min
    sets = functional.pad(numbers, (0, blocks * width - n), value=lowest).view(rows, blocks, width)
    sets.numpy().sort(axis=2)
    while (blocks := sets.shape[1]) > 1:
        sets = sets[:, :, -count:]
        pairs = torch.maximum(sets[:, 0 : blocks - 1 : 2], sets[:, 1::2].flip(2))
        pairs.numpy().sort(axis=2)
        sets = pairs if blocks % 2 == 0 else torch.cat([pairs, sets[:, -1:]], 1)
    return sets.squeeze(1)
