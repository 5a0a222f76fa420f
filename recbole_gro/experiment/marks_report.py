"""The report of the experiment on watermarks."""

import math
from collections import defaultdict
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from recbole_gro.experiment.facts import settings_blocks
from recbole_gro.experiment.plan import Experiment
from recbole_gro.experiment.tables import without
from recbole_gro.ownership.method import LEVEL
from recbole_gro.report.document import Block, Heading, Paragraph, Picture, Table
from recbole_gro.report.run_report import SURROGATE_COLOUR, png

LEVELS = (0.01, 0.05, 0.1, 0.5)
NONE = "none"
LEAST = 1e-300  # p-values below are shown as this


def marks_blocks(
    experiment: Experiment,
    rows: Sequence[dict[str, Any]],
    others: Sequence[dict[str, Any]],
    missing: tuple[Sequence[str], Sequence[str]] = ((), ()),
) -> Iterator[Block]:
    """Yield the parts of the report.

    Args:
        experiment: with its title and settings.
        rows: of the suspects of all marked models.
        others: of the models without marks.
        missing: names of the tables that either lacks.
    """
    lacking, others_lack = map(without, missing)
    marked = [row for row in rows if row["is_marked"]]
    of_others = f", and {_claims(others)} of {len(others)} on models that no mark was planted in" if others else ""
    yield Paragraph(
        f"{_claims(marked)} of {len(marked)} verdicts on marked models and their surrogates are claims at level "
        f"{LEVEL:g}{of_others}."
    )
    if rows:
        yield Heading("Results")
        yield from _results(rows, lacking)
    if others:
        yield Heading("Models without marks")
        yield _false_claims(others, others_lack)
    yield from settings_blocks(experiment)


def _results(rows: Sequence[dict[str, Any]], lacking: str) -> Iterator[Block]:
    yield _suspects(rows, lacking)
    caption = (
        "p-value of each seed, on a logarithmic scale; filled: the longest lists, open: lists of "
        f"{min(row['list_length'] for row in rows)}. The line is the level.{lacking}"
    )
    yield Picture("marks.png", png(_picture(rows)), "p-values of the suspects of each marked model", caption)
    yield _accuracy(rows, lacking)
    cleansed = [row for row in rows if row["left_out"] is not None]
    if cleansed:
        yield _cleansing(cleansed, lacking)


def _claims(rows: Sequence[dict[str, Any]]) -> int:
    return sum(row["p_value"] is not None and row["p_value"] <= LEVEL for row in rows)


def _grouped(rows: Sequence[dict[str, Any]], *keys: str) -> dict[tuple[Any, ...], list[dict[str, Any]]]:
    groups: dict[tuple[Any, ...], list[dict[str, Any]]] = defaultdict(list)
    for row in rows:
        groups[tuple(row[key] for key in keys)].append(row)
    return groups


def _of_longest_lists(rows: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    longest = max(row["list_length"] for row in rows)
    return [row for row in rows if row["list_length"] == longest]


def _suspects(rows: Sequence[dict[str, Any]], lacking: str) -> Table:
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
        "hold, and the mean over all items that the key could have chosen, percent." + lacking,
        ["target", "defense", "suspect", *head, "listed", "by chance"],
        found,
        labels=3,
    )


def _p_values(rows: Sequence[dict[str, Any]]) -> list[str]:
    values = [row["p_value"] for row in rows if row["p_value"] is not None]
    return [f"{min(values):.2g}" if values else NONE, f"{max(values):.2g}" if len(values) == len(rows) else NONE]


def _accuracy(rows: Sequence[dict[str, Any]], lacking: str) -> Table:
    at_once = _of_longest_lists(rows)
    return Table(
        "Accuracy by suspect: NDCG at the longest of topk, percent, mean over seeds; and over that of the undefended "
        "target, seed by seed." + lacking,
        ["target", "defense", "suspect", "validation", "test", "validation, kept", "test, kept", "test, kept by seed"],
        [
            [*map(str, names), *(f"{100 * np.mean([row[part] for row in own]):.2f}" for part in PARTS),
             *(f"{np.mean([_kept(row, part, at_once) for row in own]):.2f}" for part in PARTS),
             ", ".join(f"{_kept(row, 'test_ndcg', at_once):.2f}" for row in own)]
            for names, own in _grouped(at_once, "model", "defense", "suspect").items()
        ],
        labels=3,
    )  # fmt: skip


PARTS = ("valid_ndcg", "test_ndcg")


def _kept(row: dict[str, Any], part: str, rows: Sequence[dict[str, Any]]) -> float:
    same = ("model", "defense", "seed")
    [plain] = (other[part] for other in rows if not other["is_marked"] and all(other[key] == row[key] for key in same))
    return row[part] / plain if plain else math.nan


def _cleansing(rows: Sequence[dict[str, Any]], lacking: str) -> Table:
    at_once = _of_longest_lists(rows)
    return Table(
        "What cleansing removes, means over seeds: share of the positions of the lists that marked items hold before "
        "it, percent; items left out, and how many of them are marked." + lacking,
        ["target", "defense", "suspect", "marked positions", "left out", "of them marked", "marked items"],
        [
            [*map(str, names), f"{100 * np.mean([row['marked_positions'] for row in own]):.1f}",
             *(f"{np.mean([row[name] for row in own]):.0f}" for name in ("left_out", "left_out_marked")),
             f"{np.mean([row['different_marks'] for row in own]):.0f}"]
            for names, own in _grouped(at_once, "model", "defense", "suspect").items()
        ],
        labels=3,
    )  # fmt: skip


def _false_claims(rows: Sequence[dict[str, Any]], lacking: str) -> Table:
    return Table(
        "Share of the verdicts with a p-value at or below each level, which is the level where p-values are exact. "
        "Verdicts with one key share its draws, so they are not independent. No verdict: the suspect lists no item "
        "that the key could have chosen." + lacking,
        ["defense", "items in a list", *(f"{level:g}" for level in LEVELS), "verdicts", "no verdict", "keys"],
        [
            [*map(str, names), *(_share(own, level) for level in LEVELS),
             f"{sum(row['p_value'] is not None for row in own)}", f"{sum(row['p_value'] is None for row in own)}",
             f"{len({row['key'] for row in own})}"]
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
