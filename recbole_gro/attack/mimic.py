"""A query strategy that imitates users, to evade detection."""

import torch
from torch import Tensor

from recbole_gro.attack.black_box import ListSource
from recbole_gro.attack.query_log import QueryLog
from recbole_gro.attack.query_strategies import QueryStrategy, register_query_strategy
from recbole_gro.attack.settings import MimicSettings
from recbole_gro.config.config_like import SettingsSource
from recbole_gro.utils.ranking import found_in

PROBES = 20  # one in so many sequences is queried first, for the frequencies of items in lists
CANDIDATES = 16  # items drawn from the catalogue, of which the first that the sequence lacks is taken


@register_query_strategy("mimic")
class Mimic(QueryStrategy):
    """Draw items as users seem to: at their ranks in the lists, by their popularity, and none twice.

    The next item comes from the list with probability `mimic_listed_share`, with weight rank^-`mimic_rank_decay`, else
    from outside of it, by popularity. Where one side has no item that the sequence lacks, it comes from the other one;
    where neither has, an item of the list repeats. Without data popularity is guessed: half of the draws are by how
    often lists returned an item, half are uniform.
    One in 20 sequences is queried first for these counts, with random first items; the others start by popularity too.

    Histories of users that an attacker queries (`few_shot`) take the place of the guesses: the share of listed next
    items and their ranks are those of these histories, whose items count for popularity as well. Ours.
    """

    settings = (MimicSettings,)
    draws_listed = False
    lets_attacker_draw = False

    def __init__(self, config: SettingsSource):
        super().__init__(config)
        self.own = MimicSettings.of(config)
        self._black_box: ListSource | None = None  # that the counts are of
        self._forget()

    def _forget(self) -> None:
        self._listed = self._known = self._at_rank = torch.zeros(0)

    def _meet(self, black_box: ListSource) -> None:
        """Start counting anew where another service is queried."""
        if black_box is not self._black_box:
            self._black_box = black_box
            self._forget()

    def prefixes(self, n_items: int, n_sequences: int, length: int, generator: torch.Generator) -> Tensor:
        sequences = torch.zeros(n_sequences, length, dtype=torch.long)
        sequences[:, 0] = self._by_popularity(n_items, n_sequences, generator)
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
        self._meet(black_box)
        logs = []
        for n in (n_sequences // PROBES, n_sequences - n_sequences // PROBES):
            if n:
                log = super().query(black_box, n, length, generator, show_progress, visible=visible)
                logs.append(log)
        return QueryLog(torch.cat([log.sequences for log in logs]), torch.cat([log.lists for log in logs]))

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
        self._meet(black_box)
        log = super().extend(black_box, prefixes, generator, show_progress, queried=queried, visible=visible)
        self._learn(
            log if visible is None else log.first(visible), prefixes[:, queried + 1 :] != 0, black_box.n_items, queried
        )
        return log

    def next_items(self, served: Tensor, sequences: Tensor, n_items: int, generator: torch.Generator) -> Tensor:
        counts = self._counts(n_items)
        counts += served.flatten().bincount(minlength=n_items)
        counts[0] = 0  # short lists are padded
        new = (served != 0) & ~found_in(served, sequences)
        profile, listed_share = self._profile(served.shape[1])
        weights = profile * new
        for usable in (new, served != 0):  # weights of far ranks may all be 0, or no item new
            weights = weights.where(weights.any(1, keepdim=True), usable.double())
        listed = served.gather(1, torch.multinomial(weights, 1, generator=generator)).squeeze(1).long()
        candidates = self._by_popularity(n_items, len(served) * CANDIDATES, generator).view(len(served), -1)
        excluded = torch.cat([sequences, served.long()], 1)
        fitting = ~found_in(candidates, excluded)
        elsewhere = candidates.gather(1, fitting.int().argmax(1, keepdim=True)).squeeze(1)
        from_list = (torch.rand(len(served), generator=generator) < listed_share) & new.any(1)
        failed = ~from_list & ~fitting.any(1)
        if failed.any():
            outside = self._outside(excluded[failed], n_items, generator)
            elsewhere[failed] = outside.where(outside != 0, listed[failed])
        return listed.where(from_list, elsewhere)

    def _outside(self, excluded: Tensor, n_items: int, generator: torch.Generator) -> Tensor:
        """Return items [N] drawn by popularity that are not in `excluded` [N, n]; 0 where none is left."""
        items = torch.zeros(len(excluded), dtype=torch.long)
        for rows in torch.arange(len(excluded)).split(max(1, 2**24 // n_items)):  # weights of 128 MiB at most
            left = self._weights(n_items).repeat(len(rows), 1).scatter(1, excluded[rows], 0)
            some = left.any(1)
            if some.any():
                items[rows[some]] = torch.multinomial(left[some], 1, generator=generator).squeeze(1)
        return items

    def _counts(self, n_items: int) -> Tensor:
        """Return how often lists had each item, [n_items]; counted from now on."""
        if len(self._listed) != n_items:
            self._listed, self._known = torch.zeros(n_items), torch.zeros(n_items)
        return self._listed

    def _by_popularity(self, n_items: int, n: int, generator: torch.Generator) -> Tensor:
        """Return items [n] drawn by popularity."""
        return torch.multinomial(self._weights(n_items), n, replacement=True, generator=generator)

    def _weights(self, n_items: int) -> Tensor:
        """Return the popularity [n_items] of items, known or guessed; 0 for padding."""
        counts = self._counts(n_items)
        weights = counts / counts.sum().clamp(min=1) + 1 / n_items if not self._known.any() else self._known + 0.5
        weights = weights.double()
        weights[0] = 0
        return weights

    def _profile(self, k: int) -> tuple[Tensor, float]:
        """Return the weight [k] of each rank, and the share of next items that lists have."""
        guess = torch.arange(1, k + 1, dtype=torch.double).pow(-self.own.mimic_rank_decay)
        guess /= guess.sum()
        if len(self._at_rank) != k + 1:
            return guess, self.own.mimic_listed_share
        seen = self._at_rank.double()
        return seen[:-1] + k * guess, float(seen[:-1].sum() / seen.sum())

    def _learn(self, log: QueryLog, given: Tensor, n_items: int, queried: int) -> None:
        """Count the ranks and items of histories that an attacker has, in place of those that it generated.

        Args:
            log: of `extend`.
            given: [S, L - queried - 1] whether each next item was given.
            n_items: size of the id space.
            queried: of `extend`.
        """
        if not bool(given.any()):
            return
        self._counts(n_items)
        k, next_items = log.lists.shape[2], log.sequences[:, queried + 1 :]
        if len(self._at_rank) != k + 1:
            self._at_rank = torch.zeros(k + 1)
        for place in range(given.shape[1]):  # a place in the sequences, not a sequence
            own = given[:, place]
            at = log.lists[own, queried + place] == next_items[own, place].unsqueeze(1)
            rank = at.int().argmax(1).where(at.any(1), torch.tensor(k))
            self._at_rank += rank.bincount(minlength=k + 1)
        self._known += next_items[given].bincount(minlength=n_items)
