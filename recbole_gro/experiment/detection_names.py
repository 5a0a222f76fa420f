"""What names the rows and columns of the reports on detection: targets, attacks and detectors."""

from typing import Any

from recbole_gro.attack.settings import AttackSettings
from recbole_gro.config.values import as_names
from recbole_gro.detection.settings import DetectionSettings
from recbole_gro.experiment.plan import Experiment, in_words
from recbole_gro.utils.errors import UserError


def target_and_attack(experiment: Experiment, values: dict[str, Any], seed: int) -> tuple[str, str]:
    """Return the target of a cell in words, and the name of its attack, whatever part of the grid sets it.

    Args:
        experiment: the plan of the cell.
        values: of the varied keys.
        seed: of the cell.
    """
    target = {key: value for key, value in values.items() if key != "attacker"}
    attack = AttackSettings.of(experiment.given(values, seed)).attacker
    return in_words(target), ", ".join(as_names(attack))


def check_detectors(experiment: Experiment) -> None:
    """Check that all cells have the same detectors, of which the tables of figure `detection` have a column each.

    Args:
        experiment: a plan whose cells have valid settings.

    Raises:
        UserError: they differ.
    """
    by_cell = (DetectionSettings.of(experiment.given(*cell)).detector for cell in experiment.cells())
    found = {frozenset(names): names for names in map(as_names, by_cell)}
    if len(found) > 1:
        together = dict.fromkeys(name for names in found.values() for name in names)
        raise UserError(
            f"detector: experiment {experiment.name} varies it, and figure {experiment.figure} compares detectors in "
            f"each cell; give all cells the same under `fixed`, such as detector: [{', '.join(together)}]"
        )
