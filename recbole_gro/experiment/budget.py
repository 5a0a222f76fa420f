"""Budget curves: accuracy and agreement of the surrogate against the number of lists, and what a surrogate costs."""

import math
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import EngFormatter, NullLocator
from scipy import stats

from recbole_gro.experiment.figures import COLOURS, MARKERS, STYLES
from recbole_gro.experiment.plan import in_words
from recbole_gro.experiment.statistics import LEVEL, Interval
from recbole_gro.experiment.summary import Setting, agreement_k
from recbole_gro.report.budget_curve import SHARES, lists_needed
from recbole_gro.report.document import Block, Paragraph, Picture, Table
from recbole_gro.report.run_report import png

BUDGET = "query_sequences"
Curves = dict[tuple[str, str], list[Setting]]  # settings in ascending order of budget, by defense and attack
MOST_TICKS = 8  # labels of a panel that do not run into one another


def curves(settings: Sequence[Setting]) -> Curves:
    """Return the settings of each defense and attack in ascending order of their budget."""
    found: Curves = defaultdict(list)
    for setting in settings:
        found[_names(setting.values)].append(setting)
    return {names: sorted(own, key=lambda setting: setting.values[BUDGET]) for names, own in found.items()}


def _names(values: Mapping[str, Any]) -> tuple[str, str]:
    """Return the defense and the attack of varied values, the latter with all keys besides the budget."""
    rest = {key: value for key, value in values.items() if key not in (BUDGET, "defense")}
    attack = str(rest.pop("attacker", "")) + (f" ({in_words(rest)})" if rest else "")
    return str(values.get("defense", "")), attack


def absent_budgets(found: Curves, planned: Sequence[Mapping[str, Any]]) -> dict[tuple[str, str], list[Any]]:
    """Return the budgets of the plan that have no cell, by defense and attack that have some.

    Args:
        found: from `curves`.
        planned: varied values of all settings of the plan.
    """
    there = {(names, setting.values[BUDGET]) for names, own in found.items() for setting in own}
    absent: dict[tuple[str, str], list[Any]] = defaultdict(list)
    for values in planned:
        names = _names(values)
        if names in found and (names, values[BUDGET]) not in there:
            absent[names].append(values[BUDGET])
    return absent


def n_lists(setting: Setting) -> float:
    """Return the number of lists that the attack of a setting obtained, mean over seeds."""
    return float(np.mean([cell.facts["lists_returned"] for cell in setting.cells]))


def over_seeds(values: Sequence[float]) -> Interval:
    """Return the geometric mean of one number of lists per seed, and its t interval.

    >>> [round(end) for end in over_seeds([100.0, 100.0])]
    [100, 100, 100]
    """
    logs = np.log(values)
    middle = float(logs.mean())
    if len(logs) == 1:
        return Interval(float(np.exp(middle)), math.nan, math.nan)
    margin = stats.t.ppf((1 + LEVEL) / 2, len(logs) - 1) * logs.std(ddof=1) / math.sqrt(len(logs))
    return Interval(*(float(np.exp(end)) for end in (middle, middle - margin, middle + margin)))


def needed(own: Sequence[Setting], level: float, k: int) -> list[float]:
    """Return the lists that an attack needs for a share of the target's NDCG@k, per seed that has all its budgets.

    The number is that of the smallest budget where this has the share already, and infinite where none has it. A seed
    whose target has no hit is left out: nothing is a share of 0.

    Args:
        own: settings of one defense and attack in ascending order of budget.
        level: share of the target's NDCG@k.
        k: cut-off.
    """
    seeds = sorted(set.intersection(*(set(setting.seeds) for setting in own)))
    lists = np.array([n_lists(setting) for setting in own])
    per_seed = []
    for seed in seeds:
        cells = [setting.with_seeds([seed]) for setting in own]
        reached, target = ([cell.spread("ndcg", side, k).mean for cell in cells] for side in ("surrogate", "target"))
        if all(target):
            per_seed.append(lists_needed(lists, np.divide(reached, target), level))
    return per_seed


def budget_blocks(settings: Sequence[Setting], k: int, planned: Sequence[Mapping[str, Any]] = ()) -> Iterator[Block]:
    """Yield the table of lists needed and the picture of the budget curves.

    Args:
        settings: of one experiment that varies `query_sequences`, those that have cells.
        k: cut-off of HR, NDCG and agreement.
        planned: varied values of all settings of the plan: lists needed would be others without one of its budgets.
    """
    found = curves(settings)
    absent = absent_budgets(found, planned)
    if absent:
        lacking = "; ".join(
            f"{', '.join(filter(None, names))}: {', '.join(map(str, of))}" for names, of in absent.items()
        )
        yield Paragraph(f"No number of lists, as a budget of the plan has no cell ({BUDGET}): {lacking}.")
    rows = []
    for names, own in found.items():
        by_level = [[] if names in absent else needed(own, level, k) for level in SHARES]
        ends = n_lists(own[0]), n_lists(own[-1])
        rows.append([*names, *(in_lists(per_seed, *ends) for per_seed in by_level), f"{len(by_level[0])}"])
    yield Table(
        f"Lists from which on a surrogate has a share of its target's NDCG@{k}: geometric mean over seeds and its "
        f"{LEVEL:.0%} interval, linear between budgets in the logarithm of lists. A bound, without an interval, where "
        "some seeds have the share with the smallest budget already, or lack it with the largest. Seeds that lack a "
        "budget, or whose target has no hit, are left out.",
        ["defense", "attack", *(f"{level:.0%}" for level in SHARES), "seeds"],
        rows,
        labels=2,
    )
    yield Picture(
        "budget.png",
        png(picture(found, k)),
        f"NDCG@{k} and agreement@{k} of the surrogate against the number of lists",
        "x axis: lists that the service returned to the attack. Left: NDCG of the surrogate over that of its target; "
        "right: share of common items in the top of both lists. Bars: deviation over seeds. Seeds whose target has no "
        "hit have no share.",
    )


def in_lists(per_seed: Sequence[float], least: float, most: float) -> str:
    """Return the number of lists over seeds in words: a bound where some seeds need fewer or more than any budget.

    Args:
        per_seed: as of `needed`.
        least: lists of the smallest budget; a seed that has the share there may need fewer.
        most: lists of the largest budget.

    >>> in_lists([200.0, 200.0], 40, 640), in_lists([40.0, 90.0], 40, 640), in_lists([160.0, math.inf], 40, 640)
    ('200 [200, 200]', '<= 60 (1 of 2 seeds <= 40)', '> 320 (1 of 2 seeds > 640)')
    >>> in_lists([40.0, math.inf], 40, 640), in_lists([math.inf], 40, 640)
    ('1 of 2 seeds <= 40, 1 of 2 seeds > 640', '> 640')
    """
    if not per_seed:
        return ""
    n = len(per_seed)
    fewer, more = sum(value <= least for value in per_seed), sum(math.isinf(value) for value in per_seed)
    mean, *ends = over_seeds([min(value, most) for value in per_seed])
    seeds = [f"{count} of {n} seeds {sign} {end:,.0f}" for count, sign, end in
             ((fewer, "<=", least), (more, ">", most)) if count]  # fmt: skip
    if fewer and more:
        return ", ".join(seeds)
    if fewer or more:
        bound = f"{'<=' if fewer else '>'} {mean:,.0f}"
        return bound if n in (fewer, more) else f"{bound} ({seeds[0]})"
    return f"{mean:,.0f}" if math.isnan(ends[0]) else f"{mean:,.0f} [{ends[0]:,.0f}, {ends[1]:,.0f}]"


def picture(found: Curves, k: int) -> Figure:
    """Return the figure of the budget curves: one line per defense and attack.

    Args:
        found: from `curves`.
        k: cut-off of NDCG and agreement.
    """
    figure = Figure(figsize=(11, 4.6), layout="constrained")
    panels = figure.subplots(1, 2)
    attacks = list(dict.fromkeys(attack for _, attack in found))
    defenses = list(dict.fromkeys(defense for defense, _ in found))
    at = agreement_k([setting for own in found.values() for setting in own], k) or k
    for (defense, attack), own in found.items():
        lists = [n_lists(setting) for setting in own]
        agreement = [np.array([cell.agreement[at] for cell in setting.cells]) for setting in own]
        with np.errstate(divide="ignore", invalid="ignore"):  # as in `needed`, a target without a hit has no share
            shares = [
                setting.measured("ndcg", "surrogate", k).mean(1) / setting.measured("ndcg", "target", k).mean(1)
                for setting in own
            ]
        for axes, values in zip(panels, (shares, agreement), strict=True):
            finite = [of_seeds[np.isfinite(of_seeds)] for of_seeds in values]  # all others have no place on an axis
            drawn = [(n, of_seeds) for n, of_seeds in zip(lists, finite, strict=True) if len(of_seeds)]
            if not drawn:  # which matplotlib cannot put on a logarithmic axis
                continue
            axes.errorbar(
                [n for n, _ in drawn],
                [of_seeds.mean() for _, of_seeds in drawn],
                yerr=[of_seeds.std(ddof=1) if len(of_seeds) > 1 else 0.0 for _, of_seeds in drawn],
                label=f"{defense}, {attack}".strip(", "),
                color=COLOURS[defenses.index(defense) % len(COLOURS)],
                marker=MARKERS[attacks.index(attack) % len(MARKERS)],
                linestyle=STYLES[attacks.index(attack) % len(STYLES)],
                capsize=3,
            )
    panels[0].axhline(1, color="#bbbbbb", linewidth=0.8)
    names = (f"NDCG@{k} of the surrogate / target", f"agreement@{at}")
    ticks, label = _ticks({n_lists(setting) for own in found.values() for setting in own}), EngFormatter(sep="")
    for axes, name in zip(panels, names, strict=True):
        axes.set(xscale="log" if axes.containers else "linear", xlabel="lists returned to the attack", ylabel=name)
        axes.xaxis.set_minor_locator(NullLocator())  # matplotlib labels them where budgets are close, over one another
        axes.set_xticks(ticks, [label(float(f"{n:.3g}")) for n in ticks])
        axes.set_ylim(bottom=0)
        axes.grid(alpha=0.3)
    handles, labels = panels[1].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside right upper", frameon=False)
    return figure


def _ticks(budgets: Iterable[float]) -> list[float]:
    """Return the budgets that get a label on a logarithmic axis: not those close to the one before.

    >>> _ticks([1000, 100, 1050, 10000]), _ticks([500])
    ([100, 1000, 10000], [500])
    """
    ascending = sorted(budget for budget in budgets if budget > 0)
    kept: list[float] = []
    for budget in ascending:
        if not kept or budget >= kept[-1] * (ascending[-1] / ascending[0]) ** (1 / MOST_TICKS):
            kept.append(budget)
    return kept
