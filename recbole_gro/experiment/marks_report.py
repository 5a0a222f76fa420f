"""The report of the experiment on watermarks."""

import math
from collections import defaultdict
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from recbole_gro.experiment.facts import settings_blocks
from recbole_gro.experiment.lacking import WHOLE, Lacking
from recbole_gro.experiment.marked_suspects import CLEANSED, OWNERS, PLAIN
from recbole_gro.experiment.plan import Experiment
from recbole_gro.ownership.method import LEVEL
from recbole_gro.report.document import Block, Heading, Paragraph, Picture, Table
from recbole_gro.report.run_report import SURROGATE_COLOUR, png

LEVELS = (0.01, 0.05, 0.1, 0.5)
NONE = "none"
UNDEFINED = "n/a"
SUSPECT = ("model", "defense", "seed", "suspect")
LEAST = 1e-300  # p-values below are shown as this


def marks_blocks(
    experiment: Experiment,
    rows: Sequence[dict[str, Any]],
    others: Sequence[dict[str, Any]],
    lacking: tuple[Lacking, Lacking] = (WHOLE, WHOLE),
) -> Iterator[Block]:
    """Yield the parts of the report.

    Args:
        experiment: with its title and settings.
        rows: of the suspects of all marked models.
        others: of the models without marks.
        lacking: what either lacks.
    """
    own, of_others = lacking
    marked = [row for row in rows if row["is_marked"]]
    false = f", and {_claims(others)} of {_verdicts(others)} on models that no mark was planted in" if others else ""
    without = [f"{len(tests) - _verdicts(tests)} of {len(tests)} tests" for tests in (marked, others) if tests]
    yield Paragraph(
        f"{_claims(marked)} of {_verdicts(marked)} verdicts on marked models and their surrogates are claims at level "
        f"{LEVEL:g}{false}. Without a verdict: {' and '.join(without) or UNDEFINED}."
    )
    if rows or own.suspects:
        yield Heading("Results")
        yield from _results(rows, own)
    if others or of_others.suspects:
        yield Heading("Models without marks")
        yield _false_claims(others, of_others)
    yield from settings_blocks(experiment)


def _results(rows: Sequence[dict[str, Any]], lacking: Lacking) -> Iterator[Block]:
    if not rows:
        yield Paragraph(f"{UNDEFINED}: no suspect has a verdict; the end says why.")
        return
    note = lacking.note(len(_grouped(rows, *SUSPECT)))
    yield _suspects(rows, note)
    caption = (
        "p-value of each seed, on a logarithmic scale; filled: the longest lists, open: lists of "
        f"{min(row['list_length'] for row in rows)}. The line is the level.{note}"
    )
    yield Picture("marks.png", png(_picture(rows)), "p-values of the suspects of each marked model", caption)
    yield _accuracy(rows, note)
    if cleansed := [row for row in rows if row["left_out"] is not None]:
        yield _cleansing(cleansed, lacking.of(CLEANSED).note(len(_grouped(cleansed, *SUSPECT))))
    elif lacking.of(CLEANSED).suspects:
        yield Paragraph(f"What cleansing removes: {UNDEFINED}, no cleansed surrogate is there; the end says why.")


def _claims(rows: Sequence[dict[str, Any]]) -> int:
    return sum(row["p_value"] is not None and row["p_value"] <= LEVEL for row in rows)


def _verdicts(rows: Sequence[dict[str, Any]]) -> int:
    return sum(row["p_value"] is not None for row in rows)


def _grouped(rows: Sequence[dict[str, Any]], *keys: str) -> dict[tuple[Any, ...], list[dict[str, Any]]]:
    groups: dict[tuple[Any, ...], list[dict[str, Any]]] = defaultdict(list)
    for row in rows:
        groups[tuple(row[key] for key in keys)].append(row)
    return groups


def _of_longest_lists(rows: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    longest = max(row["list_length"] for row in rows)
    return [row for row in rows if row["list_length"] == longest]


def _suspects(rows: Sequence[dict[str, Any]], note: str) -> Table:
    lengths = list(dict.fromkeys(row["list_length"] for row in rows))
    head = [f"{name}, top {length}" for length in lengths for name in ("claims", "lowest p", "highest p")]
    found = []
    for names, own in _grouped(rows, "model", "defense", "suspect").items():
        by_length = [[row for row in own if row["list_length"] == length] for length in lengths]
        cells = [cell for part in by_length for cell in (f"{_claims(part)} of {len(part)}", *_p_values(part))]
        shares = [
            f"{100 * np.mean([row[name] for row in by_length[0]]):.1f}" for name in ("listed", "listed_by_chance")
        ]
        found.append([*map(str, names), *cells, *shares])
    return Table(
        f"Verdicts by suspect, for the first items of its lists. Claims: seeds with a p-value of at most {LEVEL:g}. "
        "Lowest and highest p of the seeds, none where one has no verdict. Listed: marked items that the longest lists "
        "hold, and the mean over all items that the key could have chosen, percent." + note,
        ["target", "defense", "suspect", *head, "listed", "by chance"],
        found,
        labels=3,
    )


def _p_values(rows: Sequence[dict[str, Any]]) -> list[str]:
    values = [row["p_value"] for row in rows if row["p_value"] is not None]
    return [f"{min(values):.2g}" if values else NONE, f"{max(values):.2g}" if len(values) == len(rows) else NONE]


def _accuracy(rows: Sequence[dict[str, Any]], note: str) -> Table:
    at_once, seeds = _of_longest_lists(rows), sorted({row["seed"] for row in rows})
    found = []
    for names, own in _grouped(at_once, "model", "defense", "suspect").items():
        means = [f"{100 * np.mean([row[part] for row in own]):.2f}" for part in PARTS]
        kept = {part: {row["seed"]: _kept(row, part, at_once) for row in own} for part in PARTS}
        by_seed = [kept["test_ndcg"].get(seed, math.nan) for seed in seeds]
        cells = [*means, *(_mean_kept([*kept[part].values()]) for part in PARTS), ", ".join(map(_ratio, by_seed))]
        found.append([*map(str, names), f"{len(own)}", *cells])
    return Table(
        "Accuracy by suspect: NDCG at the longest of topk, percent, mean over seeds; and over that of the undefended "
        f"target, seed by seed. {UNDEFINED}: one of both is missing, or the target has none; means are over the other "
        "seeds." + note,
        ["target", "defense", "suspect", "seeds", "validation", "test", "validation, kept", "test, kept",
         "test, kept by seed"],
        found,
        labels=3,
    )  # fmt: skip


PARTS = ("valid_ndcg", "test_ndcg")


def _kept(row: dict[str, Any], part: str, rows: Sequence[dict[str, Any]]) -> float:
    """Return an accuracy over that of the undefended target of its seed; nan where that is missing or 0."""
    same = ("model", "defense", "seed")
    plain = [other[part] for other in rows if not other["is_marked"] and all(other[key] == row[key] for key in same)]
    return row[part] / plain[0] if plain and plain[0] else math.nan


def _mean_kept(ratios: Sequence[float]) -> str:
    defined = [ratio for ratio in ratios if not math.isnan(ratio)]
    return _ratio(float(np.mean(defined)) if defined else math.nan)


def _ratio(value: float) -> str:
    return UNDEFINED if math.isnan(value) else f"{value:.2f}"


def _cleansing(rows: Sequence[dict[str, Any]], note: str) -> Table:
    at_once = _of_longest_lists(rows)
    return Table(
        "What cleansing removes, means over seeds: share of the positions of the lists that marked items hold before "
        "it, percent; items left out, and how many of them are marked." + note,
        ["target", "defense", "suspect", "seeds", "marked positions", "left out", "of them marked", "marked items"],
        [
            [*map(str, names), f"{len(own)}", f"{100 * np.mean([row['marked_positions'] for row in own]):.1f}",
             *(f"{np.mean([row[name] for row in own]):.0f}" for name in ("left_out", "left_out_marked")),
             f"{np.mean([row['different_marks'] for row in own]):.0f}"]
            for names, own in _grouped(at_once, "model", "defense", "suspect").items()
        ],
        labels=3,
    )  # fmt: skip


def _false_claims(rows: Sequence[dict[str, Any]], lacking: Lacking) -> Block:
    if not rows:
        return Paragraph(f"{UNDEFINED}: no model without marks has a verdict; the end says why.")
    note = lacking.of(PLAIN).note(len(_grouped(rows, "defense", "suspect")))
    if unknown := [f"{one.name} ({table})" for table, one in lacking.of(OWNERS).suspects]:
        note += f" Without the {', '.join(unknown)}, which depend on a target that is missing."
    return Table(
        "Share of the verdicts with a p-value at or below each level, which is the level where p-values are exact. "
        "Verdicts with one key share its draws, so they are not independent. No verdict: the suspect lists no item "
        "that the key could have chosen." + note,
        ["defense", "items in a list", *(f"{level:g}" for level in LEVELS), "verdicts", "no verdict", "keys", "models"],
        [
            [*map(str, names), *(_share(own, level) for level in LEVELS),
             f"{_verdicts(own)}", f"{len(own) - _verdicts(own)}",
             f"{len({row['key'] for row in own})}", f"{len({row['suspect'] for row in own})}"]
            for names, own in _grouped(rows, "defense", "list_length").items()
        ],
        labels=2,
    )  # fmt: skip


def _share(rows: Sequence[dict[str, Any]], level: float) -> str:
    values = [row["p_value"] for row in rows if row["p_value"] is not None]
    return f"{np.mean(np.array(values) <= level):.3f}" if values else NONE


def _picture(rows: Sequence[dict[str, Any]]) -> Figure:
    groups = _grouped(rows, "model", "defense")
    suspects = list(dict.fromkeys(row["suspect"] for row in rows))
    figure = Figure(figsize=(11, 1.2 + 0.24 * len(suspects)), layout="constrained")
    panels = np.atleast_1d(figure.subplots(1, len(groups), sharey=True))
    longest = max(row["list_length"] for row in rows)
    for axes, (names, own) in zip(panels, groups.items(), strict=True):
        for row in (row for row in own if row["p_value"] is not None):
            face = SURROGATE_COLOUR if row["list_length"] == longest else "none"
            axes.plot(max(row["p_value"], LEAST), suspects.index(row["suspect"]), "o", markersize=4,
                      markerfacecolor=face, markeredgecolor=SURROGATE_COLOUR)  # fmt: skip
        axes.axvline(LEVEL, color="#bbbbbb", linewidth=0.8)
        axes.set(xscale="log", title=" ".join(map(str, names)), xlabel="p-value", xlim=(None, 3))
    panels[0].set_yticks(range(len(suspects)), suspects, fontsize=7)
    panels[0].invert_yaxis()
    return figure
