"""What an attacker has after asking: sequences and, for every prefix of each, the served list."""

import math
import os
import zipfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from recbole.data.interaction import Interaction
from torch import Tensor

from recbole_gro.errors import UserError

LISTED = "served_list"


@dataclass
class QueryLog:
    """S sequences of L items; `lists[s, t]` was served for `sequences[s, :t + 1]`, so there are S L labelled examples.

    Attributes:
        sequences: [S, L] item ids.
        lists: [S, L, k] item ids, best first.
    """

    sequences: Tensor
    lists: Tensor

    @property
    def n_lists(self) -> int:
        return self.lists.shape[0] * self.lists.shape[1]

    def save(self, file: str | os.PathLike) -> None:
        """Write an .npz of two integer arrays, as narrow as the ids allow; renamed into place when complete."""
        largest = int(max(self.sequences.max(), self.lists.max()))
        narrow = np.min_scalar_type(largest)
        part = f"{file}.part"
        with open(part, "wb") as target:
            np.savez_compressed(
                target, sequences=self.sequences.numpy().astype(narrow), lists=self.lists.numpy().astype(narrow)
            )
        os.replace(part, file)

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
        except (OSError, ValueError, KeyError, TypeError, EOFError, zipfile.BadZipFile, zlib.error) as error:
            raise UserError(f"query log {file}: {error}") from error
        return cls(sequences, lists)

    def split(self, held_out: float, generator: torch.Generator) -> tuple["QueryLog", "QueryLog"]:
        """The log without and with a random share of its sequences; at least one sequence on each side."""
        n = len(self.sequences)
        order = torch.randperm(n, generator=generator)
        n_held = min(max(round(n * held_out), 1), n - 1)
        kept, held = order[n_held:], order[:n_held]
        return QueryLog(self.sequences[kept], self.lists[kept]), QueryLog(self.sequences[held], self.lists[held])


class QueryLoader:
    """Batches of a query log for RecBole's Trainer: S sequences and the lists of the same P prefix lengths of each.

    So no padding need be computed, a model that can reads a sequence once for several of its prefixes, and a batch
    still holds short and long prefixes (batches of a single length train worse copies: benchmarks/surrogate.py). An
    epoch visits every example once; the order and what stands in a batch together are drawn anew.

    A batch has the fields sequence [S, longest of the P], length [P] and LISTED [P S, k], all sequences of the first
    length first.

    Args:
        log: the labelled examples.
        config: names of fields.
        batch_size: lists a batch, P S at most.
        generator: source of the order; None visits in order, for held-out logs.
    """

    def __init__(self, log: QueryLog, config: Any, batch_size: int, generator: torch.Generator | None = None):
        self.log = log
        self.sequence_field = config["ITEM_ID_FIELD"] + config["LIST_SUFFIX"]
        self.length_field = config["ITEM_LIST_LENGTH_FIELD"]
        self.generator = generator
        longest = log.sequences.shape[1]
        # of 256 lists 8 lengths of 32 sequences: enough rows of a length for a matrix product to pay
        groups = math.ceil(longest / max(1, math.isqrt(batch_size) // 2))
        self.sequences_at_once = max(1, batch_size // math.ceil(longest / groups))
        self.groups = groups

    def __len__(self) -> int:
        return self.groups * math.ceil(len(self.log.sequences) / self.sequences_at_once)

    def __iter__(self) -> Iterator[Interaction]:
        n, longest = self.log.sequences.shape
        lengths, order = torch.arange(1, longest + 1), torch.arange(len(self))
        rows = torch.arange(n).expand(self.groups, n)
        if self.generator is not None:
            lengths = torch.randperm(longest, generator=self.generator) + 1
            rows = torch.rand(self.groups, n, generator=self.generator).argsort(1)
            order = torch.randperm(len(self), generator=self.generator)
        batches = [
            (part, group)
            for group, some in zip(lengths.tensor_split(self.groups), rows, strict=True)
            for part in some.split(self.sequences_at_once)
        ]
        for part, group in (batches[place] for place in order.tolist()):
            served = self.log.lists[part.unsqueeze(0), group.unsqueeze(1) - 1]
            yield Interaction(
                {
                    self.sequence_field: self.log.sequences[part, : int(group.max())],
                    self.length_field: group,
                    LISTED: served.flatten(0, 1).long(),
                }
            )
