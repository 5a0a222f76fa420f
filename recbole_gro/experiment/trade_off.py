"""What a defense keeps of the target's quality against what the best attacker extracts."""

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from recbole_gro.experiment.cell import Cell
from recbole_gro.experiment.statistics import hits, ndcg
from recbole_gro.experiment.summary import UNDEFENDED
from recbole_gro.report.document import Block, Paragraph, Picture, Table
from recbole_gro.report.run_report import png

AT = 10  # of the surrogate's NDCG
METRICS = {"HR": hits, "NDCG": ndcg}
CUT_OFFS = (5, 10, 20, 50, 100)
FRONTIER = "NDCG@10"  # what must not be lost
PICTURED = ("NDCG@10", "NDCG@100")
LINE_HEIGHT = 0.042  # of a name in the picture, as a share of the axes


@dataclass
class Point:
    """One defense in one setting: means over seeds of shares, each of the undefended figure of the same seed.

    Attributes:
        name: the defense, and the values of the other varied keys where they make a difference.
        served: {metric: value of the service}, by name, such as HR@5.
        kept: {metric: share of the undefended target's that the service keeps}.
        extracted: NDCG@10 of the best attacker's surrogate, as a share of that of the attacker which is best against
            the undefended target.
        attacker: name of the best attacker.
        by_attacker: {attacker: the same share for each}.
        seeds: number of seeds behind each share.
        on_frontier: whether no other defense keeps as much and lets less be extracted.
    """

    name: str
    served: dict[str, float]
    kept: dict[str, float]
    extracted: float
    attacker: str
    by_attacker: dict[str, float]
    seeds: int
    on_frontier: bool = False


def points(cells: list[Cell]) -> list[Point]:
    """Return one point per defense and setting among the cells, the frontier marked.

    The best attacker is the one with the highest NDCG@10, mean over seeds, on the very defense: it is adaptive. Both
    sides of a share are of the same seeds (`paired_seeds`); a defense without such a seed has no point. Where the other
    varied keys make no difference to a defense, it is one point.
    """
    groups = _grouped(cells)
    found: dict[str, dict[str, Point]] = defaultdict(dict)
    for (defense, *rest), attacks in groups.items():
        undefended = groups.get((UNDEFENDED, *rest), {})
        seeds = paired_seeds(attacks, undefended)
        best = max((_extracted(by_seed, seeds) for by_seed in undefended.values()), default=0.0) if seeds else 0.0
        if not best:
            continue
        pairs = [[_metrics(next(iter(side.values()))[seed]) for side in (attacks, undefended)] for seed in seeds]
        served = {name: float(np.mean([own[name] for own, _ in pairs])) for name in pairs[0][0]}
        kept = {name: float(np.mean([_share(own[name], other[name]) for own, other in pairs])) for name in served}
        shares = {name: _extracted(by_seed, seeds) / best for name, by_seed in attacks.items()}
        worst = max(shares, key=lambda name: shares[name])
        found[defense][_in_words(rest)] = Point(defense, served, kept, shares[worst], worst, shares, len(seeds))
    named = [point for defense, settings in found.items() for point in _named(defense, settings)]
    for point in named:
        point.on_frontier = on_frontier(point, named, FRONTIER)
    return named


def unpaired(cells: list[Cell]) -> list[str]:
    """Name the defenses and seeds that no point holds, as the other side has no cell of the same seed."""
    groups = _grouped(cells)
    left_out = []
    for (defense, *rest), attacks in groups.items():
        seeds = set().union(*attacks.values()) - set(paired_seeds(attacks, groups.get((UNDEFENDED, *rest), {})))
        if seeds:
            left_out.append(
                f"{', '.join(filter(None, (defense, _in_words(rest))))}: {', '.join(map(str, sorted(seeds)))}"
            )
    return left_out


def paired_seeds(attacks: dict[str, dict[int, Cell]], undefended: dict[str, dict[int, Cell]]) -> list[int]:
    """Return the seeds that every attack on a defense and every attack on the undefended target was run with."""
    if not undefended:
        return []
    return sorted(set.intersection(*map(set, (*attacks.values(), *undefended.values()))))


def _grouped(cells: list[Cell]) -> dict[tuple, dict[str, dict[int, Cell]]]:
    """{(defense, other varied keys): {attacker: {seed: cell}}}."""
    groups: dict[tuple, dict[str, dict[int, Cell]]] = defaultdict(lambda: defaultdict(dict))
    for cell in cells:
        groups[_setting(cell)][str(cell.values.get("attacker", "standard"))][cell.seed] = cell
    return groups


def _in_words(rest: list[tuple[str, str]]) -> str:
    return ", ".join(f"{name} {value}" for name, value in rest)


def _named(defense: str, settings: dict[str, Point]) -> list[Point]:
    """The points of a defense by the other varied keys, named by them too where they make a difference."""
    first, *others = settings.values()
    if others and all(other == first for other in others):
        return [first]
    for words, point in settings.items():
        point.name = f"{defense} ({words})" if words else defense
    return list(settings.values())


def _setting(cell: Cell) -> tuple[Any, ...]:
    """The defense and the other varied keys, the attacker aside."""
    rest = tuple(sorted((k, str(v)) for k, v in cell.values.items() if k not in ("defense", "attacker")))
    return (str(cell.values.get("defense", UNDEFENDED)), *rest)


def _metrics(cell: Cell) -> dict[str, float]:
    return {
        f"{name}@{k}": float(of_users(cell.target_ranks, k).mean())
        for name, of_users in METRICS.items()
        for k in CUT_OFFS
        if k <= cell.facts["served_k"]
    }


def _extracted(by_seed: dict[int, Cell], seeds: list[int]) -> float:
    return float(np.mean([ndcg(by_seed[seed].surrogate_ranks, AT).mean() for seed in seeds]))


def _share(part: float, whole: float) -> float:
    return part / whole if whole else np.nan


def on_frontier(point: Point, found: list[Point], metric: str) -> bool:
    """Return whether no other point keeps as much of the metric with less extracted, or more with as little."""

    def beats(other: Point) -> bool:
        more, less = other.kept[metric] - point.kept[metric], point.extracted - other.extracted
        return more >= 0 and less >= 0 and more + less > 0

    return not any(map(beats, found))


def draw(axes: Axes, found: list[Point], metric: str) -> None:
    """Draw the points: share kept on the x axis, share extracted by the best attacker on y; the frontier is joined.

    The names stand beside the axes, one per line, highest first: most points lie on one vertical line.
    """
    top = 1.05 * max(1.0, *(point.extracted for point in found))
    axes.set_ylim(0, top)
    ordered = sorted(found, key=lambda point: (-point.extracted, -point.kept[metric]))
    heights = _apart([point.extracted / top for point in ordered], LINE_HEIGHT)
    frontier = [point for point in found if on_frontier(point, found, metric)]
    for point, height in zip(ordered, heights, strict=True):
        colour = "#1b6ca8" if point in frontier else "#6e6e6e"
        axes.scatter(point.kept[metric], point.extracted, color=colour, zorder=3)
        axes.annotate(
            f"{point.extracted:.2f} {point.name} [{point.attacker}]", (point.kept[metric], point.extracted),
            xytext=(1.03, height), textcoords="axes fraction", va="center", fontsize=8, color=colour,
            arrowprops={"arrowstyle": "-", "color": "#bbbbbb", "linewidth": 0.6, "relpos": (0, 0.5)},
        )  # fmt: skip
    ends = sorted((point.kept[metric], point.extracted) for point in frontier)
    axes.plot(*zip(*ends, strict=True), color="#1b6ca8", linewidth=1)
    axes.set_xlabel(f"{metric} of the target / undefended")
    axes.set_ylabel(f"NDCG@{AT} of the best attacker's surrogate / undefended")
    axes.grid(alpha=0.3)


def _apart(wanted: list[float], gap: float) -> list[float]:
    """Move falling heights down until neighbours are a gap apart.

    >>> _apart([0.5, 0.5, 0.2], 0.1)
    [0.5, 0.4, 0.2]
    """
    placed: list[float] = []
    for height in wanted:
        placed.append(min(height, placed[-1] - gap) if placed else height)
    return placed


def attackers_table(found: list[Point]) -> tuple[list[str], list[list[str]]]:
    """Return head and rows: one row per point, one column per attacker; a star marks the frontier."""
    attackers = list(dict.fromkeys(name for point in found for name in point.by_attacker))
    head = ["defense", f"{FRONTIER} kept", "best attacker", "its share", *attackers, "seeds"]
    rows = []
    for point in found:
        shares = [f"{point.by_attacker[name]:.2f}" if name in point.by_attacker else "" for name in attackers]
        name = f"{point.name} *" if point.on_frontier else point.name
        rows.append(
            [name, f"{point.kept[FRONTIER]:.3f}", point.attacker, f"{point.extracted:.2f}", *shares, f"{point.seeds}"]
        )
    return head, rows


def quality_table(found: list[Point]) -> tuple[list[str], list[list[str]]]:
    """Return head and rows: one row per point, each metric in percent and, in brackets, over the undefended one."""
    rows = []
    for point in found:
        cells = [f"{100 * value:.2f} ({point.kept[name]:.2f})" for name, value in point.served.items()]
        rows.append([point.name, *cells])
    return ["defense", *found[0].served], rows


def picture(found: list[Point], metric: str) -> Figure:
    """Return the figure of all points for one metric of the target."""
    figure = Figure(figsize=(10, 6), layout="constrained")
    draw(figure.subplots(), found, metric)
    return figure


def trade_off_blocks(cells: list[Cell]) -> Iterator[Block]:
    """Yield the tables and pictures of a report on utility against extraction, and the seeds that they leave out."""
    found, left_out = points(cells), unpaired(cells)
    if left_out:
        yield Paragraph(
            "Shares compare equal seeds only. Left out, as not every attack on both the defense and the undefended "
            f"target was run with the seed: {'; '.join(left_out)}."
        )
    if not found:
        yield Paragraph(f"No picture: no defense shares a seed with defense {UNDEFENDED}.")
        return
    yield Table(
        "NDCG@10 of each attacker's surrogate over that of the best attacker on the undefended target, means over the "
        "same seeds. A defense is rated by its worst case, the attacker with the largest share. "
        f"*: no other defense keeps as much {FRONTIER} with less extracted.",
        *attackers_table(found),
    )
    yield Table(
        "Metrics of the service. Percent, mean over seeds; in brackets over those of the undefended target. A defense "
        "that leaves the first ten items alone keeps NDCG@10 whatever it does below; longer lists show its cost.",
        *quality_table(found),
    )
    for metric in PICTURED:
        if metric in found[0].kept:
            yield Picture(
                f"trade-off-{metric.lower().replace('@', '-')}.png",
                png(picture(found, metric)),
                f"{metric} that the service keeps against NDCG@10 of the best attacker's surrogate",
                f"x axis: {metric} of the service over that of the undefended target. y axis: NDCG@10 of the best "
                "attacker's surrogate over that of the best attacker on the undefended target; [its name].",
            )
