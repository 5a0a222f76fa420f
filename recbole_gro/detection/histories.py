"""Histories as they stand in a log: one per sequence of queries that extend each other."""

from collections.abc import Sequence
from itertools import chain

import numpy as np
import torch
from torch import Tensor

MULTIPLIER = np.uint64(0x9E3779B97F4A7C15)


def padded(histories: Sequence[Sequence[int]], longest: int) -> Tensor:
    """Return the most recent items [N, L] of each history, at most `longest`, padded right with 0."""
    rows = [torch.tensor(history[-longest:], dtype=torch.long) for history in histories]
    return torch.nn.utils.rnn.pad_sequence(rows, batch_first=True)


def maximal(histories: Sequence[Sequence[int]], keys: Tensor) -> tuple[Tensor, Tensor]:
    """Return which histories no other one of the same key extends [M], each once, in their order; and of each history
    the one of these that is or extends it [N].

    A client that queries every prefix of a history sends one history. Histories are told apart by a hash of 64 bits of
    each of their prefixes.

    Args:
        histories: item ids of each; none is empty.
        keys: [N] number of the API key.

    >>> maximal([[1], [1, 2], [3], [1, 2]], torch.tensor([0, 0, 0, 0]))
    (tensor([1, 2]), tensor([1, 1, 2, 1]))
    """
    lengths = np.array([len(history) for history in histories], dtype=np.int64)
    items = np.fromiter(chain.from_iterable(histories), np.uint64, int(lengths.sum()))
    starts, longest_first = lengths.cumsum() - lengths, np.argsort(-lengths, kind="stable")
    hashes = np.zeros(len(items), dtype=np.uint64)
    state = _mixed(keys.numpy().astype(np.uint64) + np.uint64(1))
    for place in range(lengths.max(initial=0)):  # a place in a history, not a history
        rows = longest_first[: np.count_nonzero(lengths > place)]
        state[rows] = _mixed(state[rows] * MULTIPLIER + items[starts[rows] + place])
        hashes[starts[rows] + place] = state[rows]
    whole, is_prefix = hashes[starts + lengths - 1], np.ones(len(items), dtype=bool)
    is_prefix[starts + lengths - 1] = False
    _, first = np.unique(whole, return_index=True)
    first.sort()
    kept = first[~np.isin(whole[first], hashes[is_prefix])]
    own = np.repeat(np.arange(len(lengths)), lengths)
    of_kept = np.isin(own, kept)
    found, extending = hashes[of_kept], own[of_kept]
    order = found.argsort(kind="stable")
    return torch.from_numpy(kept), torch.from_numpy(extending[order][np.searchsorted(found[order], whole)])


def versions_read(
    histories: Sequence[Sequence[int]], keys: Tensor, history: Tensor, longest: int
) -> tuple[Tensor, Tensor]:
    """Return which versions of histories are judged [n], and which history each is a version of [n].

    That is the longest one of those that the model reads as a whole, whose score up to any of its items is known, and
    each of the longer ones, of which it reads the most recent items. The last version of a history comes last.

    Args:
        histories: all that were logged.
        keys: [N] number of the API key.
        history: [N] number of the history that each is a version of.
        longest: items that the model reads.
    """
    lengths = torch.tensor([len(one) for one in histories])
    short = (lengths <= longest).nonzero().squeeze(1)
    kept, _ = maximal([histories[row] for row in short.tolist()], keys[short])
    long = {(int(history[row]), len(histories[row])): row for row in reversed(range(len(histories)))
            if lengths[row] > longest}  # fmt: skip
    read = torch.cat([short[kept], torch.tensor([*long.values()], dtype=torch.long)])
    read = read[lengths[read].argsort(stable=True)]
    read = read[history[read].argsort(stable=True)]
    return read, history[read]


def _mixed(state: np.ndarray) -> np.ndarray:
    state = (state ^ (state >> np.uint64(31))) * MULTIPLIER
    return state ^ (state >> np.uint64(29))
