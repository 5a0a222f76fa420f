"""Cells of an experiment on detection, one file each; those of a target share its users and detectors."""

import functools
import json
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch

from recbole_gro.data.availability import is_downloaded_first
from recbole_gro.data.digests import data_fingerprint
from recbole_gro.experiment.checks import check_cells
from recbole_gro.experiment.detection import Detected, ProviderUnderTest, settings_read
from recbole_gro.experiment.detection_alarms import AlarmFigure, check_alarms, measure_alarms, write_alarms_report
from recbole_gro.experiment.detection_names import check_detectors
from recbole_gro.experiment.detection_report import write_detection_report
from recbole_gro.experiment.detection_users import check_users
from recbole_gro.experiment.dry_run import print_downloads, print_missing
from recbole_gro.experiment.grid_file import ALARMS, DETECTION
from recbole_gro.experiment.kept_loaders import forget_loaders
from recbole_gro.experiment.plan import LOCK, Experiment, Task, heading, in_words
from recbole_gro.quick_start.stage_cache import StageCache
from recbole_gro.quick_start.stage_fingerprints import Fingerprints, fingerprint
from recbole_gro.utils.errors import UserError
from recbole_gro.utils.executor import execute, threads_per_worker
from recbole_gro.utils.files import ANEW, make_folder, undamaged, write_whole
from recbole_gro.utils.log import say
from recbole_gro.utils.random_state import global_state_kept
from recbole_gro.utils.units import counted
from recbole_gro.utils.work_folder import used_alone


@dataclass(frozen=True)
class Kind:
    """Hold what cells of a kind are: their rows, what measures and reports them, what they depend on, their checks."""

    row: type
    measure: Callable[[ProviderUnderTest, Any, dict[str, Any], int], Iterator[Any]]
    report: Callable[..., None]
    fingerprint: Callable[[Fingerprints], str]
    check: Callable[[Any], None] = lambda config: None
    check_grid: Callable[[Experiment], None] = lambda experiment: None


KINDS = {
    DETECTION: Kind(
        Detected,
        ProviderUnderTest.detected,
        write_detection_report,
        lambda prints: prints.queries,
        check_grid=check_detectors,
    ),
    ALARMS: Kind(AlarmFigure, measure_alarms, write_alarms_report, lambda prints: prints.comparison, check_alarms),
}


def run_detection(
    experiment: Experiment, folder: Path, stages_dir: Path, dry_run: bool = False, workers: int = 1, **execution: Any
) -> None:
    """Run the missing cells, and report on all that are there; stages are shared with runs.

    Args:
        experiment: its attacks and targets vary.
        folder: of cells and report.
        stages_dir: folder of stages.
        dry_run: only print the missing cells.
        workers: processes; each runs the cells of a target.
        execution: as of `execute`.

    Raises:
        UserError: an invalid setting, or data of too few users, and nothing has been run then; or, at the end, targets
            whose cells failed.
    """
    kind, shown, folder, stages_dir = KINDS[experiment.figure], folder, folder.resolve(), stages_dir.resolve()
    files = {(in_words(values), seed): _file(experiment, values, seed, folder) for values, seed in experiment.cells()}
    kind.check_grid(experiment)
    by_target: dict[str, list[Task]] = defaultdict(list)
    for values, seed in experiment.cells():
        if not files[in_words(values), seed].exists():
            target = {key: value for key, value in values.items() if key != "attacker"}
            by_target[in_words({**target, "seed": seed})].append((values, seed))
    missing = [cell for cells in by_target.values() for cell in cells]
    say(heading(experiment, len(files) - len(missing), len(missing), shown))
    if dry_run:
        print_downloads(experiment.config(values, seed) for values, seed in missing)
    there = [task for task in missing if not (dry_run and is_downloaded_first(experiment.config(*task)))]
    check_cells(experiment, there, check_users)
    forget_loaders()
    if dry_run:
        print_missing(missing, experiment.figure)
        return
    make_folder(folder / "cells")
    make_folder(stages_dir, "stages_dir")
    threads = threads_per_worker(execution.get("executor", "local"), workers)
    run = functools.partial(run_cells, experiment, folder=folder, stages_dir=stages_dir, threads=threads)
    with used_alone(folder, LOCK):
        outcomes = execute(run, [(cells,) for cells in by_target.values()], workers=workers, **execution)
        failed = [_named(cells, error) for (cells,), error in outcomes if error]
        finished = [(values, file) for values, seed in experiment.cells()
                    if (file := files[in_words(values), seed]).exists()]  # fmt: skip
        absent = [in_words({**values, "seed": seed}) for values, seed in experiment.cells()
                  if not files[in_words(values), seed].exists()]  # fmt: skip
        read = [row for values, file in finished for row in _read(file, kind, values)]
        if read:
            kind.report(experiment, read, folder, absent)
            print(f"report.html, report.md and results.csv are in {shown}")
    if failed:
        targets = counted(len(failed), "target")
        raise UserError(f"cells of {targets} failed, finished ones are kept: {'; '.join(failed)}")


class CellsFailed(UserError):
    """Name the cells of a target that failed, each with its error."""


def _named(cells: Sequence[Task], error: Exception) -> str:
    """Return the errors of a target's cells; of one that none of them could begin with, its first and their number."""
    if isinstance(error, CellsFailed):
        return str(error)
    first = in_words({**cells[0][0], "seed": cells[0][1]})
    others = f" and {counted(len(cells) - 1, 'other cell')} of its target" if len(cells) > 1 else ""
    return f"{first}{others}: {error}"


def _read(file: Path, kind: Kind, values: dict[str, Any]) -> list[Any]:
    """Return the rows of a cell's file, with the values of its plan: a grid may have named its keys otherwise since."""
    with undamaged(file, ANEW):
        return [kind.row(**one | {"values": values}) for one in json.loads(file.read_text(encoding="utf-8"))]


@global_state_kept()
def run_cells(experiment: Experiment, cells: list[Task], folder: Path, stages_dir: Path, threads: int) -> None:
    """Run the cells of a target in this process.

    Args:
        experiment: the plan.
        cells: (values, seed) of each.
        folder: of the experiment.
        stages_dir: folder of stages.
        threads: of torch.

    Raises:
        CellsFailed: some of them failed; the others are there.
    """
    torch.set_num_threads(threads)
    providers: list[ProviderUnderTest] = []  # the last one; an attack that fails leaves none to the next

    def run_cell(values: dict[str, Any], seed: int) -> None:
        if _file(experiment, values, seed, folder).exists():  # of an attempt whose process was killed
            return
        config = experiment.config(values, seed)
        config["show_progress"] = False
        config["checkpoint_dir"] = str(stages_dir)  # a folder that RecBole makes in any case
        service = Fingerprints(config, config["defense"][0]).service
        provider = providers.pop() if providers else None
        if provider is None or provider.target_print != service:
            provider = ProviderUnderTest(config, StageCache(stages_dir))
        found = [asdict(one) for one in KINDS[experiment.figure].measure(provider, config, values, seed)]
        providers.append(provider)
        write_whole(_file(experiment, values, seed, folder), json.dumps(found) + "\n")
        say(f"  {in_words({**values, 'seed': seed})}: done")

    failed = [
        f"{in_words({**values, 'seed': seed})}: {error}" for (values, seed), error in execute(run_cell, cells) if error
    ]
    if failed:
        raise CellsFailed("; ".join(failed))


def _file(experiment: Experiment, values: dict[str, Any], seed: int, folder: Path) -> Path:
    """Return the file of a cell, named by everything that it depends on."""
    config, kind = experiment.config(values, seed), KINDS[experiment.figure]
    kind.check(config)
    config.data_digests = data_fingerprint(config)
    before = kind.fingerprint(Fingerprints(config, config["defense"][0]))
    name = "-".join(map(str, values.values())).replace("/", "_").replace(":", "_")[-100:]
    print_ = fingerprint(experiment.figure, before, settings=settings_read(config))
    return folder / "cells" / f"{name}-{seed}-{print_}.json"
