"""Histories as they stand in a log: one per sequence of queries that extend each other, or slide along a history."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain

import numpy as np
import torch
from torch import Tensor

MULTIPLIER = np.uint64(0x9E3779B97F4A7C15)
SHORTEST_SLIDING = 5  # items of a query that may be the next window of an earlier one; fewer coincide by chance


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
    starts, lengths, hashes = _prefix_hashes(histories, keys)
    whole, is_prefix = hashes[starts + lengths - 1], np.ones(len(hashes), dtype=bool)
    is_prefix[starts + lengths - 1] = False
    _, first = np.unique(whole, return_index=True)
    first.sort()
    kept = first[~np.isin(whole[first], hashes[is_prefix])]
    own = np.repeat(np.arange(len(lengths)), lengths)
    of_kept = np.isin(own, kept)
    found, extending = hashes[of_kept], own[of_kept]
    order = found.argsort(kind="stable")
    return torch.from_numpy(kept), torch.from_numpy(extending[order][np.searchsorted(found[order], whole)])


def continued(histories: Sequence[Sequence[int]], keys: Tensor) -> tuple[Tensor, Tensor]:
    """Return the last window of the history that each query is a window of [N], and the items before the query [N].

    A client that sends the 10 most recent items of a history at each step sends one history too: a query of at least
    SHORTEST_SLIDING items is the next window of an earlier one of the same key and length if it lacks its first item
    and has one more. A window has one next window, the first of those that could be it; of several that end alike since
    the last one was continued, the latest is.

    Args:
        histories: item ids of each, in the order of their arrival, all different within a key.
        keys: [N] number of the API key.

    >>> continued([[1, 2, 3, 4, 5], [2, 3, 4, 5, 6], [9], [3, 4, 5, 6, 7]], torch.tensor([0, 0, 0, 0]))
    (tensor([3, 3, 2, 3]), tensor([0, 1, 0, 2]))
    """
    n = len(histories)
    starts, lengths, hashes = _prefix_hashes(histories, keys)
    long = np.flatnonzero(lengths >= SHORTEST_SLIDING)
    rest_starts, rest_lengths, rests = _prefix_hashes(
        [histories[row][1:] for row in long], keys[torch.from_numpy(long)]
    )
    tails, heads = rests[rest_starts + rest_lengths - 1], hashes[starts[long] + lengths[long] - 2]
    events, rows = np.concatenate([heads, tails]), np.concatenate([long, long])
    is_end = np.arange(len(events)) >= len(long)
    order = np.lexsort((is_end, rows, events))  # by hash, then in the order of arrival
    events, rows, is_end = events[order], rows[order], is_end[order]
    follows = np.flatnonzero((events[1:] == events[:-1]) & ~is_end[1:] & is_end[:-1]) + 1
    first = np.arange(n)
    first[rows[follows]] = rows[follows - 1]
    dropped = (first != np.arange(n)).astype(np.int64)
    while (first[first] != first).any():  # as often as the logarithm of the longest history
        dropped += dropped[first]
        first = first[first]
    last = np.zeros(n, dtype=np.int64)
    np.maximum.at(last, first, np.arange(n))
    return torch.from_numpy(last[first]), torch.from_numpy(dropped)


@dataclass
class LoggedHistories:
    """Hold which of N queries are versions of which of M histories.

    Attributes:
        rows: [M] last query of each history; those of a key together, in the order in which the histories began.
        history: [N] number of the history that each query is a version of.
        extended_by: [N] the query that is or extends each, and that no other one extends.
        dropped: [N] items of the history before the first one of each query.
    """

    rows: Tensor
    history: Tensor
    extended_by: Tensor
    dropped: Tensor


def logged_histories(histories: Sequence[Sequence[int]], keys: Tensor) -> LoggedHistories:
    """Return the histories of a log: of queries that extend each other, and of windows that continue each other.

    Args:
        histories: item ids of each query, in the order of their arrival; none is empty.
        keys: [N] number of the API key.
    """
    kept, extended_by = maximal(histories, keys)
    last, dropped = continued([histories[row] for row in kept.tolist()], keys[kept])
    window = torch.searchsorted(kept, extended_by)
    last_query = kept[last[window]]
    began = torch.full((len(histories),), len(histories)).scatter_reduce(
        0, last_query, torch.arange(len(histories)), "amin"
    )
    rows = kept[last.unique()]
    rows = rows[began[rows].argsort()]  # an order that does not depend on which histories were given up
    rows = rows[keys[rows].argsort(stable=True)]
    number = torch.zeros(len(histories), dtype=torch.long)
    number[rows] = torch.arange(len(rows))
    return LoggedHistories(rows, number[last_query], extended_by, dropped[window])


def versions_read(
    histories: Sequence[Sequence[int]], keys: Tensor, logged: LoggedHistories, longest: int
) -> tuple[Tensor, Tensor]:
    """Return which versions of histories are judged [n], and which history each is a version of [n].

    Of each window that is the longest one of those that the model reads as a whole, whose score up to any of its items
    is known, and each of the longer ones, of which it reads the most recent items. The last version comes last.

    Args:
        histories: all that were logged.
        keys: [N] number of the API key.
        logged: which of them are versions of which.
        longest: items that the model reads.
    """
    lengths = torch.tensor([len(one) for one in histories])
    short = (lengths <= longest).nonzero().squeeze(1)
    kept, _ = maximal([histories[row] for row in short.tolist()], keys[short])
    long = {(int(logged.extended_by[row]), len(histories[row])): row for row in reversed(range(len(histories)))
            if lengths[row] > longest}  # fmt: skip
    read = torch.cat([short[kept], torch.tensor([*long.values()], dtype=torch.long)])
    read = read[(logged.dropped + lengths)[read].argsort(stable=True)]
    read = read[logged.history[read].argsort(stable=True)]
    return read, logged.history[read]


def _prefix_hashes(histories: Sequence[Sequence[int]], keys: Tensor) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return where each history begins in a flat array, its length, and in that array a hash of each of its prefixes
    and of its key."""
    lengths = np.array([len(history) for history in histories], dtype=np.int64)
    items = np.fromiter(chain.from_iterable(histories), np.uint64, int(lengths.sum()))
    starts, longest_first = lengths.cumsum() - lengths, np.argsort(-lengths, kind="stable")
    hashes = np.zeros(len(items), dtype=np.uint64)
    state = _mixed(keys.numpy().astype(np.uint64) + np.uint64(1))
    for place in range(lengths.max(initial=0)):  # a place in a history, not a history
        rows = longest_first[: np.count_nonzero(lengths > place)]
        state[rows] = _mixed(state[rows] * MULTIPLIER + items[starts[rows] + place])
        hashes[starts[rows] + place] = state[rows]
    return starts, lengths, hashes


def _mixed(state: np.ndarray) -> np.ndarray:
    state = (state ^ (state >> np.uint64(31))) * MULTIPLIER
    return state ^ (state >> np.uint64(29))
