"""The experiment on ownership: which suspects the method `fingerprint` claims, copies and others."""

import itertools
from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from recbole_gro.experiment.dry_run import print_downloads
from recbole_gro.experiment.lacking import missing_list, unfinished
from recbole_gro.experiment.ownership_report import ownership_blocks
from recbole_gro.experiment.plan import LOCK, Experiment
from recbole_gro.experiment.planned_suspects import Absent, PlannedSuspect, itself
from recbole_gro.experiment.suspect_checks import check_ownership_data, check_ownership_settings
from recbole_gro.experiment.suspects import (
    OTHERS,
    SAME,
    SHUFFLED,
    TOP,
    Suspect,
    attacks,
    copies,
    others,
    trained_seeds,
    usual_attacks,
)
from recbole_gro.experiment.tables import (
    PlannedTable,
    is_whole,
    lacking_of,
    make_tables,
    print_tables,
    read_table,
    refuse_failed,
    rows_of,
)
from recbole_gro.experiment.users_code import users_code
from recbole_gro.experiment.workshop import Workshop
from recbole_gro.ownership.fingerprint import DistinctiveItems
from recbole_gro.ownership.method import NoVerdict, Probes, Verdict
from recbole_gro.quick_start.references import UNDEFENDED
from recbole_gro.quick_start.stage_fingerprints import RUN_LEVEL, Fingerprints, fingerprint
from recbole_gro.report.document import csv_text, write_document
from recbole_gro.serving.saved_target import SavedTarget
from recbole_gro.utils.errors import UserError
from recbole_gro.utils.files import make_folder
from recbole_gro.utils.work_folder import used_alone

MIN_REFERENCES = 3  # references of a verdict; one fewer than an owner has remain where a reference is the suspect
HEAD = ["model", "seed", "kind", "suspect", "is_copy", "lists", "p_value", "p_value_without_margin", "share",
        "reference_mean", "excess", "low", "high", "probes_needed", "agreement@10"]  # fmt: skip
WORDS = {"model", "kind", "suspect"}
Row = dict[str, Any]


def run_ownership(experiment: Experiment, folder: Path, stages_dir: Path, dry_run: bool = False) -> None:
    """Verify all suspects of each owner's model, and report on the verdicts.

    Args:
        experiment: with its part `ownership`.
        folder: of the report, and of tables per owner, whose verdicts are not made again.
        stages_dir: folder of the stages.
        dry_run: only print what is missing.

    Raises:
        UserError: an invalid setting, or too few references, and nothing has been made then; or, at the end, owners
            or suspects that failed.
    """
    if len(trained_seeds(experiment)) <= MIN_REFERENCES + 1:
        raise UserError(f"ownership: seeds and references are to be {MIN_REFERENCES + 2} different ones or more")
    check_ownership_settings(experiment)
    workshop, models = Workshop(experiment, stages_dir), [*map(str, experiment.vary["model"])]
    absent = dry_run and print_downloads(experiment.config({"model": model}, experiment.seeds[0]) for model in models)
    line_up, tables, missing = _line_up(experiment), {}, []
    for model, seed in itertools.product(models, experiment.seeds):
        owner = folder / "owners" / f"{model}-{seed}-{line_up}"
        file = owner.with_name(f"{owner.name}-{_suspects(experiment, model, seed)}.csv")
        rows = partial(_rows, workshop, model, seed, owner)
        tables[f"{model}, seed {seed}"] = PlannedTable(file, HEAD, rows, WORDS)
        if not is_whole(file):
            missing.append((model, seed))
    if not absent:
        check_ownership_data(workshop, missing)
    if dry_run:
        print_tables(tables, experiment.figure)
        return
    make_folder(folder)
    with used_alone(folder, LOCK):
        failed, lacking = make_tables(tables, stages_dir), lacking_of(tables)
        found = rows_of(tables.values())
        if found or lacking.suspects:
            text = csv_text(HEAD, ([*row.values()] for row in found))
            parts = [*unfinished(lacking, len(tables)), *ownership_blocks(experiment, found, lacking)]
            write_document(experiment.title, [*parts, *missing_list(lacking, failed)], text, folder)
            print(f"report.html, report.md and results.csv are in {folder}")
    refuse_failed(failed, len(tables), lacking)


def _rows(workshop: Workshop, model: str, seed: int, owner: Path) -> Iterator[Row | Absent]:
    """Yield the rows of an owner; verdicts in files whose names begin as `owner`, on other suspects, stay."""
    files = filter(is_whole, sorted(owner.parent.glob(f"{owner.name}-*.csv")))
    earlier = [row for file in files for row in read_table(file, WORDS)[0]]
    return verdicts(workshop, model, seed, {(row["kind"], row["suspect"]): row for row in earlier})


def _line_up(experiment: Experiment) -> str:
    """Return a digest of what a verdict depends on besides owner, kind and name of the suspect."""
    own = experiment.ownership
    changes = [{**entry, "only": None} for part in ("changed", "avoiding") for entry in own[part]]
    small = {**own["small"], "count": None}
    models, seeds = map(str, experiment.vary["model"]), sorted(trained_seeds(experiment))
    configs = [experiment.config({"model": model}, seed) for model, seed in itertools.product(models, seeds)]
    defense = SHUFFLED if own["changed"] else UNDEFENDED
    served = [Fingerprints(config, defense).service for config in configs]
    # all settings rather than those that the attacks read, so that a further attack leaves the verdicts on others
    settings = [
        {name: value for name, value in config.final_config_dict.items() if name not in RUN_LEVEL} for config in configs
    ]
    read = {"settings": settings, "seeds": seeds, "probes": own["probes"], "changes": changes, "small": small}
    code = users_code(experiment, [*own["copies"], *own["changed"], *own["avoiding"], own["small"]])
    return fingerprint(experiment.name, *served, **read, **code)


def _suspects(experiment: Experiment, model: str, seed: int) -> str:
    """Return a digest of the suspects of an owner."""
    read = {part: attacks(experiment, part, model, seed) for part in ("copies", "changed", "avoiding")}
    owners = itertools.product(sorted(map(str, experiment.vary["model"])), experiment.seeds)
    others = [[name, other, usual_attacks(experiment, name, other)] for name, other in owners]
    return fingerprint(experiment.name, others=others, suspects=experiment.ownership | read)


def verdicts(workshop: Workshop, model: str, seed: int, known: Mapping[tuple[str, str], Row]) -> Iterator[Row | Absent]:
    """Yield the row of each suspect of an owner's model, or why it failed; known ones, by kind and name, as they are.

    Without one of its references an owner has no row: it would be of another line-up.
    """
    experiment = workshop.experiment
    method = DistinctiveItems({"min_references": MIN_REFERENCES})
    without = DistinctiveItems({"min_references": MIN_REFERENCES, "margin": 0.0})
    seeds = [other for other in trained_seeds(experiment) if other != seed]
    tokens = workshop.stages(model, seed).train._dataset.field2id_token[
        workshop.stages(model, seed).config["ITEM_ID_FIELD"]
    ]
    candidates = {
        f"{model} {number}": SavedTarget(
            model=workshop.target(model, number),
            dataset=None,
            config=workshop.stages(model, number).config,
            item_tokens=tokens.tolist(),
        )
        for number in (seed, *seeds)
    }
    owner = candidates.pop(f"{model} {seed}")
    key = f"{experiment.name} {model} {seed}".encode()
    probes = method.probes(owner, candidates, key, experiment.ownership["probes"])
    histories = torch.nn.utils.rnn.pad_sequence([torch.tensor(row) for row in probes.histories], batch_first=True)

    def row(planned: PlannedSuspect[Suspect]) -> Row | Absent:
        listed = planned.tried(lambda suspect: (suspect, _lists(suspect, histories, known)))
        if isinstance(listed, Absent):
            return listed
        suspect, lists = listed
        if lists is None:
            return known[suspect.kind, suspect.name]
        # what is a reference, or a copy of one, would be found in it, and is judged by the others
        others = {name: one for name, one in probes.expected["lists"].items() if name != suspect.made_of}
        try:
            verdict = method.measured(Probes(probes.histories, probes.expected | {"lists": others}), lists)
        except NoVerdict as reason:  # it is of the owner's probes, whatever the suspect
            raise UserError(f"probes: {len(probes.histories)} give no verdict on {model}, seed {seed}: {reason}; give "
                            f"part ownership of experiment {experiment.name} more of them") from reason  # fmt: skip
        shares = [verdict.facts["share"], *verdict.facts["reference_shares"].values()]
        return _row(model, seed, suspect, verdict) | {"p_value_without_margin": without.tested(shares)[0]}

    for suspect in itertools.chain(copies(workshop, model, seed), others(workshop, model, seed)):
        yield row(suspect)
    for name, reference in candidates.items():
        one = Suspect(SAME, name, False, partial(reference.recommend, k=TOP), made_of=name)
        yield row(PlannedSuspect(f"{SAME}: {name}", OTHERS, partial(itself, one)))


def _lists(suspect: Suspect, histories: Tensor, known: Mapping[tuple[str, str], Row]) -> Tensor | None:
    """Return the lists [N, TOP] of a suspect; None for one that is known."""
    return None if (suspect.kind, suspect.name) in known else suspect.lists(histories).cpu()[:, :TOP]


def _row(model: str, seed: int, suspect: Suspect, verdict: Verdict) -> Row:
    facts, (excess, low, high) = verdict.facts, verdict.effect
    found = [model, seed, suspect.kind, suspect.name, suspect.is_copy, suspect.n_lists, verdict.p_value, None,
             facts["share"], facts["reference_mean"], excess, low, high, facts["probes_needed"],
             facts["agreement@10"]]  # fmt: skip
    return dict(zip(HEAD, found, strict=True))
