"""Query strategies: how an attack generates query sequences."""

from collections.abc import Callable
from typing import ClassVar

import torch
from torch import Tensor

from recbole_gro.attack.black_box import ListSource
from recbole_gro.attack.chosen_items import checked_items, checked_prefixes
from recbole_gro.attack.query_log import QueryLog
from recbole_gro.attack.settings import CoverageSettings, MixedSettings, QuerySettings
from recbole_gro.config.config_like import SettingsSource
from recbole_gro.config.plugins import imported_member
from recbole_gro.config.settings import Settings
from recbole_gro.utils.errors import UserError
from recbole_gro.utils.progress import progress_bar
from recbole_gro.utils.registry import Registry


class QueryStrategy:
    """Generate query sequences: where they start (`prefixes`), and which item comes next (`next_items`).

    Args:
        config: `query_*` and the strategy's own settings are read from it.

    Attributes:
        settings: classes of its own settings; None: not declared, so it may read any key.
        draws_listed: whether `query_choice` may choose among the items of a list.
        lets_attacker_draw: whether an attacker may replace `draw`.
        draw: draws an item [S] of each list, from lists [S, k], the generator and the exponent of the rank that the
            strategy weights items by; `draw_listed`, or that of an attacker.

    Raises:
        UserError: a `query_choice` that the strategy does not read.
    """

    settings: ClassVar[tuple[type[Settings], ...] | None] = None
    draws_listed: ClassVar[bool] = True
    lets_attacker_draw: ClassVar[bool] = True

    def __init__(self, config: SettingsSource):
        self.config = config
        choice = QuerySettings.of(config).query_choice
        if choice and not self.draws_listed:
            name = type(self).__name__.lower()
            raise UserError(f"query_choice: {name} chooses all items itself; leave it out, or take another strategy")
        self._choice = imported_member(choice, "query_choice") if choice else None
        # an attribute, so that the `next_items` of a strategy need not pass it on
        self.draw: Callable[[Tensor, torch.Generator, float], Tensor] = draw_listed

    def prefixes(self, n_items: int, n_sequences: int, length: int, generator: torch.Generator) -> Tensor:
        """Return [S, L] item ids, at least the first of each sequence; 0 for those that `next_items` chooses.

        Args:
            n_items: size of the id space; the catalogue is 1 .. n_items - 1.
            n_sequences: number of sequences S.
            length: items per sequence L.
            generator: source of the draws.
        """
        sequences = random_items(n_items, n_sequences, length, generator)
        sequences[:, 1:] = 0
        return sequences

    def next_items(self, served: Tensor, sequences: Tensor, n_items: int, generator: torch.Generator) -> Tensor:
        """Return the item [S] that comes next in each sequence: by `query_choice`, or uniform over the list.

        Args:
            served: [S, k] the list returned for each sequence, best first; 0 pads those that have fewer than k.
            sequences: [S, t] the items of each so far.
            n_items: size of the id space.
            generator: source of the draws.
        """
        return self._chosen(served, sequences, n_items, generator)

    def chosen_prefixes(self, n_items: int, n_sequences: int, length: int, generator: torch.Generator) -> Tensor:
        """Return `prefixes` [S, L], checked.

        Raises:
            UserError: they are no such item ids.
        """
        prefixes, source = self.prefixes(n_items, n_sequences, length, generator), type(self).__name__
        return checked_prefixes(prefixes, (n_sequences, length), n_items, f"query_strategy: prefixes of {source}")

    def chosen_next(self, served: Tensor, sequences: Tensor, n_items: int, generator: torch.Generator) -> Tensor:
        """Return `next_items` [S], checked: a 0 would end a sequence unseen and spend its budget on one history.

        Raises:
            UserError: they are no items of the catalogue, one per sequence.
        """
        items = self.next_items(served.clone(), sequences.clone(), n_items, generator)  # which it may change in place
        source = f"query_strategy: next_items of {type(self).__name__}"
        return checked_items(items, len(served), n_items, source)

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
        """Generate sequences and query every prefix of each.

        Args:
            black_box: gives S L lists.
            n_sequences: number of sequences S.
            length: items per sequence L.
            generator: source of all draws.
            show_progress: whether to show a progress bar.
            visible: as of `extend`.
        """
        prefixes = self.chosen_prefixes(black_box.n_items, n_sequences, length, generator)
        if visible is None:  # an `extend` of a user's may lack the parameter, which few attackers need
            return self.extend(black_box, prefixes, generator, show_progress)
        return self.extend(black_box, prefixes, generator, show_progress, visible=visible)

    def extend(
        self,
        black_box: ListSource,
        prefixes: Tensor,
        generator: torch.Generator,
        show_progress: bool = False,
        *,
        queried: int = 0,
        visible: int | None = None,
    ) -> QueryLog:
        """Query every prefix of sequences, and choose the items that they lack.

        Args:
            black_box: gives S L lists.
            prefixes: [S, L] item ids, at least one per sequence; padded right with 0, where items are to be chosen.
            generator: source of the draws.
            show_progress: whether to show a progress bar.
            queried: number of items whose prefixes are not queried again; the log has no lists for them.
            visible: number of first items of each list that items are chosen by; None: all. The log has whole lists.
        """
        sequences, (n_sequences, length) = prefixes.clone(), prefixes.shape
        lacking = sequences == 0
        lists = torch.zeros(n_sequences, length, black_box.k, dtype=torch.int32)
        with progress_bar("queries", n_sequences * (length - queried), "lists", show_progress) as bar:
            for t in range(queried, length):
                served = black_box.query(sequences[:, : t + 1])
                lists[:, t] = served
                if t + 1 < length and bool(lacking[:, t + 1].any()):
                    seen = never_empty(served[:, :visible], black_box.n_items, generator)
                    chosen = self.chosen_next(seen, sequences[:, : t + 1], black_box.n_items, generator)
                    sequences[:, t + 1] = chosen.where(lacking[:, t + 1], sequences[:, t + 1])
                bar.update(n_sequences)
        return QueryLog(sequences, lists)

    def _chosen(
        self, served: Tensor, sequences: Tensor, n_items: int, generator: torch.Generator, decay: float = 0.0
    ) -> Tensor:
        """Return an item [S] of each list, by `query_choice`, or by `draw` with weight rank^-decay."""
        if self._choice is None:
            return self.draw(served, generator, decay)
        returned = self._choice(served, sequences, generator)
        source = f"query_choice: {QuerySettings.of(self.config).query_choice}"
        return checked_items(returned, len(served), n_items, source)


_strategies: Registry[type[QueryStrategy]] = Registry("query strategy", QueryStrategy)
register_query_strategy = _strategies.register


def create_query_strategy(name: str, config: SettingsSource | None = None) -> QueryStrategy:
    """Return the query strategy of that name.

    Args:
        name: as registered.
        config: source of its settings; None: their defaults.

    Raises:
        UserError: no such strategy.
    """
    return _strategies[name]({} if config is None else config)


def is_query_strategy(name: str) -> bool:
    """Return whether a query strategy has that name."""
    return name in _strategies


@register_query_strategy("autoregressive")
class Autoregressive(QueryStrategy):
    """Draw the first item from the catalogue and each next one uniformly from the list returned.

    Source: Yue et al., RecSys'21 (arXiv 2109.01165), the strategy of the GRO paper.
    """

    settings = ()


@register_query_strategy("random")
class Random(QueryStrategy):
    """Draw all items uniformly from the catalogue. Source: Yue et al., RecSys'21 (arXiv 2109.01165)."""

    settings = ()

    draws_listed = False

    def prefixes(self, n_items: int, n_sequences: int, length: int, generator: torch.Generator) -> Tensor:
        return random_items(n_items, n_sequences, length, generator)

    def next_items(self, served: Tensor, sequences: Tensor, n_items: int, generator: torch.Generator) -> Tensor:
        return random_items(n_items, len(served), 1, generator).squeeze(1)


@register_query_strategy("mixed")
class Mixed(QueryStrategy):
    """Draw each next item from the whole catalogue with probability `query_random_share`, else from the list returned.

    An item at rank r of the list is drawn with weight r^-`query_rank_decay`. The random items lead a sequence away from
    the few histories that a list-following walk reaches. Ours.
    """

    settings = (MixedSettings,)

    def next_items(self, served: Tensor, sequences: Tensor, n_items: int, generator: torch.Generator) -> Tensor:
        own = MixedSettings.of(self.config)
        listed = self._chosen(served, sequences, n_items, generator, own.query_rank_decay)
        anywhere = torch.randint(1, n_items, listed.shape, generator=generator)
        at_random = torch.rand(listed.shape, generator=generator) < own.query_random_share
        return anywhere.where(at_random, listed)


@register_query_strategy("coverage")
class Coverage(QueryStrategy):
    """Draw random sequences until `query_coverage` of the catalogue was queried; the others are autoregressive.

    Source: LLM4MEA (arXiv 2507.16969), without its language model, which `query_choice` can plug in. Where the budget
    ends before that share is reached, all sequences are random.
    """

    settings = (CoverageSettings,)

    def prefixes(self, n_items: int, n_sequences: int, length: int, generator: torch.Generator) -> Tensor:
        sequences = random_items(n_items, n_sequences, length, generator)
        # the first sequence that has each item, in ascending order: entry i - 1 is where i items are covered
        number = torch.arange(n_sequences).repeat_interleave(length)
        first = torch.full((n_items,), n_sequences).scatter_reduce_(0, sequences.flatten(), number, "amin")
        needed = round(CoverageSettings.of(self.config).query_coverage * (n_items - 1))
        n_random = int(first[1:].sort().values[needed - 1]) + 1 if needed else 0
        sequences[n_random:, 1:] = 0
        return sequences


def random_items(n_items: int, n_sequences: int, length: int, generator: torch.Generator) -> Tensor:
    """Draw item ids [S, L] uniformly from the catalogue 1 .. n_items - 1."""
    return torch.randint(1, n_items, (n_sequences, length), generator=generator)


def never_empty(served: Tensor, n_items: int, generator: torch.Generator) -> Tensor:
    """Return lists [S, k] with a random item in each that has none, so that a sequence can go on after it.

    Args:
        served: [S, k] item ids, best first; 0 pads.
        n_items: size of the id space.
        generator: is drawn from only where a list is empty.
    """
    empty = served[:, 0] == 0
    if not bool(empty.any()):
        return served
    filled = served.clone()
    filled[empty, 0] = torch.randint(1, n_items, (int(empty.sum()),), generator=generator).to(served.dtype)
    return filled


def draw_listed(served: Tensor, generator: torch.Generator, decay: float = 0.0) -> Tensor:
    """Draw an item [S] of each list; 0, which pads a list that has fewer than k, is never drawn.

    Args:
        served: [S, k] item ids, best first.
        generator: source of the draws.
        decay: an item at rank r has the weight r^-decay; 0 draws uniformly.
    """
    if decay:
        weights = torch.arange(1, served.shape[1] + 1, dtype=torch.double).pow(-decay) * (served != 0)
        return served.gather(1, torch.multinomial(weights, 1, generator=generator)).squeeze(1)
    place = torch.randint(served.shape[1], (len(served), 1), generator=generator)
    listed = (served != 0).sum(1, keepdim=True)
    if bool((listed < served.shape[1]).any()):
        # a place in the padding is replaced by one among the items: each stays equally likely
        among_items = (torch.rand(place.shape, generator=generator) * listed).long()
        place = place.where(place < listed, among_items)
    return served.gather(1, place).squeeze(1)
