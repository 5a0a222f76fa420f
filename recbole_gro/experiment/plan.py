"""The plan of an experiment: varied keys, seeds and fixed keys, and the cells that they make."""

import itertools
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from recbole_gro.attack import attacks_of, create_attacker
from recbole_gro.config.config import Config
from recbole_gro.config.files import safe_yaml
from recbole_gro.config.recbole_settings import as_names
from recbole_gro.defense import create_defense
from recbole_gro.quick_start.references import create_references
from recbole_gro.utils.errors import UserError, unknown_name
from recbole_gro.utils.packaged import known_experiments, packaged_properties

Task = tuple[dict[str, Any], int]  # varied values and seed of a cell
TABLE = "table1"  # the figure of an experiment that trains nothing
OWNERSHIP = "ownership"  # the figure of an experiment on verifications
PARTS = {"title": str, "figure": str, "vary": dict, "seeds": list, "fixed": dict, "differs": list, "ownership": dict}


@dataclass
class Experiment:
    """A grid of settings.

    Attributes:
        name: of the file it comes from.
        title: of its report.
        figure: the x axis of its pictures: `k`, a varied key, or the utility of the defended target (`tradeoff`);
            `table1` has no picture and trains nothing; `ownership` has suspects in place of cells.
        vary: {key: its values}.
        seeds: of each setting; none for `table1`.
        fixed: keys that are the same in all cells.
        differs: sentences on the differences from the paper's setting.
        ownership: what is verified, for the figure `ownership`.
    """

    name: str
    title: str
    figure: str
    vary: dict[str, list]
    seeds: list[int]
    fixed: dict[str, Any] = field(default_factory=dict)
    differs: list[str] = field(default_factory=list)
    ownership: dict[str, Any] = field(default_factory=dict)

    def settings(self) -> list[dict[str, Any]]:
        """Return all combinations of varied values, in order."""
        return [dict(zip(self.vary, values, strict=True)) for values in itertools.product(*self.vary.values())]

    def cells(self) -> list[Task]:
        """Return (values, seed) of every cell; seeds change first, so that workers do not wait for one target."""
        return [(values, seed) for values in self.settings() for seed in self.seeds]

    def config(self, values: dict[str, Any], seed: int) -> Config:
        """Return the settings of a cell.

        Raises:
            UserError: an invalid key, name or value.
        """
        given = {**self.fixed, **values, "seed": seed}
        names = as_names(given.get("defense", "none"))
        if len(names) != 1:
            raise UserError(f"defense: a cell has one, not {', '.join(names)}; list several under `vary`")
        config = Config(config_dict={**given, "defense": names})
        if not config["attack"]:
            raise UserError("attack: an experiment measures surrogates; leave it out, or use recbole-gro run")
        create_defense(names[0], config)
        attacks = as_names(config["attacker"])
        if len(attacks) != 1:
            raise UserError(f"attacker: a cell has one, not {', '.join(attacks)}; list several under `vary`")
        for attack in attacks_of(config):
            create_attacker(attack, config)
        create_references(config)
        return config


def in_words(values: dict[str, Any]) -> str:
    """Return values with their keys as text, such as "defense gro, seed 1"."""
    return ", ".join(f"{key} {value}" for key, value in values.items())


def read_experiment(name: str, settings: dict[str, Any] | None = None) -> Experiment:
    """Return a packaged experiment or one from a user's yaml file.

    Args:
        name: of a packaged experiment, or the path of a yaml file.
        settings: take precedence over the file: the values of a varied key, the value of a fixed one, or `seeds`.

    Raises:
        UserError: an unknown name, or an invalid file or setting.
    """
    where = Path(name) if name.endswith((".yaml", ".yml")) else packaged_properties() / "experiment" / f"{name}.yaml"
    if not where.is_file():
        raise unknown_name("experiment or yaml file", name, known_experiments())
    try:
        parts = safe_yaml(where.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise UserError(f"experiment {name}: not valid yaml: {' '.join(str(error).split())}") from error
    _check(name, parts)
    parts = {"fixed": {}, "differs": [], "seeds": [], "ownership": {}, **parts, "vary": dict(parts["vary"])}
    parts["fixed"] = dict(parts["fixed"])
    for key, value in (settings or {}).items():
        if key == "seeds":
            parts["seeds"] = value if isinstance(value, list) else [value]
        elif key in parts["vary"]:
            parts["vary"][key] = value if isinstance(value, list) else [value]
        elif isinstance(value, list) and key == "defense":
            raise UserError("defense: this experiment does not vary it; give one, or write a file that varies it")
        else:
            parts["fixed"][key] = value
    experiment = Experiment(Path(name).stem, **parts)
    _check_values(experiment)
    return experiment


def _check(name: str, parts: Any) -> None:
    if not isinstance(parts, dict):
        raise UserError(f"experiment {name}: it must be a mapping with {', '.join(PARTS)}")
    optional = {"fixed", "differs", "ownership"} | ({"seeds"} if parts.get("figure") == TABLE else set())
    for part, kind in PARTS.items():
        if not isinstance(parts.get(part), kind) and (part in parts or part not in optional):
            kinds = {str: "a text", dict: "a mapping", list: "a list"}
            raise UserError(f"experiment {name}: {part} is missing or not {kinds[kind]}")
    for part in parts:
        if part not in PARTS:
            raise unknown_name(f"part of experiment {name}:", part, PARTS)


def _check_values(experiment: Experiment) -> None:
    if experiment.figure == TABLE:
        if list(experiment.vary) != ["dataset"]:
            raise UserError(f"experiment {experiment.name}: figure {TABLE} takes dataset as its only varied key")
        if experiment.seeds:
            raise UserError(f"seeds: experiment {experiment.name} draws no random numbers and takes no seeds")
    elif not experiment.seeds or not all(type(seed) is int and seed >= 0 for seed in experiment.seeds):
        raise UserError(f"seeds: {experiment.seeds!r} is not a list of whole numbers >= 0")
    for key, values in [*experiment.vary.items(), ("seeds", experiment.seeds)]:
        if not isinstance(values, list) or (not values and key in experiment.vary):
            raise UserError(f"experiment {experiment.name}: {key} takes a list of values")
        if len({str(value) for value in values}) != len(values):
            raise UserError(f"experiment {experiment.name}: {key} has duplicate values in {values}")
    if experiment.figure == "budget" and "query_sequences" not in experiment.vary:
        raise UserError(f"experiment {experiment.name}: figure budget needs query_sequences among the varied keys")
    if experiment.figure == OWNERSHIP and (list(experiment.vary) != ["model"] or not experiment.ownership):
        raise UserError(
            f"experiment {experiment.name}: figure {OWNERSHIP} varies model alone, and has a part {OWNERSHIP}"
        )
    if experiment.figure not in ("k", "tradeoff", "budget", TABLE, OWNERSHIP, *experiment.vary):
        raise UserError(
            f"experiment {experiment.name}: figure {experiment.figure!r} is neither k, tradeoff, budget, {TABLE} nor a "
            f"varied key ({', '.join(experiment.vary)})"
        )
