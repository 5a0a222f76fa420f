"""Defenses on the served list (section 5.2 of the paper): none, random, reverse."""

import torch
from torch import Tensor

from recbole_gro.config.config_like import ConfigLike
from recbole_gro.config.settings import Settings
from recbole_gro.defense.base import Defense, register_defense
from recbole_gro.defense.keyed_randomness import KeyedDraws, shuffled
from recbole_gro.defense.settings import KeyedSettings, RandomSettings
from recbole_gro.serving.service import Query


@register_defense("none")
class NoDefense(Defense):
    """Serve the ranking as it is."""

    output_settings = ()


@register_defense("random")
class RandomDefense(Defense):
    """Shuffle every list: afresh each time it is served, as in the paper, or deterministically per query.

    In the paper a repeated query gets another shuffle of the same list. All shuffles are equally likely, so none
    reveals the order, but a surrogate that is trained on many of them averages the noise away. With `random_keyed`
    (ours) the shuffle is deterministic per query (`KeyedDraws`).
    """

    summary = "every list is shuffled afresh"
    output_settings: tuple[type[Settings], ...] = (RandomSettings,)

    def __init__(self, config: ConfigLike):
        super().__init__(config)
        self.generator = torch.Generator().manual_seed(config["seed"])
        self.draws = KeyedDraws(config, "random") if RandomSettings.of(config).random_keyed else None
        if self.draws is not None:
            self.output_settings = (RandomSettings, KeyedSettings)
            self.summary = "every list is shuffled, the same way for the same query"

    def shown(self, ranked: Tensor) -> Tensor:
        order = torch.rand(ranked.shape, generator=self.generator).argsort(1)
        return ranked.gather(1, order.to(ranked.device))

    def answer(self, ranked: Tensor, query: Query) -> Tensor:
        return self.shown(ranked) if self.draws is None else shuffled(ranked, self.draws.words(query, ranked.shape[1]))

    def state_dict(self):
        return {"generator": self.generator.get_state()}

    def load_state_dict(self, state):
        self.generator.set_state(state["generator"])


@register_defense("reverse")
class ReverseDefense(Defense):
    """Reverse every list."""

    summary = "every list is reversed"
    output_settings = ()

    def shown(self, ranked: Tensor) -> Tensor:
        return ranked.flip(1)
