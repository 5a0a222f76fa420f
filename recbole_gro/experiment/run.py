"""A whole experiment: its plan, its missing cells, its report."""

import functools
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import torch
from tqdm import tqdm

from recbole_gro.config.settings import of_sections, refuse_unread
from recbole_gro.detection.settings import READER, DetectionSettings
from recbole_gro.experiment.cells import files_and_missing, loaded, run_cell
from recbole_gro.experiment.checks import check_cells
from recbole_gro.experiment.dataset_table import run_table
from recbole_gro.experiment.detection_cells import KINDS, run_detection
from recbole_gro.experiment.dry_run import print_downloads, print_estimate
from recbole_gro.experiment.estimate import estimated_seconds
from recbole_gro.experiment.grid_file import MARKS, OWNERSHIP, TABLE, TRADE_OFF, TRADE_OFF_K
from recbole_gro.experiment.kept_loaders import forget_loaders
from recbole_gro.experiment.marks import run_marks
from recbole_gro.experiment.order import trainings_first
from recbole_gro.experiment.ownership import run_ownership
from recbole_gro.experiment.plan import (
    LOCK,
    Experiment,
    heading,
    in_words,
    read_experiment,
)
from recbole_gro.experiment.report import write_report
from recbole_gro.experiment.timing import busy
from recbole_gro.quick_start.references import UNDEFENDED, UNTRAINED, create_references
from recbole_gro.utils.errors import UserError
from recbole_gro.utils.executor import Outcome, check_executor, execute, threads_per_worker
from recbole_gro.utils.files import check_folder, make_folder
from recbole_gro.utils.log import say
from recbole_gro.utils.progress import progress_bar
from recbole_gro.utils.random_state import global_state_kept
from recbole_gro.utils.units import counted
from recbole_gro.utils.work_folder import RESULTS, refuse_other_work, used_alone


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
        dry_run: only print the plan, what a run would download, and its expected duration.
        stages_dir: folder of stages that experiments and runs may share; None: stages in the output folder.

    Raises:
        UserError: an invalid setting, and nothing has been run then; or, at the end, cells that failed.
    """
    check_executor(executor, workers)
    if ray_address is not None and executor != "ray":
        raise UserError(f"ray_address: the executor {executor} does not read it; give --executor=ray, or leave it out")
    experiment = read_experiment(name, settings)
    where = f"experiment {experiment.name}"
    if experiment.figure == TABLE:
        refuse_unread(settings or {}, of_sections("Attack", "Defense"), where, "recbole-gro run")
    if experiment.figure not in KINDS:
        refuse_unread(settings or {}, DetectionSettings.names, where, READER)
    folder = Path(output_dir or Path("runs") / f"experiment-{experiment.name}")
    if (folder / RESULTS).exists():  # whose report an experiment's would replace
        refuse_other_work(folder)
    check_folder(folder)
    stages_dir = Path(stages_dir or folder / "stages")
    check_folder(stages_dir, "stages_dir")
    if run := IN_ONE_PROCESS.get(experiment.figure):
        if (workers, executor) != (1, "local"):
            raise UserError(f"workers, executor: {where} runs in one process; leave them out")
        run(experiment, folder, stages_dir, dry_run)
    else:
        run = IN_WORKERS.get(experiment.figure, run_grid)
        run(experiment, folder, stages_dir, dry_run, workers, executor=executor, ray_address=ray_address)
    return folder


def run_grid(
    experiment: Experiment,
    folder: Path,
    stages_dir: Path,
    dry_run: bool = False,
    workers: int = 1,
    *,
    executor: str = "local",
    ray_address: str | None = None,
) -> None:
    """Run the missing cells of a grid of comparisons, and report on all that are there.

    Args:
        experiment: its plan; the x axis of its figures is `figure`.
        folder: of cells, logs and report.
        stages_dir: folder of stages.
        dry_run: only print the missing cells and their expected duration.
        workers: number of processes of the local executor.
        executor: `local` or `ray`.
        ray_address: of a running cluster; None starts one on this machine.

    Raises:
        UserError: an invalid setting, and nothing has been run then; or, at the end, cells that failed.
    """
    if experiment.figure == TRADE_OFF:
        _check_trade_off(experiment)
    files, missing = files_and_missing(experiment, folder)
    threads = threads_per_worker(executor, workers)
    say(heading(experiment, len(files), len(missing), folder))
    if dry_run:
        if line := busy():
            print(line)
        print_downloads(experiment.config(values, seed) for values, seed in missing)
        with global_state_kept():
            torch.set_num_threads(threads)  # as each cell will have
            seconds = estimated_seconds(experiment, loaded(files), missing, stages_dir)
        print_estimate(missing, seconds, workers if executor == "local" else None)
        return
    check_cells(experiment, missing)
    make_folder(folder)
    make_folder(stages_dir, "stages_dir")
    run = functools.partial(
        run_cell,
        experiment,
        folder=folder.resolve(),
        stages_dir=stages_dir.resolve(),
        threads=threads,
        show_progress=executor == "local" and workers == 1,
    )
    side_by_side = workers > 1 or executor != "local"
    if side_by_side:
        forget_loaders()  # workers have their own
    cells = trainings_first(experiment, missing) if side_by_side else missing
    with used_alone(folder, LOCK):
        outcomes = execute(run, cells, executor, workers, ray_address)
        with progress_bar(experiment.name, len(missing), "cells", bool(missing)) as bar:
            failed = _failures(outcomes, bar)
        forget_loaders()
        _report(experiment, folder, failed)


IN_ONE_PROCESS: dict[str, Callable[[Experiment, Path, Path, bool], None]] = {
    TABLE: lambda experiment, folder, _, dry_run: run_table(experiment, folder, dry_run),
    OWNERSHIP: run_ownership,
    MARKS: run_marks,
}
IN_WORKERS: dict[str, Callable[..., None]] = dict.fromkeys(KINDS, run_detection)  # the other figures: run_grid


def _report(experiment: Experiment, folder: Path, failed: list[str]) -> None:
    """Write the report of the cells that are there.

    Args:
        experiment: the plan.
        folder: of cells and report.
        failed: cells that failed, each with its error.

    Raises:
        UserError: cells failed or are still missing.
    """
    files, missing = files_and_missing(experiment, folder)
    if files:
        write_report(
            experiment, loaded(files), folder, [in_words({**values, "seed": seed}) for values, seed in missing]
        )
        print(f"report.html, report.md and results.csv are in {folder}")
    if missing and not failed:
        raise UserError(f"files of {counted(len(missing), 'cell')} changed meanwhile; run the experiment again")
    if failed:
        raise UserError(f"{len(failed)} of the cells failed, the others are kept: {'; '.join(failed)}")


def _check_trade_off(experiment: Experiment) -> None:
    """Check that an experiment has what the figure of the trade-off compares with.

    Raises:
        UserError: it lacks the undefended target, or a setting lacks the untrained surrogate or has shorter lists.
    """
    if UNDEFENDED not in map(str, experiment.vary.get("defense", [])):
        raise UserError(f"defense: figure tradeoff compares with the undefended target; add {UNDEFENDED} to its values")
    configs = [experiment.config(values, experiment.seeds[0]) for values in experiment.settings()]
    if not all(UNTRAINED in create_references(config) for config in configs):
        raise UserError(
            f"references: figure tradeoff compares gains over {UNTRAINED}; add it to those of every setting"
        )
    if (shortest := min(config["served_k"] for config in configs)) < TRADE_OFF_K:
        raise UserError(
            f"served_k: {shortest} is not allowed; figure {TRADE_OFF} compares lists of {TRADE_OFF_K} items or more"
        )


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
