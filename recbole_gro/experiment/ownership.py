"""The experiment on ownership: which suspects the method `fingerprint` claims, copies and others."""

import itertools
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from matplotlib.figure import Figure

from recbole_gro.data.digests import data_fingerprint
from recbole_gro.experiment.dry_run import print_downloads
from recbole_gro.experiment.plan import LOCK, Experiment
from recbole_gro.experiment.report import settings_blocks
from recbole_gro.experiment.suspect_checks import check_ownership_data, check_ownership_settings
from recbole_gro.experiment.suspects import (
    ANOTHER,
    TOP,
    Suspect,
    Workshop,
    attacks,
    copies,
    others,
    trained_seeds,
    usual_attacks,
)
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
    without,
)
from recbole_gro.experiment.users_code import users_code
from recbole_gro.ownership.fingerprint import DistinctiveItems
from recbole_gro.ownership.method import NoVerdict, Probes, Verdict
from recbole_gro.quick_start.fingerprint import fingerprint
from recbole_gro.report.document import Block, Heading, Paragraph, Picture, Table, csv_text, read_rows, write_document
from recbole_gro.report.run_report import SURROGATE_COLOUR, png
from recbole_gro.serving.saved_target import SavedTarget
from recbole_gro.utils.errors import UserError
from recbole_gro.utils.files import make_folder
from recbole_gro.utils.work_folder import used_alone

MIN_REFERENCES = 3  # references of a verdict; one fewer than an owner has remain where a reference is the suspect
SAME = "independent, same architecture"
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
            that failed.
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
        tables[f"{model}, seed {seed}"] = PlannedTable(file, HEAD, rows)
        if not file.exists():
            missing.append((model, seed))
    if not absent:
        check_ownership_data(workshop, missing)
    if dry_run:
        print_tables(tables, experiment.figure)
        return
    make_folder(folder)
    with used_alone(folder, LOCK):
        failed = make_tables(tables, stages_dir)
        if found := rows_of(tables.values(), WORDS):
            text, lacking = csv_text(HEAD, ([*row.values()] for row in found)), missing_of(tables)
            parts = [*unfinished(lacking, len(tables)), *blocks(experiment, found, lacking), *missing_list(lacking)]
            write_document(experiment.title, parts, text, folder)
            print(f"report.html, report.md and results.csv are in {folder}")
    refuse_failed(failed, len(tables))


def _rows(workshop: Workshop, model: str, seed: int, owner: Path) -> Iterator[Row]:
    """Yield the rows of an owner; verdicts in files whose names begin as `owner`, on other suspects, stay."""
    earlier = [row for file in sorted(owner.parent.glob(f"{owner.name}-*.csv")) for row in read_rows(file, WORDS)]
    return verdicts(workshop, model, seed, {(row["kind"], row["suspect"]): row for row in earlier})


def _line_up(experiment: Experiment) -> str:
    """Return a digest of what a verdict depends on besides owner, kind and name of the suspect."""
    own = experiment.ownership
    changes = [{**entry, "only": None} for part in ("changed", "avoiding") for entry in own[part]]
    small = {**own["small"], "count": None}
    seeds = sorted(trained_seeds(experiment))
    data = data_fingerprint(experiment.config({"model": next(iter(experiment.vary["model"]))}, seeds[0]))
    read = {"settings": experiment.fixed, "seeds": seeds, "probes": own["probes"], "changes": changes, "small": small}
    code = users_code(experiment, [*own["copies"], *own["changed"], *own["avoiding"], own["small"]])
    return fingerprint(experiment.name, data=data, **read, **code)


def _suspects(experiment: Experiment, model: str, seed: int) -> str:
    """Return a digest of the suspects of an owner."""
    read = {part: attacks(experiment, part, model, seed) for part in ("copies", "changed", "avoiding")}
    owners = itertools.product(sorted(map(str, experiment.vary["model"])), experiment.seeds)
    others = [[name, other, usual_attacks(experiment, name, other)] for name, other in owners]
    return fingerprint(experiment.name, others=others, suspects=experiment.ownership | read)


def verdicts(workshop: Workshop, model: str, seed: int, known: Mapping[tuple[str, str], Row]) -> Iterator[Row]:
    """Yield the row of each suspect of an owner's model; those that are known, by kind and name, as they are."""
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

    def row(suspect: Suspect, sent: Probes = probes) -> Row:
        if (suspect.kind, suspect.name) in known:
            return known[suspect.kind, suspect.name]
        with suspect_named(f"{suspect.kind}: {suspect.name}"):
            lists = suspect.lists(histories).cpu()[:, :TOP]
        try:
            verdict = method.measured(sent, lists)
        except NoVerdict as reason:
            raise UserError(f"probes: {len(sent.histories)} give no verdict on {model}, seed {seed}: {reason}; give "
                            f"part ownership of experiment {experiment.name} more of them") from reason  # fmt: skip
        shares = [verdict.facts["share"], *verdict.facts["reference_shares"].values()]
        return _row(model, seed, suspect, verdict) | {"p_value_without_margin": without.tested(shares)[0]}

    for suspect in itertools.chain(copies(workshop, model, seed), others(workshop, model, seed)):
        yield row(suspect)
    for name, reference in candidates.items():  # as a suspect it is no reference
        lists = {other: one for other, one in probes.expected["lists"].items() if other != name}
        one = Suspect(SAME, name, False, partial(reference.recommend, k=TOP))
        yield row(one, Probes(probes.histories, {"lists": lists}))


def _row(model: str, seed: int, suspect: Suspect, verdict: Verdict) -> Row:
    facts, (excess, low, high) = verdict.facts, verdict.effect
    found = [model, seed, suspect.kind, suspect.name, suspect.is_copy, suspect.n_lists, verdict.p_value, None,
             facts["share"], facts["reference_mean"], excess, low, high, facts["probes_needed"],
             facts["agreement@10"]]  # fmt: skip
    return dict(zip(HEAD, found, strict=True))


def blocks(experiment: Experiment, rows: Sequence[Row], missing: Sequence[str] = ()) -> Iterator[Block]:
    """Yield the parts of the report.

    Args:
        experiment: with its title and settings.
        rows: of all owners that are finished.
        missing: names of the others.
    """
    level = DistinctiveItems({}).settings["level"]
    copied, none = ([row for row in rows if row["is_copy"] is is_copy] for is_copy in (True, False))
    independent = [row for row in none if row["kind"].startswith("independent")]
    yield Paragraph(
        f"{_claims(copied, level)} of {len(copied)} verdicts on copies are claims, and {_claims(none, level)} of "
        f"{len(none)} on {_models(none)} models that are none, at level {level}; {_models(independent)} of these "
        "models were trained independently."
    )
    yield Heading("Results")
    groups: dict[tuple[str, str], list[Row]] = defaultdict(list)
    for row in rows:
        name = f"{row['kind']}: {row['suspect']}" if row["is_copy"] else row["kind"]
        groups[row["model"], name].append(row)
    yield Table(
        f"Verdicts by suspect. Claims: share with p <= {level}. Share: of the owner's distinctive items, and the mean "
        "over references, percent. p and probes needed: median; > where no number of probes was enough."
        + without(missing),
        [
            "owner",
            "suspect",
            "verdicts",
            "claims",
            "p",
            "highest p",
            "lowest p",
            "share",
            "references",
            "probes needed",
        ],
        [[*names, *_summary(own, level)] for names, own in sorted(groups.items())],
        labels=2,
    )
    caption = "Number of verdicts against the excess share. The line is the margin." + without(missing)
    alternative = "share of distinctive items beyond that of references"
    yield Picture("ownership.png", png(_picture(rows)), alternative, caption)
    yield Heading("p-values of models that are no copies")
    p_values = np.array([row["p_value_without_margin"] for row in none])
    yield Table(
        "Without the margin: share of verdicts at or below each level, which is the level where p-values are exact. "
        "Verdicts on one owner's "
        "model share its references, so they are not independent." + without(missing),
        ["owner", *(f"{at:g}" for at in (0.01, 0.05, 0.1, 0.5)), "verdicts"],
        [
            [name, *(f"{np.mean(own <= at):.3f}" for at in (0.01, 0.05, 0.1, 0.5)), f"{len(own)}"]
            for name, own in {"all that are there" if missing else "all": p_values, **{
                f"{model} {seed}": np.array([row["p_value_without_margin"] for row in none
                                             if (row["model"], row["seed"]) == (model, seed)])
                for model, seed in dict.fromkeys((row["model"], row["seed"]) for row in none)
            }}.items()
        ],
    )  # fmt: skip
    yield from settings_blocks(experiment)


def _models(rows: Sequence[Row]) -> int:
    # a target of the line-up is of the owner's architecture or of another one; other kinds may share its name
    return len({("" if row["kind"] in (SAME, ANOTHER) else row["kind"], row["suspect"]) for row in rows})


def _claims(rows: Sequence[Row], level: float) -> int:
    return sum(row["p_value"] <= level for row in rows)


def _summary(rows: Sequence[Row], level: float) -> list[str]:
    p_values = [row["p_value"] for row in rows]
    needed = np.median([row["probes_needed"] or np.inf for row in rows])
    shares = [f"{100 * np.mean([row[name] for row in rows]):.1f}" for name in ("share", "reference_mean")]
    return [
        f"{len(rows)}",
        f"{_claims(rows, level) / len(rows):.2f}",
        *(f"{value:.2g}" for value in (np.median(p_values), max(p_values), min(p_values))),
        *shares,
        ">" if np.isinf(needed) else f"{needed:.0f}",
    ]


def _picture(rows: Sequence[Row]) -> Figure:
    figure = Figure(figsize=(9, 3.4), layout="constrained")
    models = list(dict.fromkeys(row["model"] for row in rows))
    panels = np.atleast_1d(figure.subplots(1, len(models), sharex=True))
    bins = np.linspace(-0.2, 1, 61)
    for axes, model in zip(panels, models, strict=True):
        for is_copy, colour, label in ((False, "#888888", "no copies"), (True, SURROGATE_COLOUR, "copies")):
            own = [row["excess"] for row in rows if (row["model"], row["is_copy"]) == (model, is_copy)]
            axes.hist(own, bins, color=colour, label=label, alpha=0.8)
        axes.axvline(DistinctiveItems({}).settings["margin"], color="#bbbbbb", linewidth=0.8)
        axes.set(yscale="log", title=model, xlabel="excess share of distinctive items", ylabel="verdicts")
    panels[0].legend(frameon=False)
    return figure
