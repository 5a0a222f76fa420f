"""Seeds of stages."""

import zlib
from typing import Any

import numpy as np
from recbole.utils import init_seed

from recbole_gro.data import reseed


def start_stage(config: Any, stage: str, train: Any = None) -> int:
    """Seed all generators for a stage and return its seed, which the run's seed and the stage's name determine.

    A stage so draws the same whatever ran before it, every defense meets the same attack, and no two models start from
    the same weights: a surrogate that starts from the target's would have information that the attack does not.

    Args:
        config: of the run.
        stage: its name.
        train: loader of training rows whose generators are seeded too.
    """
    seed = int(np.random.SeedSequence([config["seed"], zlib.crc32(stage.encode())]).generate_state(1)[0])
    init_seed(seed, config["reproducibility"])
    if train is not None:
        reseed(train, seed)
    return seed
