"""Rank the columns of scores with numpy's sort, which compares many numbers per instruction where the CPU can.

PyTorch's `topk` on a CPU compares one number at a time. Here a float32 score and its column become one whole number of
64 bits, so that one sort ranks both (benchmarks/serving.py).
"""

import functools

import numpy
import torch
from torch import Tensor

THREADS = 4  # numpy sorts on one thread; with more threads than these PyTorch's topk, which uses all, is taken
SIGN = 2**31 - 1


@functools.cache
def _cpu_can() -> bool:
    """Return whether numpy sorts 64-bit integers with vector instructions: with AVX-512, since numpy 2 with AVX2."""
    kinds = ("AVX512", "AVX2") if int(numpy.__version__.split(".")[0]) >= 2 else ("AVX512",)
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
    """Return the columns of the highest scores, best first; of equal ones the first column, NaN above all.

    >>> highest_columns(torch.tensor([[0.5, -1.0, 2.0, 2.0]]), 3)
    tensor([[2, 3, 0]])

    Args:
        scores: [N, n] float32 on a CPU.
        k: at most n.

    Returns:
        [N, k] whole numbers.
    """
    last = scores.shape[1] - 1
    bits = scores.detach().clone(memory_format=torch.contiguous_format).view(torch.int32)
    bits ^= (bits >> 31) & SIGN  # the bits of floats count upwards as the floats do, but for negative ones
    if len(scores) and scores.amax().isnan():
        bits.masked_fill_(scores.isnan(), SIGN)
    keys = (bits.to(torch.int64) << 32).bitwise_or_(torch.arange(last, -1, -1))
    keys.numpy().sort(axis=1)
    return last - (keys[:, -k:].flip(1) & 0xFFFFFFFF)
