"""Query strategies: how an attack generates query sequences (Yue et al., RecSys'21, arXiv 2109.01165)."""

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
        settings: class of the settings that it reads; the function is then called with `settings=`, an instance of it.

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
        config: source of the settings of a strategy that declares some; None: their defaults.

    Raises:
        UserError: no such strategy.
    """
    if name not in _settings:
        return _strategies[name]
    keyword: Any = {"settings": _settings[name].of({} if config is None else config)}
    return functools.partial(_strategies[name], **keyword)


def settings_of_strategy(name: str) -> tuple[type[Settings], ...]:
    """Return the classes of settings that a strategy declares: one or none."""
    return (_settings[name],) if name in _settings else ()


@register_query_strategy("autoregressive")
def autoregressive(
    black_box: ListSource, n_sequences: int, length: int, generator: torch.Generator, show_progress: bool = False
) -> QueryLog:
    """Draw the first item from the catalogue and each next one uniformly from the list returned; query every prefix."""
    sequences = _random_items(black_box, n_sequences, length, generator)
    sequences[:, 1:] = 0
    return query_and_extend(black_box, sequences, generator, show_progress)


@register_query_strategy("random")
def random(
    black_box: ListSource, n_sequences: int, length: int, generator: torch.Generator, show_progress: bool = False
) -> QueryLog:
    """Draw all items uniformly from the catalogue; query every prefix."""
    sequences = _random_items(black_box, n_sequences, length, generator)
    return query_and_extend(black_box, sequences, generator, show_progress)


def _random_items(black_box: ListSource, n_sequences: int, length: int, generator: torch.Generator) -> Tensor:
    return torch.randint(1, black_box.n_items, (n_sequences, length), generator=generator)


def query_and_extend(
    black_box: ListSource, prefixes: Tensor, generator: torch.Generator, show_progress: bool = False
) -> QueryLog:
    """Query every prefix of sequences, and draw the items that they lack uniformly from the list before each.

    Args:
        black_box: gives S L lists.
        prefixes: [S, L] item ids, at least one per sequence; padded right with 0, where items are to be drawn.
        generator: source of the draws.
        show_progress: whether to show a progress bar.
    """
    sequences, (n_sequences, length) = prefixes.clone(), prefixes.shape
    drawn = sequences == 0
    lists = torch.empty(n_sequences, length, black_box.k, dtype=torch.int32)
    with progress_bar("queries", n_sequences * length, "list", show_progress) as bar:
        for t in range(length):
            served = black_box.query(sequences[:, : t + 1])
            lists[:, t] = served
            if t + 1 < length and bool(drawn[:, t + 1].any()):
                sequences[:, t + 1] = draw_listed(served, generator).where(drawn[:, t + 1], sequences[:, t + 1])
            bar.update(n_sequences)
    return QueryLog(sequences, lists)


def draw_listed(served: Tensor, generator: torch.Generator) -> Tensor:
    """Draw an item [S] of each list [S, k] uniformly; 0, which pads a list that has fewer than k, is never drawn."""
    place = torch.randint(served.shape[1], (len(served), 1), generator=generator)
    listed = (served != 0).sum(1, keepdim=True)
    if bool((listed < served.shape[1]).any()):
        # a place in the padding is replaced by one among the items: each stays equally likely
        among_items = (torch.rand(place.shape, generator=generator) * listed).long()
        place = place.where(place < listed, among_items)
    return served.gather(1, place).squeeze(1)
