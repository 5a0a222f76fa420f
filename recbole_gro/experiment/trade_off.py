"""Utility that a defense keeps against the accuracy that the best attacker's surrogate gains."""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.figure import Figure

from recbole_gro.attack import STRONGEST
from recbole_gro.experiment.plan import in_words
from recbole_gro.experiment.summary import METRICS, Setting
from recbole_gro.quick_start.references import UNDEFENDED, UNTRAINED
from recbole_gro.report.document import Block, Paragraph, Picture, Table
from recbole_gro.report.run_report import label, png

AT = 10  # of the surrogate's NDCG
CUT_OFFS = (5, 10, 20, 50, 100)
QUALITY = {label(f"{metric}@{k}"): (metric, k) for metric in METRICS for k in CUT_OFFS}
FRONTIER = "NDCG@10"  # the utility that the frontier is about
PICTURED = ("NDCG@10", "NDCG@100")
LINE_HEIGHT = 0.042  # of a name in the picture, as a share of the axes
Attacks = dict[str, Setting]  # on one defense, by attacker


@dataclass
class Point:
    """One defense in one setting: means over seeds of shares, each of the undefended value at the same seed.

    Attributes:
        name: the defense, and the values of the other varied keys where they make a difference.
        served: {metric such as HR@5: value of the service}.
        kept: {metric: share of the undefended target's value that the service keeps}.
        extracted: gain of the best attacker over that of the best attacker on the undefended target; a gain is NDCG@10
            of the surrogate less that of the untrained one, and a share is at least 0.
        attacker: name of the best attacker.
        by_attacker: {attacker: the same share}.
        seeds: number of seeds behind each share.
        on_frontier: whether no other defense keeps as much with less extracted.
    """

    name: str
    served: dict[str, float]
    kept: dict[str, float]
    extracted: float
    attacker: str
    by_attacker: dict[str, float]
    seeds: int
    on_frontier: bool = False


def points(settings: Sequence[Setting]) -> list[Point]:
    """Return one point per defense and values of other varied keys, the frontier marked.

    The best attacker is the one with the highest gain, mean over seeds, on the very defense: it is adaptive. Both
    sides of a share are of the same seeds (`_paired_seeds`); a defense without such a seed has no point, nor has one of
    `without_gain`. Where the other varied keys make no difference to a defense, it is one point.
    """
    found: dict[str, dict[str, Point]] = defaultdict(dict)
    for defense, rest, attacks, undefended in _paired(settings):
        seeds = _paired_seeds(attacks, undefended)
        if (best := _most_gained(undefended, seeds)) <= 0:
            continue
        own, other = (_metrics(next(iter(side.values())).with_seeds(seeds)) for side in (attacks, undefended))
        served = {name: float(values.mean()) for name, values in own.items()}
        kept = {name: float(_shares(values, other[name]).mean()) for name, values in own.items()}
        shares = {name: max(0.0, _gained(attack, seeds) / best) for name, attack in attacks.items()}
        worst = max(shares, key=lambda name: shares[name])
        found[defense][rest] = Point(defense, served, kept, shares[worst], worst, shares, len(seeds))
    named = [point for defense, by_rest in found.items() for point in _named(defense, by_rest)]
    for point in named:
        point.on_frontier = on_frontier(point, named, FRONTIER)
    return named


def unpaired(settings: Sequence[Setting]) -> list[str]:
    """Return the defenses and seeds that no point includes, as the other side has no cell of the same seed."""
    left_out = []
    for defense, rest, attacks, undefended in _paired(settings):
        seeds = set().union(*(attack.seeds for attack in attacks.values())) - set(_paired_seeds(attacks, undefended))
        if seeds:
            left_out.append(f"{_in_short(defense, rest)}: {', '.join(map(str, sorted(seeds)))}")
    return left_out


def without_gain(settings: Sequence[Setting]) -> list[str]:
    """Return the defenses that have no point, as no attack on their undefended target gained anything."""
    return [
        _in_short(defense, rest)
        for defense, rest, attacks, undefended in _paired(settings)
        if (seeds := _paired_seeds(attacks, undefended)) and _most_gained(undefended, seeds) <= 0
    ]


def _in_short(defense: str, rest: str) -> str:
    return ", ".join(filter(None, (defense, rest)))


def _paired_seeds(attacks: Attacks, undefended: Attacks) -> list[int]:
    """Return the seeds with cells of every attack on a defense and of every attack on the undefended target."""
    if not undefended:
        return []
    return sorted(set.intersection(*(set(attack.seeds) for attack in (*attacks.values(), *undefended.values()))))


def _paired(settings: Sequence[Setting]) -> Iterator[tuple[str, str, Attacks, Attacks]]:
    """Yield each defense, the other varied keys, the attacks on it, and those on the undefended target."""
    groups: dict[tuple[str, str], Attacks] = defaultdict(dict)
    for setting in settings:
        rest = {key: value for key, value in sorted(setting.values.items()) if key not in ("defense", "attacker")}
        defense = str(setting.values.get("defense", UNDEFENDED))
        groups[defense, in_words(rest)][_attacker(setting)] = setting
    for (defense, words), attacks in groups.items():
        yield defense, words, attacks, groups.get((UNDEFENDED, words), {})


def _attacker(setting: Setting) -> str:
    """Return the name of a setting's attacker: the varied value, or what its cells say where it does not vary."""
    facts = setting.cells[0].facts
    default = STRONGEST if facts.get("strongest") else facts.get("attacker", "standard")
    return str(setting.values.get("attacker", default))


def _named(defense: str, by_rest: dict[str, Point]) -> list[Point]:
    """Return the points of a defense, named by the other varied keys too where they make a difference."""
    first, *others = by_rest.values()
    if others and all(other == first for other in others):
        return [first]
    for words, point in by_rest.items():
        point.name = f"{defense} ({words})" if words else defense
    return list(by_rest.values())


def _metrics(setting: Setting) -> dict[str, np.ndarray]:
    """Return {metric: its values [S] per seed} of the service."""
    return {
        name: setting.measured(metric, "target", k).mean(axis=1)
        for name, (metric, k) in QUALITY.items()
        if k <= setting.served_k
    }


def _most_gained(attacks: Attacks, seeds: list[int]) -> float:
    """Return the gain of the best attack; 0 without a seed."""
    return max(_gained(attack, seeds) for attack in attacks.values()) if seeds else 0.0


def _gained(attack: Setting, seeds: list[int]) -> float:
    surrogate, untrained = (attack.with_seeds(seeds).spread("ndcg", side, AT).mean for side in ("surrogate", UNTRAINED))
    return surrogate - untrained


def _shares(parts: np.ndarray, wholes: np.ndarray) -> np.ndarray:
    return np.divide(parts, wholes, out=np.full_like(parts, np.nan), where=wholes != 0)


def on_frontier(point: Point, found: list[Point], metric: str) -> bool:
    """Return whether no other point keeps as much of a metric with less extracted, or more with as little.

    Args:
        point: one of `found`.
        found: all points.
        metric: of the service, such as NDCG@10.
    """

    def beats(other: Point) -> bool:
        more, less = other.kept[metric] - point.kept[metric], point.extracted - other.extracted
        return more >= 0 and less >= 0 and more + less > 0

    return not any(map(beats, found))


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
            [name, f"{point.kept[FRONTIER]:.3f}", point.attacker, f"{point.extracted:.2f}", *shares, f"{point.seeds}"]
        )
    return head, rows


def quality_table(found: list[Point]) -> tuple[list[str], list[list[str]]]:
    """Return head and rows: one row per point, each metric in percent and, in brackets, the share kept.

    A metric whose cut-off is beyond a point's lists is blank there.
    """
    names = [name for name in QUALITY if any(name in point.served for point in found)]
    rows = []
    for point in found:
        cells = {name: f"{100 * value:.2f} ({point.kept[name]:.2f})" for name, value in point.served.items()}
        rows.append([point.name, *(cells.get(name, "") for name in names)])
    return ["defense", *names], rows


def picture(found: list[Point], metric: str) -> Figure:
    """Return the figure of all points: the share kept of a metric on the x axis, the share extracted on the y axis.

    The frontier is joined. Names stand beside the axes, one per line: most points lie on one vertical line.
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
    ends = sorted((point.kept[metric], point.extracted) for point in frontier)
    axes.plot(*zip(*ends, strict=True), color="#1b6ca8", linewidth=1)
    axes.set_xlabel(f"{metric} of the target / undefended")
    axes.set_ylabel(f"gain in NDCG@{AT} of the best attacker's surrogate / undefended")
    axes.grid(alpha=0.3)
    return figure


def trade_off_blocks(settings: Sequence[Setting]) -> Iterator[Block]:
    """Yield the tables and pictures of a report on utility against extraction, and what they leave out."""
    found, left_out, gainless = points(settings), unpaired(settings), without_gain(settings)
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
        f"*: no other defense keeps as much {FRONTIER} with less extracted.",
        *attackers_table(found),
    )
    yield Table(
        "Metrics of the service. Percent, mean over seeds; in brackets over those of the undefended target. A defense "
        "that leaves the first ten items alone keeps NDCG@10 whatever it does below, unless exclude_seen moves what is "
        "below up; longer cut-offs show its cost.",
        *quality_table(found),
    )
    for metric in PICTURED:
        if shown := [point for point in found if metric in point.kept]:
            shorter = "" if len(shown) == len(found) else " Without the settings of shorter lists."
            yield Picture(
                f"trade-off-{metric.lower().replace('@', '-')}.png",
                png(picture(shown, metric)),
                f"share of {metric} that the service keeps against the gain of the best attacker's surrogate",
                f"x axis: {metric} of the service over that of the undefended target. y axis: gain in NDCG@10 of the "
                "best attacker's surrogate over that of the best attacker on the undefended target; [its name]."
                f"{shorter}",
            )
