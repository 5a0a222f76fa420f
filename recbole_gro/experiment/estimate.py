"""How long cells will take: from those that are done, else from a cost per token."""

from pathlib import Path
from statistics import mean
from typing import Any

from recbole_gro.attack import create_attacker, query_budget, query_length
from recbole_gro.data import build_dataset, train_rows_of
from recbole_gro.experiment.cell import Cell
from recbole_gro.experiment.plan import Experiment
from recbole_gro.quick_start.fingerprint import Fingerprints
from recbole_gro.quick_start.stage_cache import StageCache

# Seconds a token (an item of a sequence read in training) of BERT4Rec's default size and some 2000 items, one thread
# of a busy AMD EPYC: the rows of benchmarks/effect.csv, none and base
SECONDS_A_TOKEN = {"target": 2e-5, "defended": 4.5e-5, "queries": 1e-6, "surrogate": 1.3e-5}

# A surrogate with so many passes ahead stops by itself, on held-out queries: 36 to 125 on ml-100k (results/tradeoff.md)
PASSES_TO_LEARN = 60

SECONDS_A_CELL = 4  # to build what a cell needs and to evaluate it, on the same machine


def estimated_seconds(experiment: Experiment, done: list[Cell], missing, stages_dir: Path) -> list[float]:
    """Seconds of each missing cell, without what it shares with one before it or finds done.

    Where a stage was run before in the experiment, its mean time counts; epochs that early stopping saves do not.

    Args:
        experiment: what is planned.
        done: its finished cells.
        missing: (values, seed) of the others, in their order.
        stages_dir: where stages lie that are there already.
    """
    seen: set[Path] = set()
    estimates = []
    for values, seed in missing:
        config = experiment.config(values, seed)
        prints = Fingerprints(config, config["defense"][0]).stages()
        files = {stage: StageCache(stages_dir).file(stage, fingerprint) for stage, fingerprint in prints.items()}
        todo = {name: file for name, file in files.items() if file not in seen and not file.exists()}
        seen |= set(todo.values())
        estimates.append(SECONDS_A_CELL + sum(_seconds(name, config, done, values) for name in todo))
    return estimates


def _seconds(stage: str, config, done: list[Cell], values: dict[str, Any]) -> float:
    alike = [cell for cell in done if cell.values == values] or done
    measured = [cell.facts["seconds"][stage] for cell in alike if stage in cell.facts["seconds"]]
    return mean(measured) if measured else SECONDS_A_TOKEN[stage] * tokens(config)[stage]


def tokens(config) -> dict[str, int]:
    """How many items of sequences each stage reads: all epochs, of a surrogate as many as it mostly takes."""
    items, length = _interactions(config["dataset"], config["data_path"], config), config["MAX_ITEM_LIST_LENGTH"]
    read = items if train_rows_of(config) == "windows" else items * length // 2
    attacker = create_attacker(config["attacker"], config)
    prefixes = query_budget(config) * (query_length(config) + 1) // 2
    passes = min(config["surrogate_epochs"], PASSES_TO_LEARN)
    learned = passes * attacker.copies * prefixes // attacker.times_asked
    counts = (config["epochs"] * read, config["gro_epochs"] * read, prefixes, learned)
    return dict(zip(("target", "defended", "queries", "surrogate"), counts, strict=True))


_known: dict[tuple[str, str], int] = {}


def _interactions(dataset: str, data_path: str, config) -> int:
    key = (dataset, data_path)
    if key not in _known:
        _known[key] = int(build_dataset(config).inter_num)
    return _known[key]


def in_words(seconds: float) -> str:
    """A time as a person says it.

    >>> in_words(42), in_words(600), in_words(9000)
    ('42 s', '10 min', '2.5 h')
    """
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
