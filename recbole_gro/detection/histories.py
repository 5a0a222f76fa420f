"""Histories as they stand in a log: one per sequence of queries that extend each other."""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

MULTIPLIER = np.uint64(0x9E3779B97F4A7C15)


def padded(histories: Sequence[Sequence[int]], longest: int) -> Tensor:
    """Return the most recent items [N, L] of each history, at most `longest`, padded right with 0."""
    rows = [torch.tensor(history[-longest:], dtype=torch.long) for history in histories]
    return torch.nn.utils.rnn.pad_sequence(rows, batch_first=True)


def maximal(items: Tensor, keys: Tensor) -> Tensor:
    """Return the rows [M] of histories that no other one of the same key extends, each once, in their order.

    A client that queries every prefix of a history sends one history. Histories are told apart by a hash of 64 bits of
    each of their prefixes.

    Args:
        items: [N, L] padded right with 0.
        keys: [N] number of the API key.

    >>> maximal(torch.tensor([[1, 0], [1, 2], [3, 0], [1, 2]]), torch.tensor([0, 0, 0, 0]))
    tensor([1, 2])
    """
    hashes = np.zeros(items.shape, dtype=np.uint64)
    state = _mixed(keys.numpy().astype(np.uint64) + np.uint64(1))
    for place in range(items.shape[1]):  # a place in a history, not a history
        state = _mixed(state * MULTIPLIER + items[:, place].numpy().astype(np.uint64))
        hashes[:, place] = state
    lengths = (items != 0).sum(1).numpy()
    whole = hashes[np.arange(len(items)), lengths - 1]
    extended = hashes[np.arange(items.shape[1]) < (lengths - 1)[:, None]]
    _, first = np.unique(whole, return_index=True)
    first.sort()
    return torch.from_numpy(first[~np.isin(whole[first], extended)])


def _mixed(state: np.ndarray) -> np.ndarray:
    state = (state ^ (state >> np.uint64(31))) * MULTIPLIER
    return state ^ (state >> np.uint64(29))
