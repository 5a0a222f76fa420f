"""The report of experiment detection."""

import itertools
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib.figure import Figure

from recbole_gro.experiment.detection_names import target_and_attack
from recbole_gro.experiment.figures import COLOURS, STYLES
from recbole_gro.experiment.plan import Experiment, in_words
from recbole_gro.experiment.report import missing_cells, settings_blocks, unfinished
from recbole_gro.report.document import Block, Heading, Picture, Table, csv_text, write_document
from recbole_gro.report.run_report import png

if TYPE_CHECKING:
    from recbole_gro.experiment.detection import Detected

BY_LENGTH = ("auc", "true_positives", "false_positives")
OF_KEYS = ("own_keys_flagged", "shared_keys_flagged")
SINGLE = ("items", "lists", "key_flagged", "windows", "window_items", "user_windows", "users_flagged_ever", *OF_KEYS)
Grouped = dict[tuple[str, str], dict[str, list["Detected"]]]  # of all seeds, by target and attack, by detector


def write_detection_report(
    experiment: Experiment, found: "Sequence[Detected]", folder: Path, missing: Sequence[str] = ()
) -> None:
    """Write report.md, report.html, the figure, and results.csv with one row per measurement.

    Args:
        experiment: the plan.
        found: of all finished cells.
        folder: of the files.
        missing: descriptions of the other cells.
    """
    lines = []
    for one in found:
        named = [*one.values.values(), one.seed, one.detector]
        for measure in BY_LENGTH:
            lines += [[*named, measure, n, round(value, 4)] for n, value in getattr(one, measure).items()]
        single = {measure: getattr(one, measure) for measure in SINGLE}
        lines += [
            [*named, measure, "", round(float(value), 4)] for measure, value in single.items() if value is not None
        ]
        lines += [[*named, "users_flagged", len(one.users_flagged), one.users_flagged[-1]]]
        lengths = dict.fromkeys([*one.auc, str(len(one.flagged))])  # the whole length may be among the others
        lines += [[*named, "flagged", n, one.flagged[int(n) - 1]] for n in lengths]
    head = [*experiment.vary, "seed", "detector", "measure", "items", "value"]
    n_done = len({(in_words(one.values), one.seed) for one in found})
    about = [*settings_blocks(experiment), *missing_cells(missing)]
    blocks = itertools.chain(unfinished(missing, n_done), _blocks(grouped(experiment, found)), about)
    write_document(experiment.title, blocks, csv_text(head, lines), folder)


def grouped(experiment: Experiment, found: "Sequence[Detected]") -> Grouped:
    """Return the measurements of all seeds by target and attack, and by detector.

    Args:
        experiment: the plan.
        found: of its finished cells, which have the same detectors.
    """
    by_attack: Grouped = defaultdict(lambda: defaultdict(list))
    for one in found:
        by_attack[target_and_attack(experiment, one.values, one.seed)][one.detector].append(one)
    return by_attack


def _blocks(found: Grouped) -> Iterator[Block]:
    names = list(next(iter(found.values())))
    of_all = [set(one.auc) for by_detector in found.values() for own in by_detector.values() for one in own]
    lengths = sorted(set.intersection(*of_all), key=int)
    yield Heading("Lists answered before the alarm")
    yield _histories_table(found)
    yield _windows_table(found)
    yield _keys_table(found)
    yield _users_table(found, lengths)
    for measure, title in {"auc": "AUC", "true_positives": f"True positives at {_rate(found)} false positives"}.items():
        yield Heading(title)
        yield _lengths_table(found, measure, title, lengths)
    yield Heading("Picture")
    yield Picture(
        "detection.png",
        png(picture(found, names[0])),
        "share of histories flagged against the number of items",
        f"x axis: items of a history; y axis: share of histories that {names[0]} has flagged, mean over seeds. Grey: "
        "real users.",
    )


def _histories_table(found: Grouped) -> Table:
    return _attacks_table(
        "Mean items of a history that are answered before it is flagged, at the threshold of each detector from "
        "validation users; all its items where it never is. In brackets the share of histories that are flagged. Means "
        "over seeds.",
        found,
        _history_in_words,
    )


def _windows_table(found: Grouped) -> Table:
    return _attacks_table(
        "Mean items of a history that are answered before its window is flagged, looked at whenever its histories have "
        "1, 2, 3, 5, 10, 20 and all items. In brackets the share of windows that are flagged.",
        found,
        _window_in_words,
    )


def _keys_table(found: Grouped) -> Table:
    return _attacks_table(
        "Lists answered before the API key of the attack is flagged, all histories growing side by side; never: at no "
        "seed.",
        found,
        _key_in_words,
    )


def _attacks_table(caption: str, found: Grouped, cell: "Callable[[Sequence[Detected]], str]") -> Table:
    """Return a table with a row per attack and what each detector sees of it."""
    names = list(next(iter(found.values())))
    return Table(
        caption,
        ["target", "attack", "seeds", *names],
        [[*attack, _seeds(own), *(cell(own[name]) for name in names)] for attack, own in found.items()],
        labels=2,
    )


def _users_table(found: Grouped, lengths: Sequence[str]) -> Table:
    return Table(
        "Test users whose histories are flagged, percent, by the threshold from validation users: ever, where clients "
        "send the whole history or its most recent items at each step; where they send it once, and where they send "
        "the most recent n items once. Windows: of random test users. Own keys: users with an API key each, whose "
        "queries lie several items apart or are of 1, 2 or 4 items, so that each counts as a history. Shared keys: API "
        "keys that send histories of random test users, as many as a window has. Means over seeds.",
        [
            "target",
            "detector",
            "seeds",
            "ever",
            "once",
            *(f"n = {n}" for n in lengths),
            "windows",
            "own keys",
            "shared keys",
        ],
        list(_users(found, lengths)),
        labels=2,
    )


def _lengths_table(found: Grouped, measure: str, title: str, lengths: Sequence[str]) -> Table:
    """Return a table of a measure by length of histories, with a row per attack and detector."""
    names = list(next(iter(found.values())))
    return Table(
        f"{title} of histories of n items: the attack's against the most recent n items of test users. Means over "
        "seeds.",
        ["target", "attack", "detector", "seeds", *(f"n = {n}" for n in lengths)],
        [
            [*attack, name, _seeds(own), *(_mean_after(own[name], measure, n) for n in lengths)]
            for attack, own in found.items()
            for name in names
        ],
        labels=3,
    )


def _rate(found: Grouped) -> str:
    """Return the rate of false positives, where all cells have the same, in words."""
    rates = {one.rate for own in found.values() for detected in own.values() for one in detected}
    return f"{100 * rates.pop():g} %" if len(rates) == 1 else "the set rate of"


def _seeds(by_detector: "dict[str, list[Detected]]") -> str:
    return str(len({one.seed for own in by_detector.values() for one in own}))


def _mean(own: "Sequence[Detected]", measure: str) -> float:
    return float(np.mean([getattr(one, measure) for one in own]))


def _mean_after(own: "Sequence[Detected]", measure: str, n: str) -> str:
    return f"{np.mean([getattr(one, measure)[n] for one in own]):.2f}"


def _history_in_words(own: "Sequence[Detected]") -> str:
    return f"{_mean(own, 'items'):.1f} ({np.mean([one.flagged[-1] for one in own]):.0%})"


def _window_in_words(own: "Sequence[Detected]") -> str:
    own = [one for one in own if one.windows is not None]  # whose attack sent enough histories for one
    if not own:
        return "no window"
    return f"{_mean(own, 'window_items'):.1f} ({_mean(own, 'windows'):.0%})"


def _key_in_words(own: "Sequence[Detected]") -> str:
    caught = [one.lists for one in own if one.key_flagged]
    lists = f"{np.mean(caught):,.0f}" if caught else "never"
    some = f", {len(caught)} of {len(own)} seeds" if 0 < len(caught) < len(own) else ""
    return f"{lists}{some}"


def _users(found: Grouped, lengths: Sequence[str]) -> Iterator[list[Any]]:
    """Yield a row per target and detector."""
    names = dict.fromkeys((target, name) for (target, _), by_detector in found.items() for name in by_detector)
    for target, name in names:
        own = _of_users(found, target, name)
        shares = [_mean(own, "users_flagged_ever"), float(np.mean([one.users_flagged[-1] for one in own]))]
        shares += [float(np.mean([one.false_positives[n] for one in own])) for n in lengths]
        shares += [_mean(own, measure) for measure in ("user_windows", *OF_KEYS)]
        yield [target, name, f"{len(own)}", *(f"{100 * share:.2f}" for share in shares)]


def _of_users(found: Grouped, target: str, detector: str) -> "list[Detected]":
    """Return what a detector sees of the users of a target, once per seed: they are the same for every attack."""
    of_target = (own.get(detector, []) for (each, _), own in found.items() if each == target)
    by_seed: dict[int, Detected] = {}
    for one in (one for own in of_target for one in own):
        by_seed.setdefault(one.seed, one)
    return [by_seed[seed] for seed in sorted(by_seed)]


def mean_curve(curves: Sequence[Sequence[float]]) -> np.ndarray:
    """Return the mean of shares flagged after each item, as long as the longest of the curves.

    Seeds differ in their longest history. A history stays as it was at its last item, and so does a share.

    >>> mean_curve([[0.0, 0.5, 1.0], [0.25]]).tolist()
    [0.125, 0.375, 0.625]

    Args:
        curves: of each seed, of 1 or more items.
    """
    longest = max(map(len, curves))
    return np.mean([np.pad(curve, (0, longest - len(curve)), mode="edge") for curve in curves], axis=0)


def picture(found: Grouped, detector: str) -> Figure:
    """Return the figure of the share of histories flagged against items, a panel per target.

    Args:
        found: from `grouped`.
        detector: that flags.
    """
    targets = list(dict.fromkeys(target for target, _ in found))
    attacks = list(dict.fromkeys(attack for _, attack in found))
    figure = Figure(figsize=(5.4 * len(targets), 4.2), layout="constrained")
    panels = figure.subplots(1, len(targets), sharey=True, squeeze=False)[0]
    for axes, target in zip(panels, targets, strict=True):
        for number, attack in enumerate(attacks):
            if (own := found.get((target, attack), {}).get(detector)) is not None:
                curve = mean_curve([one.flagged for one in own])
                colour, style = COLOURS[number % len(COLOURS)], STYLES[number // len(COLOURS) % len(STYLES)]
                axes.plot(range(1, len(curve) + 1), curve, color=colour, linestyle=style, label=attack, linewidth=1.4)
        users = mean_curve([one.users_flagged for one in _of_users(found, target, detector)])
        axes.plot(range(1, len(users) + 1), users, color="#999999", linewidth=2, label="real users")
        axes.set(title=target, xlabel="items of the history", ylabel=f"share flagged by {detector}", ylim=(0, 1))
        axes.grid(alpha=0.3)
    drawn = [axes.get_legend_handles_labels() for axes in panels]
    by_label = {label: handle for handles, labels in drawn for handle, label in zip(handles, labels, strict=True)}
    order = [*(attack for attack in attacks if attack in by_label), "real users"]
    figure.legend([by_label[label] for label in order], order, loc="outside right upper", frameon=False)
    return figure
