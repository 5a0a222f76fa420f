"""An adaptive attack that trains on the head of each list alone."""

import functools
import inspect
from typing import Any

import torch
from torch import Generator, Tensor

from recbole_gro.attack.attacker import Attacker, query_length, register_attacker
from recbole_gro.attack.black_box import ListSource
from recbole_gro.attack.query_log import QueryLog
from recbole_gro.attack.query_strategies import QueryStrategy
from recbole_gro.attack.settings import HeadSettings
from recbole_gro.config.config_like import ConfigLike
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
        UserError: `attacker_head_k` is past the end of the list, or the query strategy overrides `query` or `extend`
            without their parameter `visible`.
    """

    settings = (HeadSettings,)
    variant_key = "attacker_head_k"

    def __init__(self, config: ConfigLike):
        super().__init__(config)
        check_takes_visible(self.strategy_name, self.strategy)
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
                f"attacker_head_k: {self.head_k} is past the end of lists of {served_k} items; at most {served_k}"
            )

    def query(
        self, black_box: ListSource, generator: Generator, auxiliary: Tensor | None = None, show_progress: bool = False
    ) -> QueryLog:
        length, visible = query_length(self.config), self.head_k or candidates(black_box.k)[0]
        return self.strategy.query(black_box, self.n_sequences, length, generator, show_progress, visible=visible)

    def training_logs(self, log: QueryLog, n_items: int, seed: int) -> dict[Any, QueryLog]:
        self._longest = int((log.lists != 0).sum(2).max())
        heads = [self.head_k] if self.head_k else candidates(self._longest)
        return {h: with_random_tail(log.first(h), self.served_k, n_items, seed) for h in heads}

    def genuine_k_of(self, variant: Any) -> int:
        return min(int(variant), self._longest)


def check_takes_visible(name: str, strategy: QueryStrategy) -> None:
    """Check that a strategy takes `visible`, the number of items of each list that it may choose by.

    Args:
        name: of the strategy, for the message.
        strategy: of that name.

    Raises:
        UserError: it overrides `query` or `extend` without the parameter.
    """
    for method in (strategy.query, strategy.extend):
        try:
            inspect.signature(method).bind_partial(visible=1)
        except TypeError:
            raise UserError(
                f"query_strategy: {method.__name__} of {name} does not take visible, the number of items of each list "
                f"that queries depend on; add the keyword, or take another strategy or attacker"
            ) from None


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
