"""Results as a table, a file and a picture."""

import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure
from recbole.config import Config

from recbole_gro.report.document import markdown_table
from recbole_gro.utils.files import write_whole
from recbole_gro.utils.units import figure, scaled, unit

# marks of rows, and what they say of the surrogate or the target
NOT_IMPROVED, STILL_IMPROVING, TARGET_STILL_IMPROVING = "(!)", "(+)", "(^)"
MARKS = {
    NOT_IMPROVED: "This surrogate did not learn: its loss on held-out queries is no better than before training. A "
    "broken attack is not a good defense.",
    STILL_IMPROVING: "This surrogate was still learning when its surrogate_epochs were over: with more of them it gets "
    "more, and the service looks safer here than it is.",
    TARGET_STILL_IMPROVING: "The undefended target reached its maximum number of epochs before early stopping, and may "
    "still have been improving: a defense that trains it further, as GRO does, then looks like a gain; raise epochs.",
}
LABELS = {"hit": "HR", "ndcg": "NDCG"}
TARGET_COLOUR, SURROGATE_COLOUR = "#3b6ea5", "#d1603d"


def table(rows: list[dict[str, Any]], config) -> list[str]:
    """Return the lines of a markdown table, one row per defense: test metrics of target and surrogate, and agreement.

    Shares are in percent; other units stand in the head. A row without an attack beside rows with one, such as
    popularity's, has no figures there.
    """
    metrics = _shown_metrics(config)
    sides = ["target", "surrogate"] if any("surrogate" in row for row in rows) else ["target"]
    head = ["defense", *(f"{side} {_with_unit(metric)}" for side in sides for metric in metrics)]
    if len(sides) == 2:
        head.append(f"agreement@{_compared(config)}")
    lines = []
    for row in rows:
        measured = {side: row.get(side, {"test": {}})["test"] for side in sides}
        values = [(metric, measured[side].get(metric)) for side in sides for metric in metrics]
        if len(sides) == 2:
            values.append(("agreement@10", measured["surrogate"].get("agreement@10")))
        lines.append(
            [
                " ".join([row["defense"], *marks(row)]),
                *("" if value is None else figure(metric, value) for metric, value in values),
            ]
        )
    return markdown_table(head, lines)


def marks(row: dict[str, Any]) -> list[str]:
    """Return the marks of a defense's row: the surrogate's, then the target's.

    >>> marks({"surrogate_improved": True, "surrogate_still_improving": True}), marks({})
    (['(+)'], [])
    >>> marks({"surrogate_improved": False, "surrogate_still_improving": True})
    ['(!)']
    >>> marks({"surrogate_improved": False, "target_still_improving": True})
    ['(!)', '(^)']
    """
    attack = (
        NOT_IMPROVED
        if not row.get("surrogate_improved", True)
        else STILL_IMPROVING
        if row.get("surrogate_still_improving")
        else None
    )
    target = TARGET_STILL_IMPROVING if row.get("target_still_improving") else None
    return [mark for mark in (attack, target) if mark]


def notes(rows: list[dict[str, Any]]) -> list[str]:
    """The lines below a table that say what its marks mean; none where nothing is marked."""
    used = {mark for row in rows for mark in marks(row)}
    return [line for mark, told in MARKS.items() if mark in used for line in ("", f"{mark} {told}")]


def _shown_metrics(config) -> list[str]:
    """HR and NDCG at the two longest cut-offs, or whatever else the config measures."""
    cut_offs = sorted(config["topk"])[-2:]
    return [f"{name}@{k}" for k in cut_offs for name in _metric_names(config)]


def _metric_names(config) -> list[str]:
    return [name.lower() for name in config["metrics"]]


def label(metric: str) -> str:
    """Return a metric of RecBole's as the field names it: HR@10 for hit@10."""
    name, _, k = metric.partition("@")
    return f"{LABELS.get(name, name)}@{k}"


def _with_unit(metric: str) -> str:
    return label(metric) if unit(metric) in ("", "%") else f"{label(metric)} ({unit(metric)})"


def _compared(config) -> int:
    """Return how many items of two lists agreement@10 compares."""
    return min(10, config["served_k"])


def save_results(results: dict[str, Any], config: Config, folder: Path) -> None:
    """Write results.json, then the report; each file is complete when it appears.

    Args:
        results: the run's results.
        config: its settings.
        folder: where to.

    Raises:
        UserError: a file cannot be written.
    """
    # first, so that no fault of a picture costs the numbers
    write_whole(folder / "results.json", json.dumps(results, indent=2, default=str) + "\n")
    write_report(results, config, folder)


def write_report(results: dict[str, Any], config: Config, folder: Path) -> None:
    """Write results.md and results.png where they are missing; arguments as of `save_results`."""
    contents: dict[str, Callable[[], str | bytes]] = {
        "results.md": lambda: markdown(results, config),
        "results.png": lambda: png(picture(results["defenses"], config)),
    }
    for name, content in contents.items():
        if not (folder / name).exists():
            write_whole(folder / name, content())


def png(figure: Figure) -> bytes:
    """The figure as a png file."""
    drawn = io.BytesIO()
    figure.savefig(drawn, format="png", dpi=120)
    return drawn.getvalue()


def markdown(results: dict[str, Any], config) -> str:
    """The table with what it was measured on."""
    rows = results["defenses"]
    shares = all(unit(metric) == "%" for metric in _shown_metrics(config))
    percent = "Percent" if shares else "Percent where the head names no other unit"
    attacked = [row for row in rows if "surrogate" in row]
    about = [
        f"# {results['model']} on {results['dataset']}",
        "",
        *table([*rows, results["reference"]], config),
        *notes(rows),
        "",
        f"{percent}, test items of {results['test_users']} users, full ranking, {split(config)}, of the list of "
        f"{config['served_k']} that the service returns; seed {results['seed']}, one run. Popularity: every user is "
        f"served the items that the training data hold most often.",
    ]
    if attacked:
        row = attacked[0]
        about.append(
            f"Each surrogate ({row['surrogate_model']}) is the {row['attacker']} attacker's, "
            f"from {row['lists_returned']} lists: {_queries_in_words(row, config)}. Agreement@{_compared(config)}: "
            f"share of common items in the top {_compared(config)} of the target as served and of the surrogate."
        )
        told = {row["defense"]: settings_in_words(row["selected_hyperparameters"]) for row in attacked}
        if any(told.values()):
            settled = "; ".join(f"{defense}: {words}" for defense, words in told.items())
            about += ["", f"Hyperparameters that the attack selected. {settled}."]
    return "\n".join(about) + "\n"


def split(config) -> str:
    """Return in words how `eval_args` splits the data.

    >>> split({"eval_args": {"split": {"RS": [0.8, 0.1, 0.1]}, "order": "TO"}})
    'ratio split 0.8, 0.1, 0.1 in time order'
    """
    (kind, parts), *_ = config["eval_args"]["split"].items()
    if kind == "LS":
        return "leave-one-out" + ("" if parts == "valid_and_test" else f" ({parts})")
    order = " in time order" if config["eval_args"].get("order") == "TO" else ""
    return f"{'ratio' if kind == 'RS' else 'time'} split {', '.join(map(str, parts))}{order}"


def settings_in_words(settled: dict[str, Any]) -> str:
    """Keys of an attacker as they were in force, as text."""
    return ", ".join(
        f"{name} {settings_in_words(value) if isinstance(value, dict) else value}" for name, value in settled.items()
    )


def _queries_in_words(row: dict[str, Any], config) -> str:
    """What the queries of an attack were, in words."""
    again = "" if row["repeats"] == 1 else f", queried {row['repeats']} times,"
    known = row["auxiliary_sequences"]
    kind = f"{config['query_strategy']} sequences"
    if known:
        kind = f"sequences, {known} of them users' own histories"
    return f"every prefix{again} of {row['query_sequences']} {kind}"


def picture(rows: list[dict[str, Any]], config) -> Figure:
    """Target against surrogate for each defense, a panel a metric at the cut-off of the valid metric."""
    metrics = [f"{name}@{config['valid_metric'].partition('@')[2]}" for name in _metric_names(config)]
    figure = Figure(figsize=(4.6 * len(metrics) + 0.4, 3.8), layout="constrained")
    attacked = any("surrogate" in row for row in rows)
    figure.suptitle(
        f"{config['model']} on {config['dataset']}: what the service gives"
        + (", and what a copy of it gives" if attacked else "")
    )
    for axes, metric in zip(figure.subplots(1, len(metrics), squeeze=False)[0], metrics, strict=True):
        _bars(axes, rows, metric)
    handles, labels = figure.axes[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=2, frameon=False)
    return figure


def _bars(axes, rows: list[dict[str, Any]], metric: str) -> None:
    sides = [("target", TARGET_COLOUR), ("surrogate", SURROGATE_COLOUR)]
    sides = [(side, colour) for side, colour in sides if any(side in row for row in rows)]
    width = 0.8 / len(sides)
    for offset, (side, colour) in enumerate(sides):
        places = [i for i, row in enumerate(rows) if side in row]
        values = [rows[i][side]["test"][metric] for i in places]
        heights = [scaled(metric, value) for value in values]
        bars = axes.bar([i + offset * width for i in places], heights, width, label=side, color=colour)
        axes.bar_label(bars, [figure(metric, value) for value in values], fontsize=8, padding=1)
    axes.set_xticks([i + width * (len(sides) - 1) / 2 for i in range(len(rows))], [row["defense"] for row in rows])
    axes.set_title(f"{label(metric)}, test, {unit(metric)}".removesuffix(", "))
    axes.margins(y=0.15)
    axes.spines[["top", "right"]].set_visible(False)
