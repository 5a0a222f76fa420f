"""The experiment on watermarks: which copies of a marked model show its marks, and how often others seem to."""

import itertools
import time
from collections.abc import Iterable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pad_sequence

from recbole_gro.config.config import with_settings
from recbole_gro.config.config_like import ConfigLike
from recbole_gro.data.digests import data_fingerprint
from recbole_gro.defense import create_defense
from recbole_gro.defense.marks.base import MarkingDefense
from recbole_gro.evaluator import evaluate_service
from recbole_gro.experiment.checks import check_cells
from recbole_gro.experiment.dry_run import print_downloads
from recbole_gro.experiment.kept_loaders import forget_loaders
from recbole_gro.experiment.marked_suspects import (
    MarkedSuspect,
    marked_suspects,
    share_of_positions,
    unmarked_suspects,
)
from recbole_gro.experiment.marks_report import marks_blocks
from recbole_gro.experiment.plan import LOCK, Experiment
from recbole_gro.experiment.suspect_checks import check_marks_settings, marks_cells
from recbole_gro.experiment.suspects import TOP, Workshop
from recbole_gro.experiment.tables import (
    PlannedTable,
    make_tables,
    missing_list,
    missing_of,
    print_tables,
    refuse_failed,
    rows_of,
    suspect_named,
    unfinished,
)
from recbole_gro.experiment.users_code import users_code
from recbole_gro.ownership.method import NoVerdict, Probes, VerificationMethod, create_method
from recbole_gro.quick_start.fingerprint import fingerprint
from recbole_gro.quick_start.seeding import start_stage
from recbole_gro.quick_start.stages import Stages
from recbole_gro.report.document import csv_text, write_document
from recbole_gro.serving.saved_target import SavedTarget
from recbole_gro.serving.service import Service
from recbole_gro.utils.errors import UserError
from recbole_gro.utils.files import make_folder, write_whole
from recbole_gro.utils.log import say
from recbole_gro.utils.random_state import global_state_kept
from recbole_gro.utils.work_folder import used_alone

FALSE_CLAIMS = "false_claims.csv"
FIRST_KEY = 1000  # the seed from which the first key of marks that no model has is derived
ALL = 10**6  # lists that a verification may take: those of all marks
FOUND = ["list_length", "lists", "marked_items", "listed", "listed_by_chance", "p_value"]
HEAD = ["model", "defense", "seed", "suspect", "is_marked", *FOUND, "valid_ndcg", "test_ndcg", "marked_positions",
        "left_out", "left_out_marked", "different_marks"]  # fmt: skip
WORDS = {"model", "defense", "suspect", "owner"}
FALSE_HEAD = ["defense", "key", "owner", "suspect", *FOUND]
Row = dict[str, Any]


def run_marks(experiment: Experiment, folder: Path, stages_dir: Path, dry_run: bool = False) -> None:
    """Verify all suspects of each marked model, and models without marks with further keys; report on both.

    Args:
        experiment: with its part `marks`.
        folder: of the report, and of tables per marked model, whose verdicts are not made again.
        stages_dir: folder of the stages.
        dry_run: only print what is missing.

    Raises:
        UserError: an invalid setting, and nothing has been made then; or, at the end, tables that failed.
    """
    workshop = Workshop(experiment, stages_dir)
    owners = list(itertools.product(map(str, experiment.vary["model"]), experiment.vary["defense"], experiment.seeds))
    _check(experiment, owners)
    configs = [experiment.config({"model": model, "defense": defense}, seed) for model, defense, seed in owners]
    absent = dry_run and print_downloads(configs)
    by_owner = {
        f"{model}, {defense}, seed {seed}": PlannedTable(
            folder / "owners" / f"{model}-{defense}-{seed}-{_print(experiment, model, defense, seed)}.csv",
            HEAD,
            partial(verdicts, workshop, model, defense, seed),
        )
        for model, defense, seed in owners
    }
    by_defense = {
        f"false claims, {defense}": PlannedTable(
            folder / "false-claims" / f"{defense}-{_print(experiment, defense)}.csv",
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
        if len(missing_of(tables)) < len(tables):
            _report(experiment, folder, by_owner, by_defense)
    refuse_failed(failed, len(tables))


def _report(
    experiment: Experiment, folder: Path, by_owner: dict[str, PlannedTable], by_defense: dict[str, PlannedTable]
) -> None:
    """Write the report of the tables that are there: of marked models, and of false claims with a defense."""
    found, others = (rows_of(tables.values(), WORDS) for tables in (by_owner, by_defense))
    missing = missing_of(by_owner), missing_of(by_defense)
    both = [*itertools.chain(*missing)]
    parts = unfinished(both, len(by_owner) + len(by_defense)), marks_blocks(experiment, found, others, missing)
    write_whole(folder / FALSE_CLAIMS, csv_text(FALSE_HEAD, ([*row.values()] for row in others)))
    text = csv_text(HEAD, ([*row.values()] for row in found))
    write_document(experiment.title, [*itertools.chain(*parts, missing_list(both))], text, folder)
    print(f"report.html, report.md, results.csv and {FALSE_CLAIMS} are in {folder}")


def verdicts(workshop: Workshop, model: str, defense: str, seed: int) -> Iterator[Row]:
    """Yield the rows of each suspect of a marked model, one for each length of its lists."""
    stages = workshop.stages(model, seed, defense)
    owner, method = _owner(stages, workshop.target(model, seed)), create_method(defense, {})
    probes, marks = _probes(method, owner), owner.marks["sequences"][:, 1:].long().unique()
    for suspect in marked_suspects(workshop, model, defense, seed):
        own = {"model": model, "defense": defense, "seed": seed, "suspect": suspect.name,
               "is_marked": suspect.is_marked}  # fmt: skip
        with suspect_named(suspect.name):
            start_stage(stages.config, "evaluation")
            k = stages.config["served_k"]
            metrics = evaluate_service(stages.config, Service(suspect.model, k), *stages.loaders)[0]
            at = f"ndcg@{max(stages.config['topk'])}"
            more = {f"{part}_ndcg": metrics[part][at] for part in ("valid", "test")} | _training_lists(suspect, marks)
            more["different_marks"] = len(marks)
            rows = [own | found | more for found in _found(method, probes, suspect.model, k)]
        yield from rows
        say(f"{time.strftime('%H:%M:%S')} {model}, {defense}, seed {seed}: {suspect.name}")


def false_claims(workshop: Workshop, defense: str) -> Iterator[Row]:
    """Yield the rows of models without marks, tested with keys whose marks no model has.

    Marks depend on the undefended target (aow), at the first seed of each model, or on the data alone (injected).
    """
    experiment, method, known = workshop.experiment, create_method(defense, {}), set()
    suspects = list(unmarked_suspects(workshop))
    say(f"{time.strftime('%H:%M:%S')} false claims, {defense}: {len(suspects)} models")
    for number, model in itertools.product(range(experiment.marks["keys"]), map(str, experiment.vary["model"])):
        stages = workshop.stages(model, experiment.seeds[0], defense)
        target = workshop.target(model, experiment.seeds[0])
        owner = _owner(stages, target, with_settings(stages.config, seed=FIRST_KEY + number))
        marks = str(owner.marks["sequences"].tolist())
        if marks in known:  # of another model, on which they do not depend
            continue
        known.add(marks)
        probes = _probes(method, owner)
        for name, suspect in suspects:
            own = {"defense": defense, "key": FIRST_KEY + number, "owner": model, "suspect": name}
            with suspect_named(name):
                rows = [own | found for found in _found(method, probes, suspect, stages.config["served_k"])]
            yield from rows


def _owner(stages: Stages, target: nn.Module, config: ConfigLike | None = None) -> Any:
    """Return an owner's model with the marks that the key of its config, or of another one, chooses."""
    config = stages.config if config is None else config
    defense: Any = create_defense(stages.prints.name, config)
    dataset = stages.train._dataset
    return SavedTarget(
        model=target,
        dataset=None,
        config=config,
        item_tokens=dataset.field2id_token[dataset.iid_field].tolist(),
        marks=defense.new_marks(target.eval(), stages.train).state(),
    )


def _probes(method: VerificationMethod, owner: Any) -> Probes:
    """Return the probes of all marks.

    Raises:
        UserError: no suspect could be claimed with so few of them.
    """
    try:
        return method.probes(owner, {}, b"", ALL)
    except NoVerdict as reason:
        few = str(reason).partition(";")[0]  # without its advice, which is on an option of `verify`
        raise UserError(f"defense: {method.name}: {few}; plant more or longer marks") from reason


def _found(method: VerificationMethod, probes: Probes, model: nn.Module, k: int) -> Iterator[Row]:
    """Yield what a suspect's lists say, for lists of k and of TOP items."""
    histories = pad_sequence([torch.tensor(row) for row in probes.histories], batch_first=True)
    lists = Service(model, k).recommend(histories).cpu()
    for length in dict.fromkeys((k, min(TOP, k))):
        numbers = {"list_length": length, "lists": len(lists), "marked_items": len(probes.expected["items"])}
        try:
            verdict = method.verdict(probes, lists[:, :length])
            facts = {name: verdict.facts[name] for name in ("listed", "listed_by_chance")}
            yield numbers | facts | {"p_value": verdict.p_value}
        except NoVerdict:  # it lists no candidate
            yield numbers | {"listed": 0.0, "listed_by_chance": 0.0, "p_value": None}


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
    keys = [FIRST_KEY + number for number in range(workshop.experiment.marks["keys"])]
    for model, defense, seed in owners:
        stages, method = workshop.stages(model, seed, defense), create_method(defense, {})
        untrained = stages.new_model()
        for key in (seed, *keys):
            _probes(method, _owner(stages, untrained, with_settings(stages.config, seed=key)))


def _print(experiment: Experiment, *of: Any) -> str:
    """Return a digest of what a table depends on."""
    data = data_fingerprint(experiment.config({"model": next(iter(experiment.vary["model"]))}, experiment.seeds[0]))
    others = {"models": [*map(str, experiment.vary["model"])], "seeds": experiment.seeds} if len(of) == 1 else {}
    code = users_code(
        experiment, [entry for part in ("copies", "changed", "cleansed") for entry in experiment.marks[part]]
    )
    return fingerprint(
        "marks", of=[*of], data=data, settings=experiment.fixed, marks=experiment.marks, **others, **code
    )
