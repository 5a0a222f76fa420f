"""The experiment on watermarks: which copies of a marked model show its marks, and how often others seem to."""

import itertools
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from torch import Tensor

from recbole_gro.config.config import with_settings
from recbole_gro.defense import create_defense
from recbole_gro.defense.marks.base import MarkingDefense
from recbole_gro.evaluator import evaluate_service
from recbole_gro.experiment.checks import check_cells
from recbole_gro.experiment.dry_run import print_downloads
from recbole_gro.experiment.false_claims import FALSE_CLAIMS, FALSE_HEAD, false_claims
from recbole_gro.experiment.kept_loaders import forget_loaders
from recbole_gro.experiment.lacking import missing_list, unfinished
from recbole_gro.experiment.mark_probes import (
    FOUND,
    false_keys,
    mark_probes,
    mark_verdicts,
    marked_for,
    owner_with_marks,
)
from recbole_gro.experiment.marked_suspects import (
    PLAIN,
    MarkedSuspect,
    Planned,
    marked_suspects,
    share_of_positions,
)
from recbole_gro.experiment.marks_report import marks_blocks
from recbole_gro.experiment.plan import LOCK, Experiment
from recbole_gro.experiment.planned_suspects import Absent
from recbole_gro.experiment.suspect_checks import check_marks_settings, marks_cells
from recbole_gro.experiment.tables import (
    PlannedTable,
    lacking_of,
    make_tables,
    missing_of,
    print_tables,
    refuse_failed,
    rows_of,
)
from recbole_gro.experiment.workshop import Workshop
from recbole_gro.ownership.method import create_method
from recbole_gro.quick_start.seeding import start_stage
from recbole_gro.quick_start.stage_fingerprints import Fingerprints, fingerprint
from recbole_gro.report.document import csv_text, write_document
from recbole_gro.serving.service import Service
from recbole_gro.utils.errors import UserError
from recbole_gro.utils.files import make_folder, write_whole
from recbole_gro.utils.log import say
from recbole_gro.utils.random_state import global_state_kept
from recbole_gro.utils.work_folder import used_alone

HEAD = ["model", "defense", "seed", "suspect", "is_marked", *FOUND, "valid_ndcg", "test_ndcg", "marked_positions",
        "left_out", "left_out_marked", "different_marks"]  # fmt: skip
WORDS = {"model", "defense", "suspect", "owner"}
Row = dict[str, Any]


def run_marks(experiment: Experiment, folder: Path, stages_dir: Path, dry_run: bool = False) -> None:
    """Verify all suspects of each marked model, and models without marks with further keys; report on both.

    Args:
        experiment: with its part `marks`.
        folder: of the report, and of tables per marked model, whose verdicts are not made again.
        stages_dir: folder of the stages.
        dry_run: only print what is missing.

    Raises:
        UserError: an invalid setting, and nothing has been made then; or, at the end, tables or suspects that failed.
    """
    workshop = Workshop(experiment, stages_dir)
    owners = list(itertools.product(map(str, experiment.vary["model"]), experiment.vary["defense"], experiment.seeds))
    _check(experiment, owners)
    configs = [experiment.config({"model": model, "defense": defense}, seed) for model, defense, seed in owners]
    absent = dry_run and print_downloads(configs)
    by_owner = {
        f"{model}, {defense}, seed {seed}": _planned(
            folder / "owners" / f"{model}-{defense}-{seed}-{_print(experiment, [(model, defense, seed)])}.csv",
            HEAD,
            partial(verdicts, workshop, model, defense, seed),
        )
        for model, defense, seed in owners
    }
    by_defense = {
        f"false claims, {defense}": _planned(
            folder
            / "false-claims"
            / f"{defense}-{_print(experiment, (one for one in owners if one[1] == defense))}.csv",
            FALSE_HEAD,
            partial(false_claims, workshop, defense),
        )
        for defense in experiment.vary["defense"]
    }
    tables = by_owner | by_defense
    if not absent and missing_of(tables):
        check_cells(experiment, [*marks_cells(experiment, owners)])
        forget_loaders()
        _check_marks(workshop, owners)
    if dry_run:
        print_tables(tables, experiment.figure)
        return
    make_folder(folder)
    with used_alone(folder, LOCK):
        failed = make_tables(tables, stages_dir)
        if any(table.file.exists() or table.unfinished.exists() for table in tables.values()):
            _report(experiment, folder, by_owner, by_defense, failed)
    refuse_failed(failed, len(tables), lacking_of(tables))


def _planned(file: Path, head: Sequence[str], rows: Callable[[Sequence[Row]], Iterator[Row | Absent]]) -> PlannedTable:
    """Return a table whose rows are made beyond those of the unfinished one."""
    table = PlannedTable(file, head, lambda: rows(table.read()[0]), WORDS)
    return table


def _report(
    experiment: Experiment,
    folder: Path,
    by_owner: dict[str, PlannedTable],
    by_defense: dict[str, PlannedTable],
    failed: Sequence[str],
) -> None:
    """Write the report of the tables that are there: of marked models, and of false claims with a defense."""
    found, others = rows_of(by_owner.values()), rows_of(by_defense.values())
    both, lacking = lacking_of(by_owner | by_defense), (lacking_of(by_owner), lacking_of(by_defense))
    parts = [*unfinished(both, len(by_owner) + len(by_defense)), *marks_blocks(experiment, found, others, lacking)]
    write_whole(folder / FALSE_CLAIMS, csv_text(FALSE_HEAD, ([*row.values()] for row in others)))
    text = csv_text(HEAD, ([*row.values()] for row in found))
    write_document(experiment.title, [*parts, *missing_list(both, failed)], text, folder)
    print(f"report.html, report.md, results.csv and {FALSE_CLAIMS} are in {folder}")


def verdicts(workshop: Workshop, model: str, defense: str, seed: int, known: Sequence[Row]) -> Iterator[Row | Absent]:
    """Yield the rows of each suspect of a marked model, one for each length of its lists, or why it failed.

    Those of suspects that are known stay as they are.
    """
    stages = workshop.stages(model, seed, defense)
    owner, method = owner_with_marks(stages, marked_for(workshop, model, defense, seed)), create_method(defense, {})
    probes, marks = mark_probes(method, owner), owner.marks["sequences"][:, 1:].long().unique()

    def rows(planned: Planned, suspect: MarkedSuspect) -> list[Row]:
        own = {"model": model, "defense": defense, "seed": seed, "suspect": planned.name,
               "is_marked": planned.group != PLAIN}  # fmt: skip
        start_stage(stages.config, "evaluation")
        k = stages.config["served_k"]
        metrics = evaluate_service(stages.config, Service(suspect.model, k), *stages.loaders)[0]
        at = f"ndcg@{max(stages.config['topk'])}"
        more = {f"{part}_ndcg": metrics[part][at] for part in ("valid", "test")} | _training_lists(suspect, marks)
        more["different_marks"] = len(marks)
        return [own | found | more for found in mark_verdicts(method, probes, suspect.model, k)]

    for planned in marked_suspects(workshop, model, defense, seed):
        found = [row for row in known if row["suspect"] == planned.name]
        made = found or planned.tried(partial(rows, planned))
        yield from [made] if isinstance(made, Absent) else made
        if not isinstance(made, Absent):
            say(f"{time.strftime('%H:%M:%S')} {model}, {defense}, seed {seed}: {planned.name}")


def _training_lists(suspect: MarkedSuspect, marks: Tensor) -> Row:
    """Return what the lists that a suspect was trained on hold of the marks, before items are left out."""
    if suspect.log is None:
        return {"marked_positions": None, "left_out": None, "left_out_marked": None}
    left_out = suspect.left_out
    return {
        "marked_positions": share_of_positions(suspect.log, marks),
        "left_out": None if left_out is None else int(left_out.sum()),
        "left_out_marked": None if left_out is None else int(left_out[marks].sum()),
    }


def _check(experiment: Experiment, owners: Iterable[tuple[str, str, int]]) -> None:
    """Check the defenses and all attacks before anything is trained.

    Raises:
        UserError: a defense that plants no marks, or an invalid attack.
    """
    for model, defense, seed in owners:
        config = experiment.config({"model": model, "defense": defense}, seed)
        if config["defense_key"] != "seed":
            raise UserError(f"defense_key: experiment {experiment.name} derives all keys from seeds; leave it out")
        if "ndcg" not in map(str.lower, config["metrics"]):
            raise UserError(f"metrics: experiment {experiment.name} reports NDCG; add it, or leave metrics out")
        if not isinstance(create_defense(defense, config), MarkingDefense):
            raise UserError(f"defense: {defense} plants no marks; experiment {experiment.name} takes aow and injected")
        create_method(defense, {})
    check_marks_settings(experiment, owners)


@global_state_kept()
def _check_marks(workshop: Workshop, owners: Iterable[tuple[str, str, int]]) -> None:
    """Check that the marks of each owner, and those of false claims, are enough for a claim, on untrained models.

    How many items a mark is chosen from depends on the catalogue and the settings, not on the model's weights.

    Raises:
        UserError: they are too few, or the catalogue has too few items for them.
    """
    keys = false_keys(workshop.experiment)
    for model, defense, seed in owners:
        stages, method = workshop.stages(model, seed, defense), create_method(defense, {})
        untrained = stages.new_model()
        for key in (seed, *keys):
            mark_probes(method, owner_with_marks(stages, untrained, with_settings(stages.config, seed=key)))


def _print(experiment: Experiment, owners: Iterable[tuple[str, str, int]]) -> str:
    """Return a digest of what a table on some owners depends on."""
    cells = [(experiment.config(values, seed), values["defense"]) for values, seed in marks_cells(experiment, owners)]
    suspects = [Fingerprints(config, defense).comparison for config, defense in cells]
    return fingerprint("marks", *suspects, marks=experiment.marks)
