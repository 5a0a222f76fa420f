"""Tables and pictures of the utility that a defense keeps against the accuracy that the best surrogate gains."""

from collections.abc import Iterator, Sequence

import numpy as np
from matplotlib.figure import Figure

from recbole_gro.experiment.summary import Setting
from recbole_gro.experiment.trade_off_points import (
    AT,
    FRONTIER,
    QUALITY,
    Planned,
    Point,
    on_frontier,
    points,
    unpaired,
    without_gain,
)
from recbole_gro.quick_start.references import UNDEFENDED
from recbole_gro.report.document import Block, Paragraph, Picture, Table
from recbole_gro.report.run_report import png

PICTURED = ("NDCG@10", "NDCG@100")
LINE_HEIGHT = 0.042  # of a name in the picture, as a share of the axes


def _apart(heights: list[float], gap: float) -> list[float]:
    """Return falling heights, moved down until neighbours are a gap apart.

    >>> _apart([0.5, 0.5, 0.2], 0.1)
    [0.5, 0.4, 0.2]
    """
    placed: list[float] = []
    for height in heights:
        placed.append(min(height, placed[-1] - gap) if placed else height)
    return placed


def attackers_table(found: list[Point]) -> tuple[list[str], list[list[str]]]:
    """Return head and rows: one row per point, with the share extracted per attacker; a star marks the frontier."""
    attackers = list(dict.fromkeys(name for point in found for name in point.by_attacker))
    head = ["defense", f"{FRONTIER} kept", "best attacker", "its share", *attackers, "seeds"]
    rows = []
    for point in found:
        shares = [f"{point.by_attacker[name]:.2f}" if name in point.by_attacker else "" for name in attackers]
        name = f"{point.name} *" if point.on_frontier else point.name
        rows.append(
            [
                name,
                _or_none(point.kept[FRONTIER], 3),
                point.attacker,
                f"{point.extracted:.2f}",
                *shares,
                f"{point.seeds}",
            ]
        )
    return head, rows


def _or_none(share: float, digits: int) -> str:
    return "n/a" if np.isnan(share) else f"{share:.{digits}f}"


def quality_table(found: list[Point]) -> tuple[list[str], list[list[str]]]:
    """Return head and rows: one row per point, each metric in percent and, in brackets, the share kept.

    A metric whose cut-off is beyond a point's lists is blank there.
    """
    names = [name for name in QUALITY if any(name in point.served for point in found)]
    rows = []
    for point in found:
        cells = {name: f"{100 * value:.2f} ({_or_none(point.kept[name], 2)})" for name, value in point.served.items()}
        rows.append([point.name, *(cells.get(name, "") for name in names)])
    return ["defense", *names], rows


def picture(found: list[Point], metric: str) -> Figure:
    """Return the figure of all points: the share kept of a metric on the x axis, the share extracted on the y axis.

    The frontier of each target is joined. Names stand beside the axes, one per line: most points lie on one vertical
    line.
    """
    figure = Figure(figsize=(10, 6), layout="constrained")
    axes = figure.subplots()
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
    for target in dict.fromkeys(point.target for point in frontier):
        ends = sorted((point.kept[metric], point.extracted) for point in frontier if point.target == target)
        axes.plot(*zip(*ends, strict=True), color="#1b6ca8", linewidth=1)
    axes.set_xlabel(f"{metric} of the target / undefended")
    axes.set_ylabel(f"gain in NDCG@{AT} of the best attacker's surrogate / undefended")
    axes.grid(alpha=0.3)
    return figure


def trade_off_blocks(settings: Sequence[Setting], planned: Planned = ()) -> Iterator[Block]:
    """Yield the tables and pictures of a report on utility against extraction, and what they leave out.

    Args:
        settings: those that have cells.
        planned: as of `points`.
    """
    found = points(settings, planned)
    left_out, gainless = unpaired(settings, planned), without_gain(settings, planned)
    no_hit = (
        " n/a: the undefended target hits nothing." if any(np.isnan(point.kept[FRONTIER]) for point in found) else ""
    )
    if left_out:
        yield Paragraph(
            "Shares compare equal seeds only. Left out, as not every attack on both the defense and the undefended "
            f"target was run with the seed: {'; '.join(left_out)}."
        )
    if gainless:
        yield Paragraph(
            f"No share, as no attack on the undefended target gained anything there: {'; '.join(gainless)}."
        )
    if not found:
        yield Paragraph(
            f"No picture: no defense shares a seed with defense {UNDEFENDED} at which an attack on it gained anything."
        )
        return
    yield Table(
        "Gain of each attacker over that of the best attacker on the undefended target, means over the same seeds. A "
        "gain is NDCG@10 of the surrogate less that of the untrained one; a share below 0 is shown as 0. A defense is "
        "rated by its worst case, the attacker with the largest share. "
        f"*: no other defense keeps as much {FRONTIER} with less extracted.{no_hit}",
        *attackers_table(found),
    )
    yield Table(
        "Metrics of the service. Percent, mean over seeds; in brackets over those of the undefended target. A defense "
        "that leaves the first ten items alone keeps NDCG@10 whatever it does below, unless exclude_seen moves what is "
        "below up; longer cut-offs show its cost.",
        *quality_table(found),
    )
    for metric in PICTURED:
        if shown := [point for point in found if not np.isnan(point.kept.get(metric, np.nan))]:
            shorter = "" if all(metric in point.kept for point in found) else " Without the settings of shorter lists."
            yield Picture(
                f"trade-off-{metric.lower().replace('@', '-')}.png",
                png(picture(shown, metric)),
                f"share of {metric} that the service keeps against the gain of the best attacker's surrogate",
                f"x axis: {metric} of the service over that of the undefended target. y axis: gain in NDCG@10 of the "
                "best attacker's surrogate over that of the best attacker on the undefended target; [its name]."
                f"{shorter}",
            )
