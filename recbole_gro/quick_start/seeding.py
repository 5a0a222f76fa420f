"""Seeds of stages."""

from typing import Any

import torch
from recbole.utils import init_seed

from recbole_gro.config.config_like import ConfigLike
from recbole_gro.data import reseed
from recbole_gro.utils.random_state import stage_seed


def start_stage(config: ConfigLike, stage: str, train: Any = None) -> int:
    """Seed all generators for a stage and return its seed, which the run's seed and the stage's name determine.

    A stage so draws the same whatever ran before it, and every defense meets the same attack.

    Args:
        config: of the run.
        stage: its name.
        train: loader of training rows whose generators are seeded too.
    """
    torch.set_default_dtype(torch.float32)  # code of a user's own in an earlier stage may have changed it
    seed = stage_seed(config["seed"], stage)
    init_seed(seed, config["reproducibility"])
    if train is not None:
        reseed(train, seed)
    return seed
