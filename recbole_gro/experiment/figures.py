"""Figures of target and surrogate, HR and NDCG, one line or marker per defense, with error bars over seeds."""

from collections.abc import Sequence
from dataclasses import dataclass
from numbers import Real
from typing import Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.ticker import NullLocator

from recbole_gro.experiment.plan import Experiment, in_words
from recbole_gro.experiment.statistics import Spread
from recbole_gro.experiment.summary import CUT_OFFS, METRICS, SIDES, Setting
from recbole_gro.report.run_report import LABELS, png

# The palette of Okabe and Ito for colour-blind readers, without its yellow, which is pale on white
COLOURS = ("#000000", "#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9")
MARKERS = ("o", "s", "^", "D", "v", "P", "X")
STYLES = ("-", "--", ":")
LOG_FROM = 20  # the largest x over the smallest


@dataclass
class Line:
    """One line of a figure.

    Attributes:
        label: in the legend, which a single line lacks.
        look: place among all lines, which decides its colour and marker; the same in all figures.
        points: value on the x axis, setting, and cut-off of the metric.
    """

    label: str
    look: int
    points: list[tuple[Any, Setting, int]]


def pictures(experiment: Experiment, settings: Sequence[Setting], k: int) -> dict[str, bytes]:
    """Draw a png per name, such as "surrogate_model NARM"; a single one has the experiment's title.

    Its four panels are in the paper's layout; with the target on the x axis there are two. The lines are the defenses,
    or the values of another key with baselines, or of the first varied key that is not on the x axis; each combination
    of values of further keys has a figure of its own.

    Args:
        experiment: its `figure` is on the x axis.
        settings: finished settings.
        k: cut-off of HR and NDCG where k is not on the x axis.
    """
    others = [key for key in experiment.vary if key != experiment.figure]
    by_line = next((key for key in (*experiment.against, *others) if key in others), None)
    figures: dict[str, list[Setting]] = {}
    for setting in settings:
        apart = {key: setting.values[key] for key in others if key != by_line}
        figures.setdefault(in_words(apart) or experiment.title, []).append(setting)
    # names are shown literally, and a dollar sign begins no formula
    with matplotlib.rc_context({"text.parse_math": False}):
        lines = {name: _lines(experiment, own, by_line, k) for name, own in figures.items()}
        if experiment.figure == "target":
            return {name: png(_against_target(name, own, k)) for name, own in lines.items()}
        return {name: png(_panels(name, experiment, own, k)) for name, own in lines.items()}


def _lines(experiment: Experiment, settings: Sequence[Setting], key: str | None, k: int) -> list[Line]:
    if key is None:
        return [Line("", 0, _points(experiment.figure, settings, k))]
    lines = []
    for look, value in enumerate(experiment.vary[key]):
        own = [setting for setting in settings if setting.values[key] == value]
        if own:
            label = str(value) if key in experiment.against else f"{key} {value}"
            lines.append(Line(label, look, _points(experiment.figure, own, k)))
    return lines


def _points(on_x: str, settings: Sequence[Setting], k: int) -> list[tuple[Any, Setting, int]]:
    if on_x != "k":
        return [(setting.values.get(on_x), setting, k) for setting in settings]
    (setting,) = settings
    return [(cut_off, setting, cut_off) for cut_off in CUT_OFFS if cut_off <= setting.served_k]


def _panels(title: str, experiment: Experiment, lines: Sequence[Line], k: int) -> Figure:
    figure = Figure(figsize=(8.4, 7.4), layout=ConstrainedLayoutEngine(w_pad=0.1, h_pad=0.08))
    figure.suptitle(title)
    grid = figure.subplots(len(SIDES), len(METRICS), sharey="col", squeeze=False)
    on_x = experiment.figure
    values = list(experiment.vary.get(on_x, ())) or sorted({x for line in lines for x, *_ in line.points})
    for side, row in zip(SIDES, grid, strict=True):
        for metric, axes in zip(METRICS, row, strict=True):
            axes.set(title=f"{side}, {LABELS[metric]}@{'k' if on_x == 'k' else k}, test, %", xlabel=on_x)
            places = _scale(axes, values)
            for line in lines:
                points = sorted((places[values.index(x)], of.spread(metric, side, at)) for x, of, at in line.points)
                _draw(axes, line, points)
            axes.grid(axis="y", color="#dddddd", linewidth=0.6)
            axes.set_axisbelow(True)
            axes.tick_params(labelleft=True)  # sharey hides those of the right column
            axes.spines[["top", "right"]].set_visible(False)
    for axes in grid[0]:
        axes.set_ylim(bottom=0)  # last, as it ends the automatic scaling of the column
    _legend(figure, lines)
    return figure


def _against_target(title: str, lines: Sequence[Line], k: int) -> Figure:
    """Draw the surrogate's metric against the target's: HR on the left, NDCG on the right."""
    figure = Figure(figsize=(8.4, 4.4), layout=ConstrainedLayoutEngine(w_pad=0.1, h_pad=0.08))
    figure.suptitle(title)
    for metric, axes in zip(METRICS, figure.subplots(1, len(METRICS)), strict=True):
        axes.set(title=f"{LABELS[metric]}@{k}, test, %", xlabel="target", ylabel="surrogate")
        for line in lines:
            target, surrogate = ([of.spread(metric, side, at) for _, of, at in line.points] for side in SIDES)
            _draw(axes, line, [(100 * x.mean, y) for x, y in zip(target, surrogate, strict=True)], target)
        axes.margins(0.15)
        axes.grid(color="#dddddd", linewidth=0.6)
        axes.set_axisbelow(True)
        axes.spines[["top", "right"]].set_visible(False)
    _legend(figure, lines)
    return figure


def _legend(figure: Figure, lines: Sequence[Line]) -> None:
    if len(lines) > 1:
        handles, labels = figure.axes[0].get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside lower center", ncols=min(4, len(lines)), frameon=False)


def _scale(axes: Axes, values: Sequence) -> list[float]:
    """Put ticks at the values and return their places: numbers at their value, other values at 0, 1, 2, ..."""
    numbers = all(isinstance(value, Real) and not isinstance(value, bool) for value in values)
    places = [float(value) for value in values] if numbers else [float(i) for i in range(len(values))]
    if numbers and min(places) > 0 and max(places) >= LOG_FROM * min(places):
        axes.set_xscale("log")
    axes.xaxis.set_minor_locator(NullLocator())
    axes.set_xticks(places, [str(value) for value in values])
    return places


def _draw(
    axes: Axes, line: Line, points: Sequence[tuple[float, Spread]], horizontal: Sequence[Spread] | None = None
) -> None:
    axes.errorbar(
        [x for x, _ in points],
        [100 * spread.mean for _, spread in points],
        yerr=_deviations([spread for _, spread in points]),
        xerr=horizontal and _deviations(horizontal),
        label=line.label,
        color=COLOURS[line.look % len(COLOURS)],
        marker=MARKERS[line.look % len(MARKERS)],
        linestyle=STYLES[line.look // len(COLOURS) % len(STYLES)],
        linewidth=1.4,
        markersize=5,
        capsize=3,
    )


def _deviations(spreads: Sequence[Spread]) -> list[float] | None:
    found = [100 * spread.deviation for spread in spreads]
    return None if np.isnan(found).all() else found
