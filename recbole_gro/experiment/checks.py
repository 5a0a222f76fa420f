"""Checks of an experiment's cells before any of them is run: their data and models."""

import json
from collections import defaultdict
from collections.abc import Callable
from typing import Any

from recbole_gro.attack import attacks_of, create_attacker
from recbole_gro.config.config import Config, plain, with_settings
from recbole_gro.defense import create_defense
from recbole_gro.experiment.grid_file import DETECTION
from recbole_gro.experiment.kept_loaders import loaders_key, shared_loaders
from recbole_gro.experiment.plan import Experiment, Task
from recbole_gro.quick_start.preflight import preflight
from recbole_gro.trainer import processes
from recbole_gro.utils.random_state import global_state_kept

CHECKED_BY = (
    *("dataset", "data_path", "model", "loss_type", "eval_args", "served_k", "defense", "attacker"),
    *("student_model", "student_config", "surrogate_model", "surrogate_config"),
)
TOGETHER = ("defense", "attacker")  # kinds that differ in these alone are tried as one run would


@global_state_kept()
def check_cells(
    experiment: Experiment, cells: list[Task], check_data: Callable[[Config, Any], None] | None = None
) -> None:
    """Read each dataset once, and try the models of every kind of cell on it.

    Args:
        experiment: the plan that the cells belong to.
        cells: (values, seed) of each.
        check_data: called with the config of each cell and the dataset of its test rows.

    Raises:
        UserError: invalid data, or models that cannot work on them.
    """
    seen = set()
    by_data: dict[Any, dict[str, list[Config]]] = defaultdict(lambda: defaultdict(list))
    all_of_data: dict[Any, list[Config]] = defaultdict(list)
    for values, seed in cells:
        config = experiment.config(values, seed)
        all_of_data[loaders_key(config)].append(config)
        kind = tuple(str(config[name]) for name in CHECKED_BY)
        if kind not in seen:
            seen.add(kind)
            settings = config.final_config_dict.items()
            others = {name: value for name, value in settings if name not in ("seed", *TOGETHER)}
            by_data[loaders_key(config)][json.dumps(plain(others), sort_keys=True)].append(config)
    for key, together in by_data.items():
        if check_data:
            for config in all_of_data[key]:
                check_data(config, shared_loaders(config)[2]._dataset)
        for configs in together.values():
            _check_together(configs, experiment.figure)


def _check_together(configs: list[Config], figure: str) -> None:
    """Try the models of kinds that differ in defense and attacker alone.

    Raises:
        UserError: invalid data, or models that cannot work on them.
    """
    defenses = list(dict.fromkeys(config["defense"][0] for config in configs))
    attacks = list(dict.fromkeys(attack for config in configs for attack in attacks_of(config)))
    config = with_settings(configs[0], defense=defenses, attacker=attacks)
    if figure == DETECTION and not any(create_attacker(attack, config).query_trainings for attack in attacks):
        config["attack"] = False  # no surrogate is trained
    train, _, _ = shared_loaders(config)
    with processes.alone():
        preflight(config, train._dataset, {name: create_defense(name, config) for name in defenses}, train)
