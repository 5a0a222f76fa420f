"""Cells of an experiment that was never run: ranks drawn so that the quality of each model is known."""

from dataclasses import dataclass, field
from itertools import product
from typing import Any

import numpy as np

from recbole_gro.experiment.cell import Cell

QUALITY = {"none": (0.40, 0.30), "random": (0.16, 0.22), "reverse": (0.08, 0.18), "gro": (0.37, 0.20)}
VERSIONS = {"python": "3.11.9", "torch": "2.9.0"}


@dataclass
class Plan:
    """What a report reads of an experiment."""

    vary: dict[str, list]
    figure: str = "k"
    seeds: list[int] = field(default_factory=lambda: [1, 2, 3])
    name: str = "made-up"
    title: str = "Made-up defenses"
    fixed: dict[str, Any] = field(default_factory=lambda: {"model": "BERT4Rec", "dataset": "ml-100k"})
    differs: list[str] = field(default_factory=lambda: ["The data are made up."])


def ranks(draw, taste, quality, served_k=100):
    """[U] ranks of users with a taste [U] in 0..1: `quality` of them are served their item, easy ones more often.

    The better a model, the higher it ranks what it lists.
    """
    listed = taste < quality + draw.normal(0, 0.03, len(taste))
    places = draw.geometric(0.02 + 0.1 * quality, len(taste))
    return np.where(listed & (places <= served_k), places, 0).astype(np.int32)


def cell(values, seed, users=600, served_k=100, quality=None):
    """A cell whose users are the same at every seed and setting."""
    target, surrogate = quality or QUALITY.get(values.get("defense"), (0.3, 0.2))
    taste = np.random.default_rng(99).random(users)
    draw = np.random.default_rng([seed, *str(sorted(values.items())).encode()])
    return Cell(
        values,
        seed,
        ranks(draw, taste, target, served_k),
        ranks(draw, taste, surrogate, served_k),
        {k: float(share) for k, share in zip((1, 10, 100), draw.uniform(0.2, 0.6, 3), strict=True) if k <= served_k},
        {
            "served_k": served_k,
            "model": "BERT4Rec",
            "device": "cpu",
            "versions": VERSIONS,
            "seconds": {"target": 1.5},
            "split": {"LS": "valid_and_test"},
        },
    )


def grid(plan, **given):
    """All cells of a plan."""
    settings = [dict(zip(plan.vary, values, strict=True)) for values in product(*plan.vary.values())]
    return [cell(values, seed, **given) for values in settings for seed in plan.seeds]
