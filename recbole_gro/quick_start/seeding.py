"""What the stages of a run share: their seeds, their clock, and what they say."""

import contextlib
import time
import zlib
from collections.abc import Iterator

import numpy as np
from recbole.utils import init_seed

from recbole_gro.data import reseed
from recbole_gro.report.run_report import label
from recbole_gro.utils.units import shown


def start_stage(config, stage: str, train=None) -> int:
    """Seed all generators for a stage from the run's seed and the stage's name; the seed.

    So a stage draws the same whatever ran before it, every defense meets the same attacker, and no two models start
    from the same weights (a surrogate that does so as the target would know what no outsider knows).
    """
    seed = int(np.random.SeedSequence([config["seed"], zlib.crc32(stage.encode())]).generate_state(1)[0])
    init_seed(seed, config["reproducibility"])
    if train is not None:
        reseed(train, seed)
    return seed


@contextlib.contextmanager
def timed(seconds: dict[str, float], stage: str) -> Iterator[None]:
    """Note how long the block took."""
    start = time.perf_counter()
    yield
    seconds[stage] = round(time.perf_counter() - start, 2)


def on_test(metrics: dict[str, dict[str, float]]) -> str:
    """Return the test metrics at the run's cut-offs in a line, each in its unit."""
    return ", ".join(f"{label(name)} {shown(name, value)}" for name, value in metrics["test"].items())
