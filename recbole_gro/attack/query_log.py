"""The query log: query sequences and the list served for every prefix of each; the surrogate's training set."""

import math
import os
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from recbole.data.interaction import Interaction
from torch import Tensor

from recbole_gro.config.config_like import ConfigLike
from recbole_gro.utils.errors import UserError, in_one_line, kind_of
from recbole_gro.utils.files import written
from recbole_gro.utils.item_lists import are_ids, fault_of_ids, fault_of_lists

LISTED = "served_list"
LISTED_LENGTH = "served_list_length"
PREFIXES_AT_ONCE = 10  # maximum prefixes of a sequence in a batch, for models that read it once for all of them


@dataclass
class QueryLog:
    """Hold S sequences of at most L items, and in `lists[s, t]` the list served for `sequences[s, :t + 1]`.

    Attributes:
        sequences: [S, L] item ids; 0 pads a sequence that has fewer than L.
        lists: [S, L, k] item ids, best first; 0 pads a list that has fewer than k, and those past its sequence.
    """

    sequences: Tensor
    lists: Tensor

    @property
    def lengths(self) -> Tensor:
        """Items [S] of each sequence."""
        return (self.sequences != 0).sum(1)

    @property
    def n_lists(self) -> int:
        """Number of lists, one per item of each sequence."""
        return int(self.lengths.sum())

    def copy(self) -> "QueryLog":
        """Return a log of its own, which may be changed in place."""
        return QueryLog(self.sequences.clone(), self.lists.clone())

    def first(self, h: int) -> "QueryLog":
        """Return the log with the first `h` items of each list; all of them where lists are no longer."""
        return QueryLog(self.sequences, self.lists[:, :, :h])

    def save(self, file: str | os.PathLike) -> None:
        """Write an .npz of two integer arrays, as narrow as the ids allow; renamed into place when complete."""
        arrays = {name: ids.numpy() for name, ids in vars(self).items()}
        narrow = np.min_scalar_type(int(max(ids.max() for ids in arrays.values())))
        arrays = {name: ids.astype(narrow) for name, ids in arrays.items()}
        with written(file) as target:
            np.savez_compressed(target, **arrays)

    @classmethod
    def load(cls, file: str | os.PathLike) -> "QueryLog":
        """Read a log that `save` wrote; pickled content is refused, not executed.

        Raises:
            UserError: the file is no query log.
        """
        try:
            with np.load(file, allow_pickle=False) as stored:
                sequences, lists = (torch.from_numpy(stored[name].astype(np.int64)) for name in ("sequences", "lists"))
            if lists.dim() != 3 or lists.shape[:2] != sequences.shape:
                raise ValueError(f"lists {tuple(lists.shape)} do not belong to sequences {tuple(sequences.shape)}")
        except MemoryError:
            raise
        except Exception as error:  # damage ends in any of Python's
            raise UserError(f"query log {file}: {in_one_line(error)}") from error
        return cls(sequences, lists)

    def split(self, held_out: float, generator: torch.Generator) -> tuple["QueryLog", "QueryLog"]:
        """Return the log without and with a random share of its sequences; at least one sequence in each."""
        n = len(self.sequences)
        order = torch.randperm(n, generator=generator)
        n_held = min(max(round(n * held_out), 1), n - 1)
        kept, held = order[n_held:], order[:n_held]
        return QueryLog(self.sequences[kept], self.lists[kept]), QueryLog(self.sequences[held], self.lists[held])


def checked(log: Any, source: str, n_items: int, returned: int | None = None) -> QueryLog:
    """Return a query log if a surrogate can be trained on it.

    Args:
        log: what an attacker or a script made.
        source: names what made or takes it in the message.
        n_items: size of the id space.
        returned: number of lists that a black box returned to the attacker; None: not known.

    Raises:
        UserError: it is none, has fewer than the two sequences of training and held-out data, a list with an item
            twice, or more lists than the black box returned.
    """
    if not isinstance(log, QueryLog):
        raise UserError(f"{source}: it returned {type(log).__name__}; a QueryLog is expected")
    for name, shape in (("sequences", "[2 or more, L]"), ("lists", "[S, L, k]")):
        ids, ours = getattr(log, name), f"{source}: {name} of its query log"
        if not isinstance(ids, Tensor):
            raise UserError(f"{ours} are {type(ids).__name__}; a tensor {shape} of item ids is expected")
        is_shaped = ids.dim() == 2 and len(ids) > 1 if name == "sequences" else ids.shape[:-1] == log.sequences.shape
        if not are_ids(ids) or not is_shaped or ids.shape[-1] == 0:
            raise UserError(f"{ours} are {kind_of(ids)}; int64 {shape} item ids are expected")
        if fault := (fault_of_ids if name == "sequences" else fault_of_lists)(ids, n_items):
            raise UserError(f"{ours} {fault}")
    if bool((log.sequences[:, 0] == 0).any()):
        raise UserError(f"{source}: its query log has a sequence without an item; leave it out")
    n_lists = int(((log.lists[..., 0] != 0) & (log.sequences != 0)).sum())
    if returned is not None and n_lists > returned:
        raise UserError(
            f"{source}: its query log has {n_lists:,} lists, and the black box returned {returned:,}; it holds a list "
            "for each query and no others"
        )
    return log


class QueryLoader:
    """Batch a query log for RecBole's Trainer: S sequences and the lists of P prefixes of each.

    An epoch visits every example once, in batches and an order drawn for the epoch. P is 1, one row per example,
    unless the model reads a sequence once for many prefixes: then it is the largest divisor of all lengths up to 10.
    Each sequence has P lengths of its own, drawn per epoch: batches in which many examples share a length, which would
    need no padding, train worse surrogates (benchmarks/surrogate.py).

    A batch has the fields sequence [S, L], cut to the longest prefix, length [S, P], and LISTED [S P, k]; where some
    list of the log has fewer than k items, also LISTED_LENGTH [S P].

    Args:
        log: the labelled examples.
        config: names of fields.
        batch_size: maximum lists per batch.
        generator: source of the order; None visits in order, for held-out logs.
        shared_reading: whether the model reads a sequence once for many prefixes.
    """

    def __init__(
        self,
        log: QueryLog,
        config: ConfigLike,
        batch_size: int,
        generator: torch.Generator | None = None,
        shared_reading: bool = False,
    ):
        self.log = log
        self.sequence_field = config["ITEM_ID_FIELD"] + config["LIST_SUFFIX"]
        self.length_field = config["ITEM_LIST_LENGTH_FIELD"]
        self.generator = generator
        # computed once for all lists, not per batch
        list_lengths, queried = (log.lists != 0).sum(2), log.sequences != 0
        self.list_lengths = list_lengths if bool((list_lengths[queried] < log.lists.shape[2]).any()) else None
        common = math.gcd(*log.lengths.tolist())
        most = min(PREFIXES_AT_ONCE, batch_size) if shared_reading else 1
        self.prefixes = next(p for p in range(most, 0, -1) if common % p == 0)
        self.sequences_at_once = batch_size // self.prefixes

    def __len__(self) -> int:
        return math.ceil(self.log.n_lists / self.prefixes / self.sequences_at_once)

    def __iter__(self) -> Iterator[Interaction]:
        n, longest = len(self.log.sequences), int(self.log.lengths.max())
        lengths = torch.arange(1, longest + 1).expand(n, longest)
        order = torch.arange(self.log.n_lists // self.prefixes)
        if self.generator is not None:
            drawn = torch.rand(n, longest, generator=self.generator)
            # lengths past the end of a sequence come last
            lengths = drawn.masked_fill_(self.log.sequences[:, :longest] == 0, 2.0).argsort(1) + 1
            order = torch.randperm(len(order), generator=self.generator)
        parts = self.log.lengths // self.prefixes
        rows = torch.arange(n).repeat_interleave(parts)
        lengths = lengths.unflatten(1, (-1, self.prefixes))[torch.arange(longest // self.prefixes) < parts[:, None]]
        for part in order.split(self.sequences_at_once):
            row, length = rows[part], lengths[part]
            example = row.unsqueeze(1), length - 1
            batch = {
                self.sequence_field: self.log.sequences[row, : int(length.max())].long(),
                self.length_field: length,
                LISTED: self.log.lists[example].flatten(0, 1).long(),
            }
            if self.list_lengths is not None:
                batch[LISTED_LENGTH] = self.list_lengths[example].flatten()
            yield Interaction(batch)
