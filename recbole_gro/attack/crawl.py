"""A query strategy that finds the catalogue in the lists, from one item."""

import torch
from torch import Tensor

from recbole_gro.attack.black_box import ListSource
from recbole_gro.attack.query_log import QueryLog
from recbole_gro.attack.query_strategies import QueryStrategy, random_items, register_query_strategy


@register_query_strategy("crawl")
class Crawl(QueryStrategy):
    """Begin sequences with the items of the lists before, the most often listed first, and go on along the lists.

    It knows one item, at random, and finds the others as a client does that follows links to similar items. Each item
    begins one sequence; where lists have no other item, one of the rest of the catalogue does. The first items are
    popular ones, as those of users are, by whose popularity keys of short sequences are judged. With `query_length=1`
    it asks for the list of every item. Ours.
    """

    settings = ()

    _first: Tensor | None = None  # items [S] that the next sequences begin with; None: random ones

    def prefixes(self, n_items: int, n_sequences: int, length: int, generator: torch.Generator) -> Tensor:
        sequences = super().prefixes(n_items, n_sequences, length, generator)
        if self._first is not None:
            sequences[:, 0] = self._first
        return sequences

    def query(
        self,
        black_box: ListSource,
        n_sequences: int,
        length: int,
        generator: torch.Generator,
        show_progress: bool = False,
        *,
        visible: int | None = None,
    ) -> QueryLog:
        listed, begun = torch.zeros(black_box.n_items), torch.zeros(black_box.n_items, dtype=torch.bool)
        begun[0] = True  # padding
        logs, left = [], n_sequences
        while left:
            self._first = beginnings(listed, begun, left, generator)
            log = super().query(black_box, len(self._first), length, generator, show_progress, visible=visible)
            begun[self._first] = True
            listed += log.lists[:, :, :visible].flatten().bincount(minlength=len(listed))
            logs.append(log)
            left -= len(self._first)
        self._first = None
        return QueryLog(torch.cat([log.sequences for log in logs]), torch.cat([log.lists for log in logs]))


def beginnings(listed: Tensor, begun: Tensor, most: int, generator: torch.Generator) -> Tensor:
    """Return the items [at most `most`] that the next sequences begin with.

    Args:
        listed: [n_items] how often lists had each item; none, before the first list.
        begun: [n_items] whether each began a sequence before, or is padding.
        most: number of sequences that are left.
        generator: source of the draws.
    """
    n_items = len(listed)
    if not begun[1:].any():
        return random_items(n_items, 1, 1, generator)[0]
    found = listed.masked_fill(begun, 0)
    if n := int((found > 0).sum()):
        return found.argsort(descending=True, stable=True)[: min(n, most)]
    rest = (~begun).nonzero().squeeze(1)
    if not len(rest):
        return random_items(n_items, 1, most, generator)[0]
    return rest[torch.randperm(len(rest), generator=generator)[:most]]
