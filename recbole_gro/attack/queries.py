"""How an attacker makes up histories (Yue et al., RecSys'21): query strategies, by name."""

from collections.abc import Callable

import torch
from torch import Tensor

from recbole_gro.attack.black_box import BlackBox
from recbole_gro.data.query_log import QueryLog
from recbole_gro.progress import progress_bar
from recbole_gro.registry import Registry

QueryStrategy = Callable[[BlackBox, int, int, torch.Generator, bool], QueryLog]

_strategies: Registry[QueryStrategy] = Registry("query strategy")
register_query_strategy = _strategies.register


def create_query_strategy(name: str) -> QueryStrategy:
    """The strategy of that name: `strategy(black_box, n_sequences, length, generator, show_progress) -> QueryLog`.

    Raises:
        UserError: no such strategy.
    """
    return _strategies[name]


@register_query_strategy("autoregressive")
def autoregressive(
    black_box: BlackBox, n_sequences: int, length: int, generator: torch.Generator, show_progress: bool = False
) -> QueryLog:
    """Start with a random item; the next one is drawn uniformly from the list returned; to full length."""
    return _ask_every_prefix(black_box, n_sequences, length, generator, show_progress, follow=True)


@register_query_strategy("random")
def random(
    black_box: BlackBox, n_sequences: int, length: int, generator: torch.Generator, show_progress: bool = False
) -> QueryLog:
    """Items drawn uniformly from the catalogue."""
    return _ask_every_prefix(black_box, n_sequences, length, generator, show_progress, follow=False)


def _ask_every_prefix(black_box, n_sequences, length, generator, show_progress, follow):
    sequences = torch.randint(1, black_box.n_items, (n_sequences, length), generator=generator)
    lists = torch.empty(n_sequences, length, black_box.k, dtype=torch.int32)
    with progress_bar("queries", n_sequences * length, "list", show_progress) as bar:
        for t in range(length):
            served = black_box.query(sequences[:, : t + 1])
            lists[:, t] = served
            if follow and t + 1 < length:
                sequences[:, t + 1] = one_of(served, generator)
            bar.update(n_sequences)
    return QueryLog(sequences, lists)


def one_of(served: Tensor, generator: torch.Generator) -> Tensor:
    """[S] an item of each list [S, k], uniformly; 0 pads a list that has fewer than k, and is never taken."""
    place = torch.randint(served.shape[1], (len(served), 1), generator=generator)
    listed = (served != 0).sum(1, keepdim=True)
    if bool((listed < served.shape[1]).any()):
        # a place in the padding, drawn anew among the items: each is as likely as before
        anew = (torch.rand(place.shape, generator=generator) * listed).long()
        place = place.where(place < listed, anew)
    return served.gather(1, place).squeeze(1)
