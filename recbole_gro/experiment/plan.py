"""The plan of an experiment: varied keys and groups, seeds and fixed keys, and the cells that they make."""

import itertools
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from recbole_gro.attack import STRONGEST, attacks_of, create_attacker
from recbole_gro.config.config import Config
from recbole_gro.config.files import value_of
from recbole_gro.config.properties import recbole_keys
from recbole_gro.config.recbole_settings import type_of
from recbole_gro.config.settings import declared_keys
from recbole_gro.config.values import as_names
from recbole_gro.defense import create_defense
from recbole_gro.defense.defense_key import VARIABLE
from recbole_gro.experiment.grid_file import read_grid_file
from recbole_gro.experiment.plan_checks import ONE_ATTACK, check_given, check_plan
from recbole_gro.quick_start.references import UNDEFENDED, create_references
from recbole_gro.utils.errors import UserError, check_spelling, unknown_name
from recbole_gro.utils.units import counted

LOCK = "experiment"  # of the folder of an experiment
Task = tuple[dict[str, Any], int]  # varied values and seed of a cell
Groups = dict[str, dict[str, Any]]  # settings that vary together, by the name of the group


@dataclass
class Experiment:
    """A grid of settings.

    Attributes:
        name: of the file it comes from.
        title: of its report.
        figure: the x axis of its pictures: `k`, a varied key, the metric of the target (`target`), or its share that
            a defense keeps (`tradeoff`); `table1` has no picture and trains nothing; `ownership` and `marks` have
            suspects for cells.
        vary: {key: its values}; a name that is no key, such as arm, has groups of settings that vary together.
        seeds: of each setting; none for `table1`.
        fixed: keys that are the same in all cells.
        differs: sentences on the differences from the paper's setting.
        against: {varied key: its values that the others are compared with}.
        equal: {key: the key whose value it takes}.
        ownership: what is verified, for the figure `ownership`.
        marks: likewise for the figure `marks`.
    """

    name: str
    title: str
    figure: str
    vary: dict[str, list | Groups]
    seeds: list[int]
    fixed: dict[str, Any] = field(default_factory=dict)
    differs: list[str] = field(default_factory=list)
    against: dict[str, list] = field(default_factory=lambda: {"defense": [UNDEFENDED]})
    equal: dict[str, str] = field(default_factory=dict)
    ownership: dict[str, Any] = field(default_factory=dict)
    marks: dict[str, Any] = field(default_factory=dict)

    def settings(self) -> list[dict[str, Any]]:
        """Return all combinations of varied values, in order."""
        return [dict(zip(self.vary, values, strict=True)) for values in itertools.product(*self.vary.values())]

    def cells(self) -> list[Task]:
        """Return (values, seed) of every cell; seeds change first, so that workers do not wait for one target."""
        return [(values, seed) for values in self.settings() for seed in self.seeds]

    def given(self, values: dict[str, Any], seed: int) -> dict[str, Any]:
        """Return the settings of a cell that the grid gives: fixed ones, varied ones, those of its groups, the seed."""
        given = {**self.fixed, "seed": seed}
        for key, value in values.items():
            given |= groups[value] if isinstance(groups := self.vary.get(key), dict) else {key: value}
        return {key: given[other] for key, other in self.equal.items()} | given

    def config(self, values: dict[str, Any], seed: int) -> Config:
        """Return the settings of a cell.

        Raises:
            UserError: an invalid key, name or value.
        """
        given = self.given(values, seed)
        defense = given.get("defense", UNDEFENDED)
        names = as_names(defense) if isinstance(defense, str | list) else [defense]
        if len(names) != 1:
            raise UserError(f"defense: a cell has one, not {', '.join(names)}; list several under `vary`")
        config = Config(config_dict={**given, "defense": names})
        if not config["attack"]:
            raise UserError("attack: an experiment measures surrogates; leave it out, or use recbole-gro run")
        if "metrics" in given and (
            other := [name for name in config["metrics"] if name.lower() not in ("hit", "ndcg")]
        ):
            raise UserError(
                f"metrics: an experiment measures Hit and NDCG, not {', '.join(other)}; use recbole-gro run, or leave "
                "it out"
            )
        if config["defense_key"] == "secret" and VARIABLE not in os.environ:
            raise UserError(
                f"defense_key: an experiment takes a secret from the environment alone, and {VARIABLE} is unset; "
                "set it, or give defense_key=seed"
            )
        create_defense(names[0], config)
        attacks = as_names(config["attacker"])
        if len(attacks) != 1:
            raise UserError(f"attacker: a cell has one, not {', '.join(attacks)}; list several under `vary`")
        if attacks == [STRONGEST] and self.figure in ONE_ATTACK:
            raise UserError(
                f"attacker: {STRONGEST} is several attacks, and figure {self.figure} measures one; list those of "
                "attacker_suite one by one"
            )
        for attack in attacks_of(config):
            create_attacker(attack, config)
        create_references(config)
        return config


def in_words(values: dict[str, Any]) -> str:
    """Return values with their keys as text, such as "defense gro, seed 1"."""
    return ", ".join(f"{key} {value}" for key, value in values.items())


def heading(experiment: Experiment, done: int, missing: int, folder: Path) -> str:
    """Return the first line of an experiment: its title, how many cells are done and missing, and its folder."""
    return f"{experiment.title}: {counted(done + missing, 'cell')}, {done} done, {missing} to run; {folder}"


def read_experiment(name: str, settings: dict[str, Any] | None = None) -> Experiment:
    """Return a packaged experiment or one from a user's yaml file.

    Args:
        name: of a packaged experiment, or the path of a yaml file.
        settings: take precedence over the file: the values of a varied key, names of groups, the value of a fixed key,
            or `seeds`. Several values are a list, a tuple, or names with commas between.

    Raises:
        UserError: an unknown name, or an invalid file or setting.
    """
    parts = read_grid_file(name)
    known = recbole_keys() | declared_keys().keys()
    check_spelling(settings or {}, {"seeds", *parts["vary"]}, known)
    parts = {"fixed": {}, "differs": [], "seeds": [], **parts}
    parts["fixed"] = _read_texts(parts["fixed"])
    parts["vary"] = {key: _values(key, planned) for key, planned in parts["vary"].items()}
    if "against" in parts:
        parts["against"] = {
            key: values if isinstance(parts["vary"][key], dict) else _values(key, values)
            for key, values in parts["against"].items()
        }
    for key, value in (settings or {}).items():
        if not (key == "seeds" or isinstance(parts["vary"].get(key), dict)):
            value = _read_texts({key: value})[key]
        if key == "seeds":
            parts["seeds"] = _listed(key, value)
        elif key == "seed":
            raise UserError("seed: an experiment has seeds; give --seeds=[1,2,3], or --seeds=1 for one")
        elif key in parts["vary"]:
            parts["vary"][key] = _chosen(key, _listed(key, value), parts["vary"][key])
        else:
            parts["fixed"][key] = _only(key, value, name)
    experiment = Experiment(Path(name).stem, **parts)
    check_plan(experiment)
    check_given(experiment, settings or {}, name)
    return experiment


def _read_texts(settings: dict[str, Any]) -> dict[str, Any]:
    """Return settings with the values that cells read of texts: reports sort and compare those of the plan."""
    return {key: value_of(key, value) if isinstance(value, str) else value for key, value in settings.items()}


def _values(key: str, planned: Any) -> Any:
    """Return the values of a varied key, or its groups, as of `_read_texts`; what is neither is refused later."""
    if isinstance(planned, dict):
        return {name: _read_texts(group) if isinstance(group, dict) else group for name, group in planned.items()}
    return [_read_texts({key: value})[key] for value in planned] if isinstance(planned, list) else planned


def _listed(key: str, value: Any) -> list:
    """Return the values of a varied key; of a key that takes names, a text may be several."""
    value_type = type_of(key)
    if isinstance(value, str) and (key == "dataset" or (value_type and value_type.takes_names)):
        return as_names(value)
    return list(value) if isinstance(value, list | tuple) else [value]


def _only(key: str, value: Any, name: str) -> Any:
    """Return the value of a key that an experiment does not vary; several are refused where a cell takes one."""
    value_type, listed = type_of(key), _listed(key, value)
    if key != "defense" and (value_type is None or value_type.takes_several):
        return value
    if len(listed) != 1:
        raise UserError(f"{key}: experiment {name} does not vary it; give one, or write a yaml file that varies it")
    return listed[0]


def _chosen(key: str, values: list, planned: list | Groups) -> list | Groups:
    if not isinstance(planned, dict):
        return values
    if len(values) == 1 and isinstance(values[0], str) and values[0] not in planned:  # a name may have a comma itself
        values = as_names(values[0])
    for value in values:
        if value not in list(planned):
            raise unknown_name(key, value, planned)
    return {name: planned[name] for name in values}
