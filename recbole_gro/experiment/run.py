"""A whole experiment: its plan, its missing cells, its report."""

import functools
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import torch
from tqdm import tqdm

from recbole_gro.config.settings import of_sections, refuse_unread
from recbole_gro.detection.settings import READER, DetectionSettings
from recbole_gro.experiment.cells import check_cells, done_and_missing, run_cell
from recbole_gro.experiment.dataset_table import run_table
from recbole_gro.experiment.detection_cells import KINDS, run_detection
from recbole_gro.experiment.estimate import duration, estimated_seconds
from recbole_gro.experiment.order import trainings_first
from recbole_gro.experiment.ownership import run_ownership
from recbole_gro.experiment.plan import OWNERSHIP, TABLE, Task, in_words, read_experiment
from recbole_gro.experiment.report import write_report
from recbole_gro.quick_start.executor import Outcome, check_executor, execute
from recbole_gro.quick_start.references import UNDEFENDED, UNTRAINED, create_references
from recbole_gro.utils.errors import UserError
from recbole_gro.utils.log import say
from recbole_gro.utils.progress import progress_bar


def run_experiment(
    name: str,
    settings: dict[str, Any] | None = None,
    output_dir: str | Path | None = None,
    *,
    executor: str = "local",
    workers: int = 1,
    ray_address: str | None = None,
    dry_run: bool = False,
    stages_dir: str | Path | None = None,
) -> Path:
    """Run the missing cells of an experiment, write its report, and return its folder.

    Args:
        name: of a packaged experiment, or a yaml file.
        settings: values that take precedence over the file's.
        output_dir: folder of cells, logs and report, in which an interrupted experiment is resumed; None:
            runs/experiment-NAME.
        executor: `local` or `ray`.
        workers: number of processes of the local executor.
        ray_address: of a running cluster; None starts one on this machine.
        dry_run: only print the plan and its expected duration.
        stages_dir: folder of stages that experiments and runs may share; None: stages in the output folder.

    Raises:
        UserError: an invalid setting, and nothing has been run then; or, at the end, cells that failed.
    """
    check_executor(executor, workers)
    experiment = read_experiment(name, settings)
    where = f"experiment {experiment.name}"
    if experiment.figure == TABLE:
        refuse_unread(settings or {}, of_sections("Attack", "Defense"), where, "recbole-gro run")
    if experiment.figure not in KINDS:
        refuse_unread(settings or {}, DetectionSettings.names, where, READER)
    folder = Path(output_dir or Path("runs") / f"experiment-{experiment.name}")
    stages_dir = Path(stages_dir or folder / "stages")
    if experiment.figure in (TABLE, OWNERSHIP) and (workers, executor) != (1, "local"):
        raise UserError(f"workers, executor: {where} runs in one process; leave them out")
    if experiment.figure == TABLE:
        run_table(experiment, folder, dry_run)
        return folder
    if experiment.figure in KINDS:
        stages = stages_dir.resolve()
        run_detection(
            experiment, folder.resolve(), stages, dry_run, workers, executor=executor, ray_address=ray_address
        )
        return folder
    if experiment.figure == OWNERSHIP:
        run_ownership(experiment, folder, stages_dir, dry_run)
        return folder
    if experiment.figure == "tradeoff" and UNDEFENDED not in map(str, experiment.vary.get("defense", [])):
        raise UserError(f"defense: figure tradeoff compares with the undefended target; add {UNDEFENDED} to its values")
    done, missing = done_and_missing(experiment, folder)
    if experiment.figure == "tradeoff" and UNTRAINED not in create_references(experiment.fixed):
        raise UserError(f"references: figure tradeoff compares gains over {UNTRAINED}; add it to the references")
    say(f"{experiment.title}: {len(done) + len(missing)} cells, {len(done)} done, {len(missing)} to run; {folder}")
    if dry_run:
        _print_estimate(missing, estimated_seconds(experiment, done, missing, stages_dir), workers)
        return folder
    check_cells(experiment, missing)
    for key, needed in {"output_dir": folder, "stages_dir": stages_dir}.items():
        try:
            needed.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise UserError(f"{key}: {needed} cannot be made: {error.strerror or error}") from error
    run = functools.partial(
        run_cell,
        experiment,
        folder=folder.resolve(),
        stages_dir=stages_dir.resolve(),
        threads=max(1, torch.get_num_threads() // workers) if executor == "local" else 1,
        show_progress=executor == "local" and workers == 1,
    )
    side_by_side = workers > 1 or executor != "local"
    cells = trainings_first(experiment, missing) if side_by_side else missing
    outcomes = execute(run, cells, executor, workers, ray_address)
    with progress_bar(experiment.name, len(missing), "cells", bool(missing)) as bar:
        failed = _failures(outcomes, bar)
    done, missing = done_and_missing(experiment, folder)
    if done:
        write_report(experiment, done, folder, [in_words({**values, "seed": seed}) for values, seed in missing])
        print(f"report.html, report.md and results.csv are in {folder}")
    if missing and not failed:
        raise UserError(f"{len(missing)} cells depend on files that changed meanwhile; run the experiment again")
    if failed:
        raise UserError(f"{len(failed)} of the cells failed, the others are kept: {'; '.join(failed)}")
    return folder


def _print_estimate(missing: list[Task], seconds: list[float], workers: int) -> None:
    for (values, seed), of_cell in zip(missing, seconds, strict=True):
        print(f"  {in_words({**values, 'seed': seed})}: about {duration(of_cell)}")
    print(f"about {duration(sum(seconds) / workers)} in all, {workers} at a time; nothing was run")


def _failures(outcomes: Iterable[Outcome], bar: tqdm) -> list[str]:
    """Print a line per cell as they end, and return those that failed."""
    failed = []
    for (values, seed), error in outcomes:
        cell = in_words({**values, "seed": seed})
        say(f"{time.strftime('%H:%M:%S')} {cell}: {error or 'done'}")
        bar.update()
        if error:
            failed.append(f"{cell}: {error}")
    return failed
