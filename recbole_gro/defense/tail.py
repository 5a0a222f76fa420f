"""Defenses that keep the head of the served list and change the positions below it."""

from abc import abstractmethod

import torch
from torch import Tensor

from recbole_gro.config.config_like import ConfigLike
from recbole_gro.config.settings import Settings
from recbole_gro.data.loaders import check_served_k
from recbole_gro.defense.base import Defense, register_defense
from recbole_gro.defense.keyed_randomness import KeyedDraws, shuffled
from recbole_gro.defense.settings import KeyedSettings, TailSettings, check_head
from recbole_gro.serving.service import Query
from recbole_gro.serving.settings import ServiceSettings
from recbole_gro.utils.ranking import random_others, top_k


class TailDefense(Defense):
    """Keep the first `head_k` positions; a subclass fills those below.

    Raises:
        UserError: no position is below the head.
    """

    output_settings: tuple[type[Settings], ...] = (TailSettings, KeyedSettings)

    def __init__(self, config: ConfigLike):
        super().__init__(config)
        self.head_k = TailSettings.of(config).head_k
        check_head("head_k", self.head_k, ServiceSettings.of(config).served_k)

    def answer(self, ranked: Tensor, query: Query) -> Tensor:
        if ranked.shape[1] <= self.head_k:
            return ranked
        return torch.cat([ranked[:, : self.head_k], self.tail(ranked, query)], 1)

    @abstractmethod
    def tail(self, ranked: Tensor, query: Query) -> Tensor:
        """Return the items [B, k - head_k] below the head of a ranking [B, k]."""
        raise NotImplementedError


@register_defense("tail_shuffle")
class TailShuffle(TailDefense):
    """Shuffle the tail, deterministically per query (`KeyedDraws`)."""

    summary = "every list is shuffled below its head, the same way for the same query"

    def __init__(self, config: ConfigLike):
        super().__init__(config)
        self.draws = KeyedDraws(config, "tail_shuffle")

    def tail(self, ranked, query):
        tail = ranked[:, self.head_k :]
        return shuffled(tail, self.draws.words(query, tail.shape[1]))


@register_defense("tail_random")
class TailRandom(TailDefense):
    """Fill the tail with random other items, deterministically per query (`KeyedDraws`)."""

    summary = "below its head every list holds random items, the same ones for the same query"

    def __init__(self, config: ConfigLike):
        super().__init__(config)
        self.draws = KeyedDraws(config, "tail_random")

    def tail(self, ranked, query):
        check_served_k(ranked.shape[1], query.scores.shape[1])
        head, n_tail = ranked[:, : self.head_k], ranked.shape[1] - self.head_k
        return random_others(head, n_tail, query.scores.shape[1], lambda n: self.draws.words(query, n))


@register_defense("tail_decoy")
class TailDecoy(TailDefense):
    """Fill the tail with the items that the target scores lowest, the lowest first."""

    summary = "below its head every list holds the items with the lowest scores, the lowest first"
    output_settings = (TailSettings,)

    def tail(self, ranked, query):
        check_served_k(ranked.shape[1], query.scores.shape[1])
        # with equal scores the head could be among the lowest
        lowest = (-query.scores).scatter_(1, ranked[:, : self.head_k], -torch.inf)
        return top_k(lowest, ranked.shape[1] - self.head_k)


@register_defense("truncate")
class Truncate(TailDefense):
    """Cut the list to its head, padded with 0."""

    summary = "every list is cut to its head"
    output_settings = (TailSettings,)
    shortens = True

    def tail(self, ranked, query):
        return torch.zeros_like(ranked[:, self.head_k :])
