"""Rows of the references in an experiment's results: one per reference and result, however many settings share it."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from recbole_gro.experiment.cells import Cell
from recbole_gro.experiment.summary import Setting
from recbole_gro.quick_start.comparison import selected_architecture
from recbole_gro.quick_start.references import create_references

ROUNDING = 1e-6  # that agreement of the same lists may differ by


@dataclass
class ReferenceRow:
    """One reference.

    Attributes:
        name: of the reference.
        title: its name, with the architecture where attacks of the experiment selected several.
        labels: the values of varied keys that all its settings share.
        setting: its cells, one per seed.
    """

    name: str
    title: str
    labels: dict[str, str]
    setting: Setting


def reference_rows(settings: Sequence[Setting]) -> Iterator[ReferenceRow]:
    """Yield the references of an experiment; settings with the same lists of one, such as all defenses, share a row.

    Args:
        settings: of one experiment.
    """
    for name in dict.fromkeys(name for setting in settings for cell in setting.cells for name in cell.reference_ranks):
        by_architecture = _by_architecture(name, settings)
        for architecture, own in by_architecture.items():
            title = f"{name} {architecture}" if architecture and len(by_architecture) > 1 else name
            for group in _alike(name, own):
                shared = set.intersection(*({(key, str(at)) for key, at in one.values.items()} for one in group))
                cells = list(_by_seed(name, group).values())
                yield ReferenceRow(name, title, dict(shared), Setting(group[0].values, cells))


def meanings(names: Iterable[str]) -> str:
    """Return what references are, as text."""
    found = create_references({"references": list(dict.fromkeys(names))}).items()
    return "; ".join(f"{name}: {reference.meaning}" for name, reference in found)


def _by_architecture(name: str, settings: Sequence[Setting]) -> dict[str | None, list[Setting]]:
    """Return settings with their cells of each architecture that an attack selected and the reference is measured for.

    The key is None for cells without a choice, and for references that do not depend on it.
    """
    depends = create_references({"references": name})[name].per_architecture
    found: dict[str | None, list[Setting]] = {}
    for setting in settings:
        cells: dict[str | None, list[Cell]] = {}
        for cell in setting.cells:
            cells.setdefault(selected_architecture(cell.facts) if depends else None, []).append(cell)
        for architecture, own in cells.items():
            found.setdefault(architecture, []).append(Setting(setting.values, own))
    return found


def _alike(name: str, settings: Sequence[Setting]) -> list[list[Setting]]:
    """Return groups of settings whose cells have the same ranks of a reference at the seeds that they share.

    Where both have its agreement, with their own undefended targets, that is the same too.
    """
    groups: list[list[Setting]] = []
    for setting in settings:
        own = _by_seed(name, [setting])
        for group in groups:
            others = _by_seed(name, group)
            both = [(own[seed], others[seed]) for seed in own.keys() & others]
            if both and all(_equal(name, one, other) for one, other in both):
                group.append(setting)
                break
        else:
            if own:
                groups.append([setting])
    return groups


def _equal(name: str, one: Cell, other: Cell) -> bool:
    shares = [cell.reference_agreement[name] for cell in (one, other) if name in cell.reference_agreement]
    if len(shares) == 2 and any(abs(shares[0][k] - shares[1][k]) > ROUNDING for k in shares[0].keys() & shares[1]):
        return False
    return np.array_equal(one.reference_ranks[name], other.reference_ranks[name])


def _by_seed(name: str, settings: Sequence[Setting]) -> dict[int, Cell]:
    """Return a cell with the reference per seed, in order; one with its agreement where there is one."""
    cells = [cell for setting in settings for cell in setting.cells if name in cell.reference_ranks]
    found = {cell.seed: cell for cell in sorted(cells, key=lambda cell: name in cell.reference_agreement)}
    return dict(sorted(found.items()))
