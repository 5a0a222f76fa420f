"""Checks of an experiment's suspects before any model is trained: their settings, lists, data and marks."""

import json
from collections.abc import Iterable, Iterator
from typing import Any

from recbole_gro.defense.settings import TailSettings
from recbole_gro.experiment.checks import check_cells
from recbole_gro.experiment.kept_loaders import forget_loaders
from recbole_gro.experiment.plan import Experiment, Task
from recbole_gro.experiment.suspect_entries import USUAL
from recbole_gro.experiment.suspects import REPLACED, TOP, attacks
from recbole_gro.experiment.workshop import Workshop, small_settings
from recbole_gro.quick_start.references import UNDEFENDED
from recbole_gro.utils.errors import UserError

LONG_ENOUGH = TOP + max(REPLACED)  # lists whose first items can be replaced from below


def check_ownership_settings(experiment: Experiment) -> None:
    """Check the settings of all suspects of an experiment on ownership, and that lists are long enough for them.

    Raises:
        UserError: an invalid setting, or lists that are too short to be changed.
    """
    _check_settings(experiment, ownership_cells(experiment))
    small, seed = small_settings(experiment), experiment.seeds[0]
    experiment.config({"references": [], **small, "defense": UNDEFENDED}, seed)
    for values, seed in _distinct(ownership_cells(experiment, ("changed",))):
        config = experiment.config(values, seed)
        served_k, head_k = config["served_k"], TailSettings.of(config).head_k
        where = f"served_k: lists of {served_k} are too short for `changed` of experiment {experiment.name}"
        if served_k < LONG_ENOUGH:
            raise UserError(
                f"{where}, where some of the first {TOP} items are replaced from below; set it to {LONG_ENOUGH} or more"
            )
        if served_k <= head_k:
            raise UserError(
                f"{where}, where tail_shuffle changes what is below the first head_k={head_k} items; set it above "
                f"{head_k}, or head_k below {served_k}"
            )


def check_ownership_data(workshop: Workshop, owners: Iterable[tuple[str, int]]) -> None:
    """Check the data of an experiment on ownership, and try the models of its suspects on them.

    Args:
        workshop: of the experiment.
        owners: model and seed of each whose suspects are to be made.

    Raises:
        UserError: invalid data, too few items, or models that cannot work on them.
    """
    experiment, owners = workshop.experiment, [*owners]
    check_cells(experiment, [*ownership_cells(experiment, owners=owners)])
    forget_loaders()
    for model, seed in owners:
        stages = workshop.stages(model, seed)
        if (items := stages.train._dataset.item_num - 1) <= TOP:
            raise UserError(
                f"dataset {stages.config['dataset']}: {items} items are too few for figure {experiment.figure}, which "
                f"compares lists of {TOP}; it takes {TOP + 1} or more"
            )
    if owners:
        small = small_settings(experiment)
        workshop.stages(small.pop("model"), experiment.seeds[0], **small)


def ownership_cells(
    experiment: Experiment,
    parts: Iterable[str] = ("copies", "changed", "avoiding"),
    owners: Iterable[tuple[str, int]] | None = None,
) -> Iterator[Task]:
    """Yield values and seed of each attack on an owner's model, and of the model alone where `parts` are all.

    Args:
        experiment: with its part `ownership`.
        parts: of the attacks.
        owners: model and seed of each; None: all.
    """
    every = [(model, seed) for model in map(str, experiment.vary["model"]) for seed in experiment.seeds]
    for model, seed in every if owners is None else owners:
        for part in parts:
            for attack in attacks(experiment, part, model, seed):
                yield _attacked(model, UNDEFENDED, attack), seed


def marks_cells(experiment: Experiment, owners: Iterable[tuple[str, str, int]]) -> Iterator[Task]:
    """Yield values and seed of marked models and undefended ones, and of each attack on them.

    Args:
        experiment: with its part `marks`.
        owners: model, defense and seed of each marked model.
    """
    for model, defense, seed in owners:
        yield _attacked(model, defense, {}), seed
        for part in ("copies", "changed", "cleansed"):
            for entry in experiment.marks[part]:
                attack = {key: value for key, value in entry.items() if key != USUAL}
                for attacker in {attack["attacker"]: None, entry.get(USUAL, attack["attacker"]): None}:
                    yield _attacked(model, defense, {**attack, "attacker": attacker}), seed
        for attack in ({}, *experiment.marks["copies"]):
            yield _attacked(model, UNDEFENDED, attack), seed


def check_marks_settings(experiment: Experiment, owners: Iterable[tuple[str, str, int]]) -> None:
    """Check the settings of all suspects of an experiment on watermarks.

    Args:
        experiment: with its part `marks`.
        owners: as of `marks_cells`.

    Raises:
        UserError: an invalid setting.
    """
    _check_settings(experiment, marks_cells(experiment, owners))


def _attacked(model: str, defense: str, attack: dict[str, Any]) -> dict[str, Any]:
    return {"model": model, "references": [], **attack, "defense": defense}


def _check_settings(experiment: Experiment, cells: Iterable[Task]) -> None:
    """Check the settings of cells; which seed they have makes no difference.

    Raises:
        UserError: an invalid setting.
    """
    for values, seed in _distinct(cells):
        experiment.config(values, seed)


def _distinct(cells: Iterable[Task]) -> list[Task]:
    return [*{json.dumps(values, sort_keys=True, default=str): (values, seed) for values, seed in cells}.values()]
