"""What a defense keeps of the target, against what the best attacker gets out of it."""

from collections import defaultdict
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from recbole_gro.experiment.cell import Cell
from recbole_gro.experiment.statistics import hits, ndcg

AT = 10  # of the surrogate's NDCG
METRICS = {"HR": hits, "NDCG": ndcg}
CUT_OFFS = (5, 10, 20, 50, 100)
FRONTIER = "NDCG@10"  # what must not be lost
PICTURED = ("NDCG@10", "NDCG@100")
LINE_HEIGHT = 0.042  # of a name in the picture, as a share of the axes


@dataclass
class Point:
    """A defense in one setting; everything a mean over seeds of shares of the undefended target's figures.

    Attributes:
        name: the defense, and what else varies.
        served: {metric: of the service}, by name, such as HR@5.
        kept: {metric: share of the undefended target's that the service keeps}.
        stolen: NDCG@10 of the surrogate of the best attacker, as a share of that of the best on the undefended target.
        attacker: who that is.
        by_attacker: {attacker: the same share for each}.
        on_frontier: whether no other defense keeps as much and gives less.
    """

    name: str
    served: dict[str, float]
    kept: dict[str, float]
    stolen: float
    attacker: str
    by_attacker: dict[str, float]
    on_frontier: bool = False


def points(cells: list[Cell]) -> list[Point]:
    """A point for every defense and setting among the cells, the frontier marked.

    The best attacker is the one with the highest NDCG@10, mean over seeds, on the very defense: he is taken to know
    it. Cells without an undefended one of the same seed and setting are passed over. Where what else varies makes no
    difference to a defense, it is one point.
    """
    groups: dict[tuple, dict[str, dict[int, Cell]]] = defaultdict(lambda: defaultdict(dict))
    for cell in cells:
        groups[_setting(cell)][str(cell.values.get("attacker", "standard"))][cell.seed] = cell
    found: dict[str, dict[str, Point]] = defaultdict(dict)
    for (defense, *rest), attackers in groups.items():
        plain = groups.get(("none", *rest), {})
        best_plain = max((_stolen(by_seed) for by_seed in plain.values()), default=0.0)
        reference = next(iter(plain.values()), {})
        own = next(iter(attackers.values()))
        seeds = sorted(set(own) & set(reference))
        if not seeds or not best_plain:
            continue
        of_seeds = [_metrics(own[seed]) for seed in seeds]
        without = [_metrics(reference[seed]) for seed in seeds]
        served = {name: float(np.mean([metrics[name] for metrics in of_seeds])) for name in of_seeds[0]}
        kept = {
            name: float(np.mean([_share(one[name], other[name]) for one, other in zip(of_seeds, without, strict=True)]))
            for name in served
        }
        shares = {name: _stolen(by_seed) / best_plain for name, by_seed in attackers.items()}
        worst = max(shares, key=lambda name: shares[name])
        told = ", ".join(f"{name} {value}" for name, value in rest)
        found[defense][told] = Point(defense, served, kept, shares[worst], worst, shares)
    named = [point for defense, settings in found.items() for point in _named(defense, settings)]
    for point in named:
        point.on_frontier = on_frontier(point, named, FRONTIER)
    return named


def _named(defense: str, settings: dict[str, Point]) -> list[Point]:
    """The points of a defense by what else varies, named by that too where it makes a difference."""
    first, *others = settings.values()
    if others and all(other == first for other in others):
        return [first]
    for told, point in settings.items():
        point.name = f"{defense} ({told})" if told else defense
    return list(settings.values())


def _setting(cell: Cell) -> tuple[Any, ...]:
    """The defense and whatever else varies, the attacker aside."""
    rest = tuple(sorted((k, str(v)) for k, v in cell.values.items() if k not in ("defense", "attacker")))
    return (str(cell.values.get("defense", "none")), *rest)


def _metrics(cell: Cell) -> dict[str, float]:
    return {
        f"{name}@{k}": float(of_users(cell.target_ranks, k).mean())
        for name, of_users in METRICS.items()
        for k in CUT_OFFS
        if k <= cell.facts["served_k"]
    }


def _stolen(by_seed: dict[int, Cell]) -> float:
    return float(np.mean([ndcg(cell.surrogate_ranks, AT).mean() for cell in by_seed.values()]))


def _share(part: float, whole: float) -> float:
    return part / whole if whole else np.nan


def on_frontier(point: Point, found: list[Point], metric: str) -> bool:
    """Whether no other keeps as much of the metric and gives less, or more and gives as little."""

    def beats(other: Point) -> bool:
        more, less = other.kept[metric] - point.kept[metric], point.stolen - other.stolen
        return more >= 0 and less >= 0 and more + less > 0

    return not any(map(beats, found))


def draw(axes: Axes, found: list[Point], metric: str) -> None:
    """Points of `points`: to the right what is kept, upwards what the best attacker gets; the frontier joined.

    The names stand beside the axes, each on a line of its own, highest first: most points lie on one upright line.
    """
    top = 1.05 * max(1.0, *(point.stolen for point in found))
    axes.set_ylim(0, top)
    ordered = sorted(found, key=lambda point: (-point.stolen, -point.kept[metric]))
    heights = _apart([point.stolen / top for point in ordered], LINE_HEIGHT)
    frontier = [point for point in found if on_frontier(point, found, metric)]
    for point, height in zip(ordered, heights, strict=True):
        colour = "#1b6ca8" if point in frontier else "#6e6e6e"
        axes.scatter(point.kept[metric], point.stolen, color=colour, zorder=3)
        axes.annotate(
            f"{point.stolen:.2f} {point.name} [{point.attacker}]", (point.kept[metric], point.stolen),
            xytext=(1.03, height), textcoords="axes fraction", va="center", fontsize=8, color=colour,
            arrowprops={"arrowstyle": "-", "color": "#bbbbbb", "linewidth": 0.6, "relpos": (0, 0.5)},
        )  # fmt: skip
    ends = sorted((point.kept[metric], point.stolen) for point in frontier)
    axes.plot(*zip(*ends, strict=True), color="#1b6ca8", linewidth=1)
    axes.set_xlabel(f"share of the target's {metric} kept")
    axes.set_ylabel("best attacker's share of what he gets undefended")
    axes.grid(alpha=0.3)


def _apart(wanted: list[float], gap: float) -> list[float]:
    """Falling heights, moved down as far as a gap between neighbours asks for.

    >>> _apart([0.5, 0.5, 0.2], 0.1)
    [0.5, 0.4, 0.2]
    """
    placed: list[float] = []
    for height in wanted:
        placed.append(min(height, placed[-1] - gap) if placed else height)
    return placed


def attackers_table(found: list[Point]) -> tuple[list[str], list[list[str]]]:
    """Head and rows: a row a point, a column an attacker; a star marks the frontier."""
    attackers = list(dict.fromkeys(name for point in found for name in point.by_attacker))
    head = ["defense", f"{FRONTIER} kept", "best attacker", "his share", *attackers]
    rows = []
    for point in found:
        shares = [f"{point.by_attacker[name]:.2f}" if name in point.by_attacker else "" for name in attackers]
        name = f"{point.name} *" if point.on_frontier else point.name
        rows.append([name, f"{point.kept[FRONTIER]:.3f}", point.attacker, f"{point.stolen:.2f}", *shares])
    return head, rows


def quality_table(found: list[Point]) -> tuple[list[str], list[list[str]]]:
    """Head and rows: a row a point; each metric of the service in percent, and the share of the undefended one."""
    rows = []
    for point in found:
        cells = [f"{100 * value:.2f} ({point.kept[name]:.2f})" for name, value in point.served.items()]
        rows.append([point.name, *cells])
    return ["defense", *found[0].served], rows


def picture(found: list[Point], metric: str) -> Figure:
    """Every point of `points`: to the right what is kept of a metric, upwards what the best attacker gets."""
    figure = Figure(figsize=(10, 6), layout="constrained")
    draw(figure.subplots(), found, metric)
    return figure
