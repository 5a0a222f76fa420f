"""Synthetic cells: ranks drawn so that the quality of each model is known by construction."""

import numpy as np

from recbole_gro.experiment.cells import Cell
from recbole_gro.experiment.plan import Experiment

QUALITY = {"none": (0.40, 0.30), "random": (0.16, 0.22), "reverse": (0.08, 0.18), "gro": (0.37, 0.20)}
REFERENCES = {"untrained": 0.02, "independent": 0.35, "popularity": 0.1}
VERSIONS = {"python": "3.11.9", "torch": "2.9.0"}


def experiment_of(vary, figure="k", seeds=(1, 2, 3), differs=("The data are synthetic.",), **parts):
    """Return an experiment that varies these keys."""
    fixed = {"model": "BERT4Rec", "dataset": "ml-100k"}
    return Experiment("synthetic", "Synthetic defenses", figure, vary, list(seeds), fixed, list(differs), **parts)


def ranks(draw, taste, quality, served_k=100):
    """Return ranks [U] of users with a taste [U] in 0..1: a share `quality` of them finds the test item in the list.

    The better a model, the higher it ranks the item.
    """
    listed = taste < quality + draw.normal(0, 0.03, len(taste))
    places = draw.geometric(0.02 + 0.1 * quality, len(taste))
    return np.where(listed & (places <= served_k), places, 0).astype(np.int32)


def cell(values, seed, users=600, served_k=100, quality=None):
    """Return a cell whose users are the same at every seed and setting."""
    target, surrogate = quality or QUALITY.get(values.get("defense"), (0.3, 0.2))
    taste = np.random.default_rng(99).random(users)
    draw = np.random.default_rng([seed, *str(sorted(values.items())).encode()])
    beside = np.random.default_rng(seed)  # of the seed alone, as references are
    return Cell(
        values=values,
        seed=seed,
        target_ranks=ranks(draw, taste, target, served_k),
        surrogate_ranks=ranks(draw, taste, surrogate, served_k),
        agreement={
            k: float(share) for k, share in zip((1, 10, 100), draw.uniform(0.2, 0.6, 3), strict=True) if k <= served_k
        },
        test_rows=f"of {users} users",
        facts={
            "served_k": served_k,
            "model": "BERT4Rec",
            "device": "cpu",
            "versions": VERSIONS,
            "seconds": {"target": 1.5},
            "split": "leave-one-out",
        },
        reference_ranks={name: ranks(beside, taste, share, served_k) for name, share in REFERENCES.items()},
        reference_agreement={
            name: {k: share for k in (1, 10, 100) if k <= served_k} for name, share in REFERENCES.items()
        },
    )


def grid(plan, **given):
    """Return all cells of a plan."""
    return [cell(values, seed, **given) for values, seed in plan.cells()]
