"""Expected duration of cells: from finished stages of the same setting, else from a few timed training steps."""

import json
import math
import tempfile
from collections import defaultdict
from pathlib import Path
from statistics import mean
from typing import NamedTuple

import torch

from recbole_gro.attack import ExtractionTrainer, attacks_of, create_surrogate, query_budget, query_length
from recbole_gro.attack.query_log import QueryLog
from recbole_gro.attack.settings import AveragingSettings
from recbole_gro.config.config import plain
from recbole_gro.config.config_like import ConfigLike
from recbole_gro.data import build_dataset, build_loaders
from recbole_gro.data.availability import is_downloaded_first
from recbole_gro.defense import Defense, GRODefense
from recbole_gro.experiment.cells import Cell
from recbole_gro.experiment.plan import Experiment, Task
from recbole_gro.experiment.timing import REPETITIONS, STEPS_TIMED, clock_of, shortest_seconds, step_seconds
from recbole_gro.quick_start.preflight import preflight
from recbole_gro.quick_start.references import UNDEFENDED, create_references
from recbole_gro.quick_start.stage_cache import StageCache
from recbole_gro.quick_start.stage_fingerprints import Fingerprints
from recbole_gro.serving.service import Service
from recbole_gro.trainer.base import TargetTrainer
from recbole_gro.utils.random_state import global_state_kept

LISTS_TIMED = 256
# of a surrogate; early stopping ended it after 9 to 103 on ml-100k, and after 27 to 156 on ML-1M in batches of 1,024
EPOCHS_TO_CONVERGENCE = 60
AVERAGED = 2  # times as many, of a surrogate that is the mean of its weights (results/attacks.md)
# Settings of trainings that leave the duration of a step as it is; each further one is timed for itself
COUNTS = {"seed", "epochs", "stopping_step", "gro_epochs", "gro_steps", "surrogate_epochs", "surrogate_patience"}
RATES = {"learning_rate", "weight_decay", "gro_learning_rate", "surrogate_learning_rate", "gro_lambda"}
MEASURED = {"eval_step", "valid_metric", "metric_decimal_place", "gro_min_quality"}


class Estimate(NamedTuple):
    """Seconds that a cell is expected to take, and those it takes where no surrogate stops early."""

    expected: float
    at_most: float


def estimated_seconds(
    experiment: Experiment, done: list[Cell], missing: list[Task], stages_dir: Path
) -> list[Estimate | None]:
    """Return the expected seconds of each missing cell, without stages that an earlier cell or the folder provides.

    A stage that was run with another seed of the same setting counts with its mean time. Early stopping of the target
    is not foreseen. None where the data are to be downloaded first: steps are timed on them, and nothing is downloaded.

    Args:
        experiment: the plan.
        done: its finished cells.
        missing: (values, seed) of the others, in order.
        stages_dir: folder of finished stages.
    """
    seen: set[Path] = set()
    timed: dict[str, dict[str, float]] = {}
    estimates: list[Estimate | None] = []
    for values, seed in missing:
        config = experiment.config(values, seed)
        if is_downloaded_first(config):
            estimates.append(None)
            continue
        by_attack = [Fingerprints(config, config["defense"][0], attack) for attack in attacks_of(config)]
        first, sizes = by_attack[0], _sizes(by_attack[0])
        files = _stage_files(config, by_attack, stages_dir)
        todo = [found for file, found in files.items() if file not in seen and not file.exists()]
        seen |= files.keys()
        if sizes not in timed:
            timed[sizes] = unit_seconds(experiment.config(values, seed), first.defense)
        measured = _mean_seconds([cell for cell in done if cell.values == values])
        expected, at_most = (
            sum(
                measured[stage] if stage in measured else stage_seconds(prints, timed[sizes], stops_early)[stage]
                for stage, prints in [("evaluation", first), *todo]
            )
            for stops_early in (True, False)
        )
        estimates.append(Estimate(expected, at_most))
    return estimates


def _sizes(prints: Fingerprints) -> str:
    """Return a text of everything that the duration of a step depends on; equal texts, equal durations."""
    config = prints.config
    read = prints.trained_setting_values.items()
    trained = {name: value for name, value in read if name not in COUNTS | RATES | MEASURED}
    trained |= {name: config[name] for name in ("dataset", "data_path", "served_k", "eval_batch_size")}
    training = "defended" in prints.stages() and prints.defense.parts[0].name
    return json.dumps([training, query_length(config), plain(trained)], sort_keys=True)


def _stage_files(
    config: ConfigLike, by_attack: list[Fingerprints], stages_dir: Path
) -> dict[Path, tuple[str, Fingerprints]]:
    """Return {file: its stage, and the fingerprints whose attack it is first needed for} of a cell.

    Args:
        config: of the cell.
        by_attack: fingerprints of each attack.
        stages_dir: folder of the files.
    """
    cache = StageCache(stages_dir)
    files: dict[Path, tuple[str, Fingerprints]] = {}
    for prints in by_attack:
        for stage, fingerprint in prints.stages().items():
            files.setdefault(cache.file(stage, fingerprint), (stage, prints))
    first = by_attack[0]
    if first.needs_target:
        undefended = Fingerprints(config, UNDEFENDED)
        for reference in create_references(config).values():
            for stage, fingerprint in reference.trained(undefended).items():
                files.setdefault(cache.file(stage, fingerprint), (stage, first))
    return files


def _mean_seconds(cells: list[Cell]) -> dict[str, float]:
    """Return {stage: its mean seconds in the cells that ran it}."""
    seconds: dict[str, list[float]] = defaultdict(list)
    for cell in cells:
        for stage, took in cell.facts["seconds"].items():
            seconds[stage].append(took)
    return {stage: mean(found) for stage, found in seconds.items()}


def stage_seconds(prints: Fingerprints, unit: dict[str, float], stops_early: bool = True) -> dict[str, float]:
    """Return the expected seconds of each stage of a defense and an attack, and of their evaluation.

    Args:
        prints: config, defense and attacker.
        unit: from `unit_seconds`.
        stops_early: whether surrogates stop as early as usual, or train for all epochs.
    """
    config, defense, attacker = prints.config, prints.defense, prints.attacker
    gro_epochs = config["gro_epochs"]
    if isinstance(part := defense.parts[0], GRODefense):
        gro_epochs = max(gro_epochs, math.ceil(part.effective["gro_steps"] / unit["steps per epoch"]))
    lists = query_budget(config)
    passes = EPOCHS_TO_CONVERGENCE * (AVERAGED if AveragingSettings.of(config).surrogate_averaging else 1)
    training = min(config["surrogate_epochs"], passes if stops_early else math.inf) * lists * unit["surrogate list"]
    evaluation = unit["users"] * unit["user"]

    def epochs(n: int, step: float) -> float:
        return n * unit["steps per epoch"] * step + n // max(config["eval_step"], 1) * evaluation

    return {
        "target": epochs(config["epochs"], unit["target step"]),
        "defended": epochs(gro_epochs, unit["defense step"]),
        "queries": lists * unit["list"] + attacker.query_trainings * training,
        "surrogate": training * attacker.n_surrogates / attacker.repeats,
        "evaluation": unit["set-up"] + 4 * evaluation,  # validation and test, of target and surrogate
    }


@global_state_kept()
def unit_seconds(config: ConfigLike, defense: Defense) -> dict[str, float]:
    """Time a few steps of every stage of a cell with its data, models and batches; no file is kept.

    Args:
        config: of the cell; changed.
        defense: of the cell.

    Returns:
        Seconds per training step of target and defense, per `user` of an evaluation, per `list` of a query, per list
        that a surrogate trains on and for set-up; and the counts `steps per epoch` and `users`.
    """
    with tempfile.TemporaryDirectory() as folder:
        config["output_dir"] = config["checkpoint_dir"] = folder
        config["show_progress"], config["gro_min_quality"] = False, None
        clock = clock_of(config["device"])
        start = clock()
        data = build_dataset(config)
        train, valid, _ = build_loaders(config, data)
        preflight(config, data, {config["defense"][0]: defense}, train)
        unit = {"set-up": clock() - start, "steps per epoch": len(train), "users": len(valid._dataset)}
        model = config.model_class(config, train._dataset).to(config["device"])
        unit["target step"] = unit["defense step"] = step_seconds(clock, TargetTrainer(config, model).fit, train)
        if isinstance(part := defense.parts[0], GRODefense):
            unit["defense step"] = step_seconds(clock, part.trainer(config, model).fit_gro, train)
        length = query_length(config)
        sequences = torch.randint(1, data.item_num, (LISTS_TIMED, length))
        Service(model, config["served_k"]).recommend(sequences)  # the first is slower
        of_users = shortest_seconds(clock, lambda: Service(model, config["served_k"]).recommend(sequences))
        unit["user"] = of_users / len(sequences)
        # for models that continue from the prefix before, as in a query sequence: one item more
        service, half = Service(model, config["served_k"]), length // 2 + 1
        queries = sequences[: config["query_sequences"], : half + 1]
        unit["list"] = shortest_seconds(
            clock, lambda: service.recommend(queries), before=lambda: service.recommend(queries[:, :half])
        ) / len(queries)
        surrogate, surrogate_config = create_surrogate(config, data.item_num, train._dataset)
        trainer = ExtractionTrainer(surrogate_config, surrogate)
        n = 2 + math.ceil((REPETITIONS * STEPS_TIMED + 2) * trainer.batch_size / length)
        catalogue = torch.randperm(data.item_num - 1) + 1
        starts = torch.randint(len(catalogue), (n, length, 1))
        lists = catalogue[(starts + torch.arange(config["served_k"])) % len(catalogue)]  # different items in each
        batches, _ = trainer.loaders(QueryLog(torch.randint(1, data.item_num, (n, length)), lists))
        per_step = batches.prefixes * batches.sequences_at_once
        unit["surrogate list"] = step_seconds(clock, trainer.fit, batches) / per_step
        return unit


def duration(seconds: float) -> str:
    """Return a duration as text.

    >>> duration(42), duration(600), duration(9000)
    ('42 s', '10 min', '2.5 h')
    """
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
