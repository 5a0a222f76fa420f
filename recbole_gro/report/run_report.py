"""The report of a run: its table, results.json, results.md and results.png."""

import io
import json
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from recbole_gro.config.config_like import ConfigLike
from recbole_gro.utils.files import write_whole
from recbole_gro.utils.table import TextTable
from recbole_gro.utils.units import figure, scaled, unit

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# footnote signs of rows, and their meaning
NOT_IMPROVED, NO_GAIN, STILL_IMPROVING, TARGET_STILL_IMPROVING, BEST = "(!)", "(=)", "(+)", "(^)", "*"
MARKS = {
    BEST: "The strongest attack on this defense: its surrogate has the highest agreement@10 on held-out queries, "
    "the same for all attacks. Each attack has the whole query budget.",
    NOT_IMPROVED: "The training of this surrogate failed: its loss on held-out queries is no better than before "
    "training. A failed attack is no sign of a good defense.",
    NO_GAIN: "This surrogate gained no more than noise: its NDCG on the test items exceeds that of the untrained "
    "surrogate by less than twice the standard error of their difference.",
    STILL_IMPROVING: "This surrogate was still improving after its surrogate_epochs: with more of them it extracts "
    "more, and the service looks safer here than it is.",
    TARGET_STILL_IMPROVING: "The undefended target reached its maximum number of epochs before early stopping, and may "
    "still have been improving: a defense that trains it further, as GRO does, then looks like a gain; raise epochs.",
}
LABELS = {"hit": "HR", "ndcg": "NDCG"}
TARGET_COLOUR, SURROGATE_COLOUR = "#3b6ea5", "#d1603d"


def table(rows: list[dict[str, Any]], config: ConfigLike) -> TextTable:
    """Return the table of one row per defense and attack: metrics of target and surrogate, agreement.

    Shares are in percent; the head names other units. References stand in the columns of what they are compared with.
    Where a defense has several attacks, a column names them and the target's metrics stand in the first of its rows.

    Args:
        rows: as in results.json.
        config: of the run.
    """
    metrics, several, first = _shown_metrics(config), _several_attacks(rows), _first_rows(rows)
    sides = ["target", "surrogate"] if any("surrogate" in row for row in rows) else ["target"]
    agreement = [_agreement(config)] * (len(sides) - 1)
    labels = ["defense", *["attack"] * several]
    lines = []
    for place, row in enumerate(rows):
        measured = {side: row.get(side, {"test": {}})["test"] for side in sides}
        if place not in first:
            measured["target"] = {}
        values = [(metric, measured[side].get(metric)) for side in sides for metric in metrics]
        values += [(name, measured["surrogate"].get(name)) for name in agreement]
        cells = ("" if value is None else figure(metric, value) for metric, value in values)
        lines.append([row["defense"], *([row.get("attacker", "")] if several else []), *cells])
    return TextTable(
        [*labels, *map(_with_unit, metrics * len(sides)), *agreement],
        lines,
        len(labels),
        [*("" for _ in labels), *(side for side in sides for _ in metrics), *("" for _ in agreement)],
        [" ".join(footnotes(row)) for row in rows],
        notes(rows),
    )


def _several_attacks(rows: list[dict[str, Any]]) -> bool:
    return len({row["attacker"] for row in rows if "attacker" in row}) > 1


def _first_rows(rows: list[dict[str, Any]]) -> list[int]:
    """Return the place of the first row of each defense."""
    return list({row["defense"]: place for place, row in reversed(list(enumerate(rows)))}.values())


def footnotes(row: dict[str, Any]) -> list[str]:
    """Return the footnote signs of a defense's row: the surrogate's, then the target's.

    >>> footnotes({"surrogate_improved": True, "surrogate_still_improving": True}), footnotes({})
    (['(+)'], [])
    >>> footnotes({"surrogate_improved": False, "surrogate_still_improving": True})
    ['(!)']
    >>> footnotes({"surrogate_improved": False, "target_still_improving": True})
    ['(!)', '(^)']
    """
    found = {
        NOT_IMPROVED: not row.get("surrogate_improved", True),
        NO_GAIN: not row.get("gained", True),
        STILL_IMPROVING: row.get("surrogate_improved", True) and row.get("surrogate_still_improving"),
        TARGET_STILL_IMPROVING: row.get("target_still_improving"),
        BEST: row.get("strongest"),
    }
    return [mark for mark, holds in found.items() if holds]


def notes(rows: list[dict[str, Any]]) -> list[str]:
    """Return the paragraphs below a table that explain its footnote signs."""
    used = {mark for row in rows for mark in footnotes(row)}
    return [f"{mark} {meaning}" for mark, meaning in MARKS.items() if mark in used]


def _shown_metrics(config: ConfigLike) -> list[str]:
    """Return the config's metrics at its two longest cut-offs."""
    cut_offs = sorted(config["topk"])[-2:]
    return [f"{name}@{k}" for k in cut_offs for name in _metric_names(config)]


def _metric_names(config: ConfigLike) -> list[str]:
    return [name.lower() for name in config["metrics"]]


def label(metric: str) -> str:
    """Return the usual name of a metric of RecBole: HR@10 for hit@10."""
    name, _, k = metric.partition("@")
    return f"{LABELS.get(name, name)}@{k}"


def _with_unit(metric: str) -> str:
    return label(metric) if unit(metric) in ("", "%") else f"{label(metric)} ({unit(metric)})"


def _agreement(config: ConfigLike) -> str:
    """Return the agreement that tables show, as results.json names it."""
    return f"agreement@{min(10, config['served_k'])}"


def save_results(results: dict[str, Any], config: ConfigLike, folder: Path) -> None:
    """Write results.json, then the report; each file is complete when it appears.

    Args:
        results: of the run, as in results.json.
        config: of the run.
        folder: of the files.

    Raises:
        UserError: a file cannot be written.
    """
    # first, so that an error in a picture does not cost the numbers
    write_whole(folder / "results.json", json.dumps(results, indent=2, default=str) + "\n")
    write_report(results, config, folder)


def write_report(results: dict[str, Any], config: ConfigLike, folder: Path) -> None:
    """Write results.md and results.png if they are missing; arguments as of `save_results`."""
    contents: dict[str, Callable[[], str | bytes]] = {
        "results.md": lambda: markdown(results, config),
        "results.png": lambda: png(picture(results["defenses"], config)),
    }
    for name, content in contents.items():
        if not (folder / name).exists():
            write_whole(folder / name, content())


def png(figure: "Figure") -> bytes:
    """Return a figure as the bytes of a png file."""
    stream = io.BytesIO()
    figure.savefig(stream, format="png", dpi=120)
    return stream.getvalue()


def markdown(results: dict[str, Any], config: ConfigLike) -> str:
    """Return the content of results.md: the table, and what it was measured on; arguments as of `save_results`."""
    rows, references = results["defenses"], results["references"]
    shares = all(unit(metric) == "%" for metric in _shown_metrics(config))
    percent = "Percent" if shares else "Percent where the head names no other unit"
    attacked = [row for row in rows if "surrogate" in row]
    about = [
        f"# {results['model']} on {results['dataset']}",
        "",
        table([*rows, *references], config).markdown(),
        "",
        f"{percent}, test items of {results['test_users']} users, full ranking, {split_in_words(config)}, of the "
        f"list of {config['served_k']} that the service returns; seed {results['seed']}, one run.",
    ]
    if references:
        measured = any(_agreement(config) in row.get("surrogate", {"test": {}})["test"] for row in references)
        of_target = "; their agreement is with the undefended target" if measured else ""
        about += ["", f"References{of_target}:", ""]
        about += [f"- {row['defense']}: {row['meaning']}." for row in references]
    if attacked:
        about.append("")
        attacks: dict[tuple[str, str], list[str]] = {}
        for row in attacked:
            attacks.setdefault((row["attacker"], _attack_in_words(row)), []).append(row["defense"])
        n_of = Counter(name for name, _ in attacks)
        agreement = _agreement(config)
        about.append(
            f"{agreement.capitalize()}: share of common items in the top {agreement.partition('@')[2]} of the target "
            "as served and of the surrogate. Attacks:"
        )
        about.append("")
        for (name, words), defenses in attacks.items():
            where = f" on {', '.join(defenses)}" if n_of[name] > 1 else ""
            about.append(f"- {name}{where}: {words}")
        selected = [(_bar_name(row, " "), settings_in_words(row["selected_hyperparameters"])) for row in attacked]
        if any(settings for _, settings in selected):
            words = "; ".join(f"{name}: {settings}" for name, settings in selected if settings)
            about += ["", f"Hyperparameters that the attack selected. {words}."]
    return "\n".join(about) + "\n"


def split_in_words(config: ConfigLike) -> str:
    """Return the evaluation split of `eval_args` as text, and whether items of the history are excluded.

    >>> by_ratio = {"split": {"RS": [0.8, 0.1, 0.1]}, "order": "TO", "group_by": "user"}
    >>> split_in_words({"eval_args": by_ratio, "exclude_seen": True})
    "ratio split 0.8, 0.1, 0.1 of each user in time order, without items of the user's history"
    """
    (kind, parts), *_ = config["eval_args"]["split"].items()
    unseen = ", without items of the user's history" if config["exclude_seen"] else ""
    if kind == "LS":
        return "leave-one-out" + ("" if parts == "valid_and_test" else f" ({parts})") + unseen
    order = " in time order" if config["eval_args"].get("order") == "TO" else ""
    grouped = config["eval_args"].get("group_by") not in (None, "none")  # which a split by time does not read
    of = f" of {'each user' if grouped else 'all interactions'}" if kind == "RS" else ""
    return f"{'ratio' if kind == 'RS' else 'time'} split {', '.join(map(str, parts))}{of}{order}{unseen}"


def settings_in_words(settings: dict[str, Any]) -> str:
    """Return settings, which may be nested, as text."""
    return ", ".join(
        f"{name} {settings_in_words(value) if isinstance(value, dict) else value}" for name, value in settings.items()
    )


def _attack_in_words(row: dict[str, Any]) -> str:
    again = "" if row["repeats"] == 1 else f", queried {row['repeats']} times,"
    auxiliary = f", {row['auxiliary_sequences']} of them histories of users" if row["auxiliary_sequences"] else ""
    return (
        f"surrogate {row['surrogate_model']} from {row['lists_returned']} lists: every prefix{again} of "
        f"{row['query_sequences']} {row['query_strategy']} sequences{auxiliary}."
    )


def _bar_name(row: dict[str, Any], between: str) -> str:
    return f"{row['defense']}{between}{row['attacker']}" if "attacker" in row else row["defense"]


def picture(rows: list[dict[str, Any]], config: ConfigLike) -> "Figure":
    """Return bars of target and surrogate per defense and attack, one panel per metric at the valid metric's cut-off.

    Args:
        rows: as in results.json.
        config: of the run.
    """
    from matplotlib.figure import Figure  # a tenth of the time to import this package, which each worker does

    metrics = [f"{name}@{config['valid_metric'].partition('@')[2]}" for name in _metric_names(config)]
    width = max(4.6, 1.3 * len(rows)) if _several_attacks(rows) else 4.6
    figure = Figure(figsize=(width * len(metrics) + 0.4, 3.8), layout="constrained")
    attacked = any("surrogate" in row for row in rows)
    figure.suptitle(
        f"{config['model']} on {config['dataset']}: target as served" + (" and surrogate" if attacked else "")
    )
    for axes, metric in zip(figure.subplots(1, len(metrics), squeeze=False)[0], metrics, strict=True):
        _bars(axes, rows, metric)
    handles, labels = figure.axes[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=2, frameon=False)
    return figure


def _bars(axes: "Axes", rows: list[dict[str, Any]], metric: str) -> None:
    sides = [("target", TARGET_COLOUR), ("surrogate", SURROGATE_COLOUR)]
    sides = [(side, colour) for side, colour in sides if any(side in row for row in rows)]
    width = 0.8 / len(sides)
    for offset, (side, colour) in enumerate(sides):
        places = [i for i, row in enumerate(rows) if side in row and (side != "target" or i in _first_rows(rows))]
        values = [rows[i][side]["test"][metric] for i in places]
        heights = [scaled(metric, value) for value in values]
        bars = axes.bar([i + offset * width for i in places], heights, width, label=side, color=colour)
        axes.bar_label(bars, [figure(metric, value) for value in values], fontsize=8, padding=1)
    names = [_bar_name(row, "\n") if _several_attacks(rows) else row["defense"] for row in rows]
    axes.set_xticks([i + width * (len(sides) - 1) / 2 for i in range(len(rows))], names)
    axes.set_title(f"{label(metric)}, test, {unit(metric)}".removesuffix(", "))
    axes.margins(y=0.15)
    axes.spines[["top", "right"]].set_visible(False)
