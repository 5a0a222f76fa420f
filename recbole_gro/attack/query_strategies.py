"""How an attacker makes up histories (Yue et al., RecSys'21): query strategies, by name."""

import functools
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from recbole_gro.attack.black_box import ListSource
from recbole_gro.attack.query_log import QueryLog
from recbole_gro.config.settings import Settings
from recbole_gro.utils.progress import progress_bar
from recbole_gro.utils.registry import Registry

QueryStrategy = Callable[[ListSource, int, int, torch.Generator, bool], QueryLog]
_strategies: Registry[QueryStrategy] = Registry("query strategy")
_settings: dict[str, type[Settings]] = {}


def register_query_strategy(name: str, settings: type[Settings] | None = None) -> Callable[[Any], Any]:
    """Register a query strategy under a name.

    Args:
        name: for `query_strategy`.
        settings: what it reads; the function is called with `settings=`, an instance of it, then.

    Raises:
        ValueError: the name is taken.
    """
    if settings is not None:
        _settings[name] = settings
    return _strategies.register(name)


def create_query_strategy(name: str, config: Any = None) -> QueryStrategy:
    """Return the strategy of that name: `strategy(black_box, n_sequences, length, generator, show_progress)`.

    Args:
        name: as registered.
        config: that a strategy with settings reads them from; None: their defaults.

    Raises:
        UserError: no such strategy.
    """
    strategy = _strategies[name]
    if name not in _settings:
        return strategy
    keyword: Any = {"settings": _settings[name].of({} if config is None else config)}
    return functools.partial(strategy, **keyword)


def settings_of_strategy(name: str) -> tuple[type[Settings], ...]:
    """Return the settings that a strategy declares."""
    return (_settings[name],) if name in _settings else ()


@register_query_strategy("autoregressive")
def autoregressive(
    black_box: ListSource, n_sequences: int, length: int, generator: torch.Generator, show_progress: bool = False
) -> QueryLog:
    """Start with a random item; the next one is drawn uniformly from the list returned; to full length."""
    sequences = _drawn(black_box, n_sequences, length, generator)
    sequences[:, 1:] = 0
    return query_and_extend(black_box, sequences, generator, show_progress)


@register_query_strategy("random")
def random(
    black_box: ListSource, n_sequences: int, length: int, generator: torch.Generator, show_progress: bool = False
) -> QueryLog:
    """Items drawn uniformly from the catalogue."""
    return query_and_extend(black_box, _drawn(black_box, n_sequences, length, generator), generator, show_progress)


def _drawn(black_box, n_sequences, length, generator):
    return torch.randint(1, black_box.n_items, (n_sequences, length), generator=generator)


def query_and_extend(
    black_box: ListSource, begun: Tensor, generator: torch.Generator, show_progress: bool = False
) -> QueryLog:
    """Ask every prefix of sequences, and draw the items that they lack uniformly from the list before them.

    Args:
        black_box: what is asked, S L lists.
        begun: [S, L] item ids, at least one a sequence; padded right with 0, where items are to be drawn.
        generator: source of the draws.
        show_progress: a bar, a step a list.
    """
    sequences, (n_sequences, length) = begun.clone(), begun.shape
    drawn = sequences == 0
    lists = torch.empty(n_sequences, length, black_box.k, dtype=torch.int32)
    with progress_bar("queries", n_sequences * length, "list", show_progress) as bar:
        for t in range(length):
            served = black_box.query(sequences[:, : t + 1])
            lists[:, t] = served
            if t + 1 < length and bool(drawn[:, t + 1].any()):
                sequences[:, t + 1] = one_of(served, generator).where(drawn[:, t + 1], sequences[:, t + 1])
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
