"""Utility that a defense keeps against the accuracy that the best attacker's surrogate gains."""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from recbole_gro.attack import STRONGEST
from recbole_gro.experiment.plan import in_words
from recbole_gro.experiment.summary import METRICS, Setting
from recbole_gro.quick_start.references import UNDEFENDED, UNTRAINED
from recbole_gro.report.run_report import label

AT = 10  # of the surrogate's NDCG
CUT_OFFS = (5, 10, 20, 50, 100)
QUALITY = {label(f"{metric}@{k}"): (metric, k) for metric in METRICS for k in CUT_OFFS}
FRONTIER = "NDCG@10"  # the utility that the frontier is about
OF_TARGET = ("dataset", "model")
Attacks = dict[str, Setting]  # on one defense, by attacker
Planned = Sequence[Mapping[str, Any]]


@dataclass
class Pair:
    """The attacks on a defense, and those on the undefended target, at equal values of the other varied keys.

    Attributes:
        defense: its name.
        rest: the other varied keys in words.
        target: dataset and model in words, where they vary.
        attacks: on the defense, those that have a cell.
        undefended: on the undefended target, likewise.
        absent: attacks on either that the plan has and no cell, such as `head on tail_decoy`.
    """

    defense: str
    rest: str
    target: str
    attacks: Attacks
    undefended: Attacks
    absent: list[str]

    @property
    def name(self) -> str:
        """The defense and the other varied keys."""
        return ", ".join(filter(None, (self.defense, self.rest)))

    @property
    def seeds(self) -> list[int]:
        """The seeds with cells of every attack on the defense and of every attack on the undefended target."""
        if not self.undefended or self.absent:
            return []
        attacks = (*self.attacks.values(), *self.undefended.values())
        return sorted(set.intersection(*(set(attack.seeds) for attack in attacks)))


@dataclass
class Point:
    """One defense in one setting, relative to the undefended target of the same seeds.

    Attributes:
        name: the defense, and the values of the other varied keys where they make a difference.
        served: {metric such as HR@5: value of the service}.
        kept: {metric: share of the undefended target's value that the service keeps}, the mean over seeds of the share
            at each; that of the means over seeds where the undefended target hits nothing at one, nan where at all.
        extracted: gain of the best attacker over that of the best attacker on the undefended target, both means over
            seeds; a gain is NDCG@10 of the surrogate less that of the untrained one, and a share is at least 0.
        attacker: name of the best attacker.
        by_attacker: {attacker: the same share}.
        seeds: number of seeds behind each share.
        target: dataset and model in words, where they vary: no share of one is better or worse than that of another.
        on_frontier: whether no other defense of the target keeps as much with less extracted.
    """

    name: str
    served: dict[str, float]
    kept: dict[str, float]
    extracted: float
    attacker: str
    by_attacker: dict[str, float]
    seeds: int
    target: str = ""
    on_frontier: bool = False


def points(settings: Sequence[Setting], planned: Planned = ()) -> list[Point]:
    """Return one point per defense and values of other varied keys, the frontier marked.

    The best attacker is the one with the highest gain, mean over seeds, on the very defense: it is adaptive. Both
    sides of a share are of the same seeds (`Pair.seeds`); a defense without such a seed has no point, nor has one of
    `without_gain`. Where the other varied keys make no difference to a defense, it is one point.

    Args:
        settings: those that have cells.
        planned: varied values of all settings of the plan: where an attack of these has no cell, the best one of the
            others may be weaker, and there is no point.
    """
    found: dict[str, dict[str, Point]] = defaultdict(dict)
    for pair in _pairs(settings, planned):
        seeds = pair.seeds
        if (best := _most_gained(pair.undefended, seeds)) <= 0:
            continue
        sides = (pair.attacks, pair.undefended)
        own, other = (_metrics(next(iter(side.values())).with_seeds(seeds)) for side in sides)
        served = {name: float(values.mean()) for name, values in own.items()}
        kept = {name: _kept(values, other[name]) for name, values in own.items()}
        shares = {name: max(0.0, _gained(attack, seeds) / best) for name, attack in pair.attacks.items()}
        worst = max(shares, key=lambda name: shares[name])
        point = Point(pair.defense, served, kept, shares[worst], worst, shares, len(seeds), pair.target)
        found[pair.defense][pair.rest] = point
    named = [point for defense, by_rest in found.items() for point in _named(defense, by_rest)]
    for point in named:
        point.on_frontier = on_frontier(point, named, FRONTIER)
    return named


def unpaired(settings: Sequence[Setting], planned: Planned = ()) -> list[str]:
    """Return the defenses and seeds that no point includes, as either side lacks an attack there, with what is absent.

    Args:
        settings: those that have cells.
        planned: as of `points`.
    """
    left_out = []
    for pair in _pairs(settings, planned):
        seeds = set().union(*(attack.seeds for attack in pair.attacks.values())) - set(pair.seeds)
        if seeds:
            absent = f" (nothing of {' and '.join(pair.absent)})" if pair.absent else ""
            left_out.append(f"{pair.name}: {', '.join(map(str, sorted(seeds)))}{absent}")
    return left_out


def without_gain(settings: Sequence[Setting], planned: Planned = ()) -> list[str]:
    """Return the defenses that have no point, as no attack on their undefended target gained anything.

    Args:
        settings: those that have cells.
        planned: as of `points`.
    """
    pairs = [pair for pair in _pairs(settings, planned) if pair.seeds]
    return [pair.name for pair in pairs if _most_gained(pair.undefended, pair.seeds) <= 0]


def _pairs(settings: Sequence[Setting], planned: Planned) -> Iterator[Pair]:
    """Yield each defense with the attacks on it and those on the undefended target."""
    groups: dict[tuple[str, str], Attacks] = defaultdict(dict)
    targets: dict[str, str] = {}
    for setting in settings:
        place = _place(setting.values)
        groups[place][_attacker(setting)] = setting
        targets[place[1]] = in_words({key: setting.values[key] for key in OF_TARGET if key in setting.values})
    wanted: dict[tuple[str, str], dict[str, None]] = defaultdict(dict)
    for values in planned:
        if "attacker" in values:
            wanted[_place(values)][str(values["attacker"])] = None
    for (defense, words), attacks in groups.items():
        sides = dict.fromkeys((defense, UNDEFENDED))
        absent = [f"{attack} on {side}" for side in sides for attack in wanted.get((side, words), ())
                  if attack not in groups.get((side, words), ())]  # fmt: skip
        yield Pair(defense, words, targets[words], attacks, groups.get((UNDEFENDED, words), {}), absent)


def _place(values: Mapping[str, Any]) -> tuple[str, str]:
    """Return the defense of varied values, and the keys besides defense and attacker in words."""
    rest = {key: value for key, value in sorted(values.items()) if key not in ("defense", "attacker")}
    return str(values.get("defense", UNDEFENDED)), in_words(rest)


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


def _kept(values: np.ndarray, undefended: np.ndarray) -> float:
    """Return the mean of shares [S] or, where one is not defined, the share of the means; nan where that is not."""
    if undefended.all():
        return float((values / undefended).mean())
    return float(values.sum() / undefended.sum()) if undefended.any() else float("nan")


def on_frontier(point: Point, found: list[Point], metric: str) -> bool:
    """Return whether no other point of its target keeps as much with less extracted, or more with as little.

    Args:
        point: one of `found`.
        found: all points.
        metric: of the service, such as NDCG@10; a point whose share of it is not defined is none of the frontier.
    """

    def beats(other: Point) -> bool:
        more, less = other.kept[metric] - point.kept[metric], point.extracted - other.extracted
        return other.target == point.target and more >= 0 and less >= 0 and more + less > 0

    return not np.isnan(point.kept[metric]) and not any(map(beats, found))
