"""Figures laid out as the paper's: target and surrogate, HR and NDCG, one line per defense, bars over seeds."""

from collections.abc import Sequence
from dataclasses import dataclass
from numbers import Real

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.ticker import NullLocator

from recbole_gro.experiment.plan import Experiment
from recbole_gro.experiment.statistics import Spread
from recbole_gro.experiment.summary import CUT_OFFS, METRICS, SIDES, Setting
from recbole_gro.report.run_report import LABELS, png

# The colours of Okabe and Ito, which colour-blind readers can tell apart, without their yellow, pale on white
COLOURS = ("#000000", "#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9")
MARKERS = ("o", "s", "^", "D", "v", "P", "X")
STYLES = ("-", "--", ":")
LOG_FROM = 20  # the largest x over the smallest


@dataclass
class Line:
    """One line of a figure.

    Attributes:
        label: in the legend, which a single line lacks.
        look: number of lines before it, which decides its colour and marker; the same in all figures.
        settings: one where k is on the x axis, else one per point, in the order of x.
    """

    label: str
    look: int
    settings: list[Setting]


def pictures(experiment: Experiment, settings: Sequence[Setting], k: int) -> dict[str, bytes]:
    """Draw a png of four panels per name, such as "surrogate_model NARM"; a single one is named by the title.

    The lines are the defenses, or the values of the first key that varies and is not on the x axis; each combination of
    values of further keys has a figure of its own.

    Args:
        experiment: its `figure` is on the x axis.
        settings: finished settings.
        k: cut-off of HR and NDCG where k is not on the x axis.
    """
    others = [key for key in experiment.vary if key != experiment.figure]
    by_line = "defense" if "defense" in others else next(iter(others), None)
    apart = [key for key in others if key != by_line]
    shown: dict[str, list[Setting]] = {}
    for setting in settings:
        name = ", ".join(f"{key} {setting.values[key]}" for key in apart) or experiment.title
        shown.setdefault(name, []).append(setting)
    # names are shown as they are, a dollar sign begins no formula
    with matplotlib.rc_context({"text.parse_math": False}):
        return {
            name: png(_panels(name, experiment, _lines(experiment, part, by_line), k)) for name, part in shown.items()
        }


def _lines(experiment: Experiment, settings: Sequence[Setting], key: str | None) -> list[Line]:
    if key is None:
        return [Line("", 0, list(settings))]
    lines = []
    for look, value in enumerate(experiment.vary[key]):
        own = [setting for setting in settings if setting.values[key] == value]
        if own:
            lines.append(Line(f"{key} {value}" if key != "defense" else str(value), look, own))
    return lines


def _panels(title: str, experiment: Experiment, lines: Sequence[Line], k: int) -> Figure:
    figure = Figure(figsize=(8.4, 7.4), layout=ConstrainedLayoutEngine(w_pad=0.1, h_pad=0.08))
    figure.suptitle(title)
    grid = figure.subplots(len(SIDES), len(METRICS), sharey="col", squeeze=False)
    over_k = experiment.figure == "k"
    for side, row in zip(SIDES, grid, strict=True):
        for metric, axes in zip(METRICS, row, strict=True):
            measured = f"{LABELS[metric]}@k" if over_k else f"{LABELS[metric]}@{k}"
            axes.set(title=f"{side}, {measured}, test, %", xlabel=experiment.figure)
            if over_k:
                _over_k(axes, lines, metric, side)
            else:
                _over_key(axes, experiment, lines, metric, side, k)
            axes.grid(axis="y", color="#dddddd", linewidth=0.6)
            axes.set_axisbelow(True)
            axes.tick_params(labelleft=True)  # shared, but read one at a time
            axes.spines[["top", "right"]].set_visible(False)
    for axes in grid[0]:
        axes.set_ylim(bottom=0)  # last, for it ends the search for a range that fits the column
    if len(lines) > 1:
        handles, labels = grid[0, 0].get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside lower center", ncols=min(4, len(lines)), frameon=False)
    return figure


def _over_k(axes: Axes, lines: Sequence[Line], metric: str, side: str) -> None:
    longest = 1
    for line in lines:
        (setting,) = line.settings
        cut_offs = [k for k in CUT_OFFS if k <= setting.served_k]
        _draw(axes, line, cut_offs, [setting.spread(metric, side, k) for k in cut_offs])
        longest = max(longest, *cut_offs)
    _scale(axes, [k for k in CUT_OFFS if k <= longest])


def _over_key(axes: Axes, experiment: Experiment, lines: Sequence[Line], metric: str, side: str, k: int) -> None:
    values = experiment.vary[experiment.figure]
    places = _scale(axes, values)
    for line in lines:
        x = [places[values.index(setting.values[experiment.figure])] for setting in line.settings]
        order = np.argsort(x, kind="stable")
        points = [line.settings[i].spread(metric, side, k) for i in order]
        _draw(axes, line, [x[i] for i in order], points)


def _scale(axes: Axes, values: Sequence) -> list[float]:
    """Put ticks at the values and return their places: numbers at their value, other values side by side."""
    numbers = all(isinstance(value, Real) and not isinstance(value, bool) for value in values)
    places = [float(value) for value in values] if numbers else [float(i) for i in range(len(values))]
    if numbers and min(places) > 0 and max(places) >= LOG_FROM * min(places):
        axes.set_xscale("log")
    axes.xaxis.set_minor_locator(NullLocator())
    axes.set_xticks(places, [str(value) for value in values])
    return places


def _draw(axes: Axes, line: Line, x: Sequence[float], points: Sequence[Spread]) -> None:
    deviations = [100 * point.deviation for point in points]
    axes.errorbar(
        x,
        [100 * point.mean for point in points],
        yerr=None if np.isnan(deviations).all() else deviations,
        label=line.label,
        color=COLOURS[line.look % len(COLOURS)],
        marker=MARKERS[line.look % len(MARKERS)],
        linestyle=STYLES[line.look // len(COLOURS) % len(STYLES)],
        linewidth=1.4,
        markersize=5,
        capsize=3,
    )
