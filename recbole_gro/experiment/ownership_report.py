"""The report of the experiment on ownership."""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from recbole_gro.experiment.facts import settings_blocks
from recbole_gro.experiment.lacking import WHOLE, Lacking
from recbole_gro.experiment.plan import Experiment
from recbole_gro.experiment.suspects import ANOTHER, OTHERS, SAME
from recbole_gro.ownership.fingerprint import DistinctiveItems
from recbole_gro.report.document import Block, Heading, Paragraph, Picture, Table
from recbole_gro.report.run_report import SURROGATE_COLOUR, png

LEVELS = (0.01, 0.05, 0.1, 0.5)
Row = dict[str, Any]


def ownership_blocks(experiment: Experiment, rows: Sequence[Row], lacking: Lacking = WHOLE) -> Iterator[Block]:
    """Yield the parts of the report.

    Args:
        experiment: with its title and settings.
        rows: verdicts on the suspects of all owners.
        lacking: what these lack.
    """
    level = DistinctiveItems({}).settings["level"]
    copied, none = ([row for row in rows if row["is_copy"] is is_copy] for is_copy in (True, False))
    independent = [row for row in none if row["kind"].startswith("independent")]
    yield Paragraph(
        f"{_claims(copied, level)} of {len(copied)} verdicts on copies are claims, and {_claims(none, level)} of "
        f"{len(none)} on {_models(none)} models that are none, at level {level}; {_models(independent)} of these "
        "models were trained independently." + lacking.note(len(rows))
    )
    yield Heading("Results")
    if rows:
        yield _by_suspect(rows, level, lacking.note(len(rows)))
        caption = "Number of verdicts against the excess share. The line is the margin." + lacking.note(len(rows))
        alternative = "share of distinctive items beyond that of references"
        yield Picture("ownership.png", png(_picture(rows)), alternative, caption)
    else:
        yield Paragraph("n/a: no suspect has a verdict; the end says why.")
    yield Heading("p-values of models that are no copies")
    if none:
        yield _p_values(none, lacking.of(OTHERS))
    else:
        yield Paragraph("n/a: no model that is no copy has a verdict; the end says why.")
    yield from settings_blocks(experiment)


def _by_suspect(rows: Sequence[Row], level: float, note: str) -> Table:
    groups: dict[tuple[str, str], list[Row]] = defaultdict(list)
    for row in rows:
        name = f"{row['kind']}: {row['suspect']}" if row["is_copy"] else row["kind"]
        groups[row["model"], name].append(row)
    names = ["verdicts", "claims", "p", "highest p", "lowest p", "share", "references", "probes needed"]
    return Table(
        f"Verdicts by suspect. Claims: share with p <= {level}. Share: of the owner's distinctive items, and the mean "
        f"over references, percent. p and probes needed: median; > where no number of probes was enough.{note}",
        ["owner", "suspect", *names],
        [[*names, *_summary(own, level)] for names, own in sorted(groups.items())],
        labels=2,
    )


def _p_values(rows: Sequence[Row], lacking: Lacking) -> Table:
    """Return the table of the p-values without margin of models that are no copies."""
    owners: dict[str, list[float]] = defaultdict(list)
    for row in rows:
        owners[f"{row['model']} {row['seed']}"].append(row["p_value_without_margin"])
    everything = {"all that are there" if lacking != WHOLE else "all": [p for own in owners.values() for p in own]}
    return Table(
        "Without the margin: share of verdicts at or below each level, which is the level where p-values are exact. "
        "Verdicts on one owner's model share its references, so they are not independent." + lacking.note(len(rows)),
        ["owner", *(f"{at:g}" for at in LEVELS), "verdicts"],
        [
            [name, *(f"{np.mean(np.array(own) <= at):.3f}" for at in LEVELS), f"{len(own)}"]
            for name, own in (everything | owners).items()
        ],
    )


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
