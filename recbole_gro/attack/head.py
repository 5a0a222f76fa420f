"""An adaptive attack that trains on the head of each list alone."""

import functools
from typing import Any

import torch
from torch import Generator, Tensor

from recbole_gro.attack.attacker import Attacker, register_attacker
from recbole_gro.attack.black_box import ListSource
from recbole_gro.attack.query_log import QueryLog
from recbole_gro.attack.settings import HeadSettings
from recbole_gro.config.settings import setting
from recbole_gro.utils.errors import UserError
from recbole_gro.utils.ranking import completed

HEADS = (10, 20, 50)  # candidate lengths of the head, besides the whole list
TABLE = 2**24  # entries of a table [lists, items] held at a time (64 MiB)


@register_attacker("head")
class HeadAttacker(Attacker):
    """Train on, and generate query sequences from, the first h items of each list.

    Random items replace the others (`with_random_tail`). Eq. 4 compares each item with the next one and with one
    negative, so lists of 20 items have a fifth of the comparisons of lists of 100; with a random tail all have as many.

    `attacker_head_k` sets h. Without it one surrogate is trained on each of several heads (`candidates`) of one query
    log, and the one with the highest agreement with held-out lists is selected; the shorter head of equal ones.

    Queries are generated from the shortest head, before h is selected: a defense is likely to alter a list below it.
    All candidates train on the same queries, and none of the budget is divided among them.

    Raises:
        UserError: `attacker_head_k` is past the end of the list.
    """

    settings = (HeadSettings,)
    variant_key = "attacker_head_k"

    def __init__(self, config: Any):
        super().__init__(config)
        self.head_k = setting(config, "attacker_head_k")
        self.served_k = served_k = setting(config, "served_k")
        self._longest = served_k  # items of a list, as far as is known
        if self.head_k is None:
            self.n_variants = len(candidates(served_k))
            self.summary = "trains on the first h items of each list, h by agreement on held-out queries"
        elif self.head_k <= served_k:
            self.selected = {"attacker_head_k": self.head_k}
            self.summary = f"trains on the first {self.head_k} items of each list"
        else:
            raise UserError(
                f"attacker_head_k: {self.head_k} is past the end of lists of {served_k}; at most served_k={served_k}"
            )

    def query(
        self, black_box: ListSource, generator: Generator, auxiliary: Tensor | None = None, show_progress: bool = False
    ) -> QueryLog:
        head_k = self.head_k or candidates(black_box.k)[0]
        truncated = TruncatedBlackBox(black_box, head_k)
        log = super().query(truncated, generator, None, show_progress)
        return truncated.with_whole_lists(log, self.head_k is None)

    def training_logs(self, log: QueryLog, n_items: int, seed: int) -> dict[Any, QueryLog]:
        self._longest = int((log.lists != 0).sum(2).max())
        heads = [self.head_k] if self.head_k else candidates(self._longest)
        return {h: with_random_tail(log.first(h), self.served_k, n_items, seed) for h in heads}

    def genuine_k_of(self, variant: Any) -> int:
        return min(int(variant), self._longest)


def with_random_tail(log: QueryLog, k: int, n_items: int, seed: int) -> QueryLog:
    """Return the log with each list extended to k items by random items that it does not have; empty ones stay empty.

    Args:
        log: lists of at most k items.
        k: length of the extended lists.
        n_items: size of the id space, padding included; more than k.
        seed: of the items.
    """
    generator = Generator().manual_seed(seed)
    lists = torch.nn.functional.pad(log.lists, (0, k - log.lists.shape[2])).flatten(0, 1)

    def draw(rows: int, n: int) -> Tensor:
        return torch.randint(2**62, (rows, n), generator=generator)

    parts = [
        completed(part.long(), n_items, functools.partial(draw, len(part))).to(lists.dtype) * (part[:, :1] != 0)
        for part in lists.split(max(1, TABLE // n_items))
    ]
    return QueryLog(log.sequences, torch.cat(parts).view(*log.lists.shape[:2], k))


def candidates(k: int) -> list[int]:
    """Return the candidate lengths of the head for lists of k items, the shortest first.

    >>> candidates(100), candidates(12), candidates(4)
    ([10, 20, 50, 100], [10, 12], [4])
    """
    return [h for h in HEADS if h < k] + [k]


class TruncatedBlackBox:
    """Return the first items of each list of a black box; a ListSource.

    Args:
        black_box: the black box to query.
        k: number of items.
    """

    def __init__(self, black_box: ListSource, k: int):
        self._black_box = black_box
        self.n_items, self.k = black_box.n_items, min(k, black_box.k)
        self._whole: list[list[Tensor]] = []  # by group of sequences that grow by an item each time
        self._length = 0  # of the sequences queried last

    def query(self, sequences: Any) -> Tensor:
        """Return lists [B, k] of item ids, best first."""
        lists = self._black_box.query(sequences)
        before, self._length = self._length, len(sequences[0])
        if not self._whole or self._length <= before:
            self._whole.append([])
        self._whole[-1].append(lists.int())
        return lists[:, : self.k]

    def with_whole_lists(self, log: QueryLog, needed: bool) -> QueryLog:
        """Return the log with the whole lists in place of their heads, by which its surrogate is measured.

        Args:
            log: of queries to this black box.
            needed: whether the heads do not suffice.

        Raises:
            UserError: they are needed, and the queries were not prefixes of all sequences, or of one part of them after
                another, one item longer each time, so lists cannot be matched to prefixes.
        """
        in_step = all(len({len(lists) for lists in group}) == 1 for group in self._whole)
        in_step = in_step and len({len(group) for group in self._whole}) == 1
        lists = torch.cat([torch.stack(group, 1) for group in self._whole]) if in_step else torch.empty(0, 0, 0)
        if not torch.equal(lists[:, :, : self.k], log.lists.int()):
            if not needed:
                return log
            raise UserError(
                "query_strategy: the attacker head selects h only with strategies that query sequences side by side, "
                "one item longer each time; set attacker_head_k"
            )
        return QueryLog(log.sequences, lists)
