"""Defenses on the served list (section 5.2 of the paper): none, random, reverse."""

import torch
from torch import Tensor

from recbole_gro.defense.base import Defense, register_defense


@register_defense("none")
class NoDefense(Defense):
    """The ranking is served as it is."""


@register_defense("random")
class RandomDefense(Defense):
    """Every list is shuffled afresh, each time it is served."""

    summary = "every list is shuffled afresh"

    def __init__(self, config):
        super().__init__(config)
        self.generator = torch.Generator().manual_seed(config["seed"])

    def shown(self, ranked: Tensor) -> Tensor:
        order = torch.rand(ranked.shape, generator=self.generator).argsort(1)
        return ranked.gather(1, order.to(ranked.device))


@register_defense("reverse")
class ReverseDefense(Defense):
    """The last of the list comes first."""

    summary = "every list is turned round"

    def shown(self, ranked: Tensor) -> Tensor:
        return ranked.flip(1)
