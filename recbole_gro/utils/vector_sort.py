"""Rank the columns of scores with numpy's sort, which compares many numbers per instruction where the CPU can.

PyTorch's `topk` on a CPU compares one number at a time. Here a float32 score and its column become one whole number of
64 bits, so that one sort ranks both (benchmarks/serving.py).
"""

import functools
import math

import numpy
import torch
from torch import Tensor
from torch.nn import functional

THREADS = 4  # numpy sorts on one thread; with more threads than these PyTorch's topk, which uses all, is taken
SIGN = 2**31 - 1
SPARE = 4  # taken besides the k highest; with fewer, rounding leaves more rows unsure
NUMPY_2 = int(numpy.__version__.split(".")[0]) >= 2
# numbers per row, by the bytes of each, up to which numpy sorts with a fixed network of comparisons; longer rows it
# partitions first, which takes 3 to 6 times as long per number
NETWORK = {4: 512 if NUMPY_2 else 128, 8: 256}
FEW_ROWS = 20  # below which the calls for blocks take longer than the partitions


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
    return _ranked(counting, torch.arange(scores.shape[1]), k)[0]


def highest_by_groups(scores: Tensor, k: int) -> Tensor:
    """Return what `highest_columns` does, sooner where k is a small part of n.

    The k highest lie in the k groups of columns with the highest maxima. Groups, and then their columns, are chosen by
    keys of 32 bits, whose last bits hold the position in place of the last digits of the score; hence a few more than k
    are taken, and ranked exactly. Where an entry that was not taken may belong to the k highest, the whole row is
    ranked.

    Args:
        scores: [N, n] float32 on a CPU.
        k: at most n.
    """
    scores = scores.detach()
    rows, n = scores.shape
    in_a_group = math.isqrt(n // k)
    if in_a_group < 2:
        return highest_columns(scores, k)
    groups = n // in_a_group
    # group j holds the columns j, j + groups, j + 2 groups, ..: maxima over whole rows of memory
    maxima = torch.maximum(scores[:, :groups], scores[:, groups : 2 * groups])
    for first in range(2 * groups, in_a_group * groups, groups):
        torch.maximum(maxima, scores[:, first : first + groups], out=maxima)
    chosen, others = _nearly_highest(_counting(maxima), k + SPARE)
    steps = groups * torch.arange(in_a_group, dtype=torch.int32).unsqueeze(1)
    left_over = torch.arange(in_a_group * groups, n, dtype=torch.int32).expand(rows, -1)
    columns = torch.cat([(chosen.unsqueeze(1) + steps).flatten(1), left_over], 1).long()
    counting = _counting(scores.gather(1, columns))
    position, other_columns = _nearly_highest(counting, k + SPARE)
    position = position.long()
    ranked, highest = _ranked(counting.gather(1, position), columns.gather(1, position), k)
    unsure = highest[:, -1] <= torch.maximum(others, other_columns)
    if unsure.any():
        ranked[unsure] = highest_columns(scores[unsure], k)
    return ranked


def _counting(scores: Tensor) -> Tensor:
    """Return 32-bit numbers in the order of the scores, NaN above all, in the memory of the scores."""
    not_numbers = scores.isnan() if len(scores) and scores.amax().isnan() else None
    bits = scores.view(torch.int32)
    bits ^= (bits >> 31) & SIGN  # the bits of floats count upwards as the floats do, but for negative ones
    return bits if not_numbers is None else bits.masked_fill_(not_numbers, SIGN)


def _nearly_highest(counting: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """Return the positions [N, count] of the highest numbers up to rounding, and what no other exceeds [N]."""
    n = counting.shape[1]
    count = min(count, n - 1)
    place = (1 << (n - 1).bit_length()) - 1
    keys = (counting & ~place).bitwise_or_(torch.arange(n, dtype=torch.int32))
    keys = _largest(keys, count + 1)
    return keys[:, 1:] & place, keys[:, 0] | place


def _ranked(counting: Tensor, columns: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """Return the columns [N, k] of the highest numbers, of equal ones the first column, and these numbers."""
    keys = (counting.long() << 32).bitwise_or_(SIGN - columns)
    keys = _largest(keys, k).flip(1)
    return SIGN - (keys & SIGN), keys >> 32


def _largest(numbers: Tensor, count: int) -> Tensor:
    """Return the largest of different numbers [N, n] in ascending order, [N, count]; what it is given is overwritten.

    A row that is too long for a network is cut into blocks, which are sorted. The larger of the last of one block and
    the first of another, of the last but one and the second, and so on, are then the largest of both.
    """
    rows, n = numbers.shape
    most = NETWORK[numbers.element_size()]
    blocks = 1 << (-(-n // most) - 1).bit_length()  # a power of two, so that they pair up to the end
    width = max(count, -(-n // blocks))
    if blocks == 1 or width > most or rows < FEW_ROWS:
        numbers.numpy().sort(axis=1)
        return numbers[:, -count:]
    lowest = torch.iinfo(numbers.dtype).min
    sets = functional.pad(numbers, (0, blocks * width - n), value=lowest).view(rows, blocks, width)
    sets.numpy().sort(axis=2)
    while sets.shape[1] > 1:
        sets = sets[:, :, -count:]
        sets = torch.maximum(sets[:, ::2], sets[:, 1::2].flip(2))
        sets.numpy().sort(axis=2)
    return sets.squeeze(1)
