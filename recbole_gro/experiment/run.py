"""The command of experiments: `recbole-gro-experiment`, `python run_gro_experiment.py`."""

import functools
import time
from pathlib import Path
from typing import Any

import torch
from tqdm import tqdm

from recbole_gro.experiment.cells import check_cells, done_and_missing, run_cell
from recbole_gro.experiment.dataset_table import run_table
from recbole_gro.experiment.estimate import estimated_seconds, in_words
from recbole_gro.experiment.executor import execute, imported_ray
from recbole_gro.experiment.plan import TABLE, Experiment, read_experiment
from recbole_gro.experiment.report import write_report
from recbole_gro.experiment.summary import UNDEFENDED
from recbole_gro.utils.errors import UserError


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
    """Run an experiment, or what of it is not there yet, and write its report; the folder.

    Args:
        name: of a packaged experiment, or a yaml file.
        settings: keys over the file's, as values.
        output_dir: None: runs/experiment-NAME. The same folder again goes on where it stopped.
        executor: `local` or `ray`.
        workers: processes of the local executor.
        ray_address: of a running cluster.
        dry_run: only print the plan.
        stages_dir: where the stages lie, for several experiments to share; None: stages in the folder.

    Raises:
        UserError: a setting that cannot work; nothing has been run then. Or, at the end, cells that failed.
    """
    experiment = read_experiment(name, settings)
    folder = Path(output_dir or Path("runs") / f"experiment-{experiment.name}")
    if experiment.figure == TABLE:
        run_table(experiment, folder, dry_run)
        return folder
    if experiment.figure == "tradeoff" and UNDEFENDED not in map(str, experiment.vary.get("defense", [])):
        raise UserError(
            f"defense: figure tradeoff shows shares of what {UNDEFENDED} gives; add {UNDEFENDED} to its values"
        )
    stages_dir = Path(stages_dir or folder / "stages")
    done, missing = done_and_missing(experiment, folder)
    print(f"{experiment.title}: {len(done) + len(missing)} cells, {len(done)} done, {len(missing)} to run; {folder}")
    if dry_run:
        estimate = estimated_seconds(experiment, done, missing, stages_dir)
        for (values, seed), seconds in zip(missing, estimate, strict=True):
            print(f"  {told(values)}, seed {seed}: about {in_words(seconds)}")
        print(f"about {in_words(sum(estimate) / workers)} in all, {workers} at a time; nothing was run")
        return folder
    if executor == "ray":
        imported_ray()
    check_cells(experiment, missing)
    for key, wanted in {"output_dir": folder, "stages_dir": stages_dir}.items():
        try:
            wanted.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise UserError(f"{key}: {wanted} cannot be made: {error.strerror or error}") from error
    failed = run_missing(
        experiment, folder, stages_dir, missing, executor=executor, workers=workers, ray_address=ray_address
    )
    done, missing = done_and_missing(experiment, folder)
    if done:
        write_report(experiment, done, folder, [f"{told(values)}, seed {seed}" for values, seed in missing])
        print(f"report.html, report.md and results.csv are in {folder}")
    if missing and not failed:
        raise UserError(f"{len(missing)} cells depend on files that changed meanwhile; run the experiment again")
    if failed:
        raise UserError(f"{len(failed)} of the cells failed, the others are kept: {'; '.join(failed)}")
    return folder


def run_missing(
    experiment: Experiment,
    folder: Path,
    stages_dir: Path,
    missing: Any,
    *,
    executor: str,
    workers: int,
    ray_address: Any,
) -> list[str]:
    """Run cells with a bar over them; what failed, in words."""
    threads = max(1, torch.get_num_threads() // workers) if executor == "local" else 1
    alone = executor == "local" and workers == 1
    run = functools.partial(
        run_one, experiment, folder.resolve(), stages_dir.resolve(), threads=threads, show_progress=alone
    )
    failed = []
    with tqdm(total=len(missing), desc=experiment.name, unit="cell", ncols=100, disable=not missing) as bar:
        for (values, seed), error in execute(run, missing, executor, workers, ray_address):
            bar.update()
            stamp = time.strftime("%H:%M:%S")
            bar.write(f"{stamp} {told(values)}, seed {seed}: {'done' if error is None else error}")
            if error is not None:
                failed.append(f"{told(values)}, seed {seed}: {error}")
    return failed


def run_one(
    experiment: Experiment, folder: Path, stages_dir: Path, values: dict[str, Any], seed: int, **options: Any
) -> None:
    """Run a cell, for an executor."""
    run_cell(experiment, values, seed, folder, stages_dir, **options)


def told(values: dict[str, Any]) -> str:
    """A cell's varied values in words."""
    return ", ".join(f"{name} {value}" for name, value in values.items())
