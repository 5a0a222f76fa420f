"""What an experiment is: keys that vary, seeds, keys that stay; and the cells it is made of."""

import itertools
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from recbole_gro.attack import create_attacker
from recbole_gro.config.config import Config
from recbole_gro.config.files import safe_yaml
from recbole_gro.config.properties import packaged_properties
from recbole_gro.config.recbole_settings import as_names
from recbole_gro.defense import create_defense
from recbole_gro.utils.errors import UserError, nearest

TABLE = "table1"  # the figure of an experiment that trains nothing
PARTS = {"title": str, "figure": str, "vary": dict, "seeds": list, "fixed": dict, "differs": list}


@dataclass
class Experiment:
    """A grid of settings.

    Attributes:
        name: of the file it comes from.
        title: of its report.
        figure: what stands on the x axis of its pictures: `k`, a key that varies, or what is kept of the target
            (`tradeoff`); `table1` has none, nothing is trained for it.
        vary: values of each key that varies.
        seeds: each setting is run with each of them; none for `table1`.
        fixed: keys that are the same for all.
        differs: sentences on what differs from the paper's setting.
    """

    name: str
    title: str
    figure: str
    vary: dict[str, list]
    seeds: list[int]
    fixed: dict[str, Any] = field(default_factory=dict)
    differs: list[str] = field(default_factory=list)

    def cells(self) -> list[tuple[dict[str, Any], int]]:
        """(varied values, seed) of every cell; seeds change first, so that workers do not wait for one target."""
        settings = [dict(zip(self.vary, values, strict=True)) for values in itertools.product(*self.vary.values())]
        return [(values, seed) for values in settings for seed in self.seeds]

    def config(self, values: dict[str, Any], seed: int) -> Config:
        """The settings of a cell.

        Raises:
            UserError: a key, name or value that cannot work.
        """
        given = {**self.fixed, **values, "seed": seed}
        names = as_names(given.get("defense", "none"))
        if len(names) != 1:
            raise UserError(f"defense: a cell has one, not {', '.join(names)}; list several under `vary`")
        config = Config(config_dict={**given, "defense": names})
        create_defense(names[0], config)
        create_attacker(config["attacker"], config)
        return config


def known_experiments() -> list[str]:
    """Names of the experiments that come with the package."""
    folder = packaged_properties() / "experiment"
    return sorted(file.name.removesuffix(".yaml") for file in folder.iterdir() if file.name.endswith(".yaml"))


def read_experiment(name: str, settings: dict[str, Any] | None = None) -> Experiment:
    """An experiment by name, or from a yaml file of one's own.

    Args:
        name: of a packaged experiment, or the path of a yaml file.
        settings: keys over the file's; of a key that varies the values, else a fixed one; `seeds` the seeds.

    Raises:
        UserError: no such experiment, or a file that is none.
    """
    where = Path(name) if name.endswith((".yaml", ".yml")) else packaged_properties() / "experiment" / f"{name}.yaml"
    if not where.is_file():
        known = known_experiments()
        hint = nearest(name, known)
        raise UserError(
            f"experiment {name!r} is neither a yaml file nor one of {', '.join(known)}"
            + (f"; did you mean {hint}?" if hint else "")
        )
    try:
        parts = safe_yaml(where.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise UserError(f"experiment {name}: not valid yaml: {' '.join(str(error).split())}") from error
    _check(name, parts)
    parts = {"fixed": {}, "differs": [], "seeds": [], **parts, "vary": dict(parts["vary"])}
    parts["fixed"] = dict(parts["fixed"])
    for key, value in (settings or {}).items():
        if key == "seeds":
            parts["seeds"] = value if isinstance(value, list) else [value]
        elif key in parts["vary"]:
            parts["vary"][key] = value if isinstance(value, list) else [value]
        elif isinstance(value, list) and key == "defense":
            raise UserError("defense: this experiment does not vary it; give one, or vary it in a file of your own")
        else:
            parts["fixed"][key] = value
    experiment = Experiment(Path(name).stem, **parts)
    _check_values(experiment)
    return experiment


def _check(name: str, parts: Any) -> None:
    if not isinstance(parts, dict):
        raise UserError(f"experiment {name}: a mapping with {', '.join(PARTS)} is wanted")
    for part, kind in PARTS.items():
        optional = ("fixed", "differs", "seeds") if parts.get("figure") == TABLE else ("fixed", "differs")
        if part in optional and part not in parts:
            continue
        if not isinstance(parts.get(part), kind):
            kinds = {str: "a text", dict: "a mapping", list: "a list"}
            raise UserError(f"experiment {name}: {part} is missing or not {kinds[kind]}")
    for part in parts:
        if part not in PARTS:
            hint = nearest(part, PARTS)
            raise UserError(
                f"experiment {name}: unknown part {part!r}"
                + (f"; did you mean {hint}?" if hint else f"; the parts are {', '.join(PARTS)}")
            )


def _check_values(experiment: Experiment) -> None:
    if experiment.figure == TABLE:
        if list(experiment.vary) != ["dataset"]:
            raise UserError(f"experiment {experiment.name}: figure {TABLE} wants dataset to vary, and nothing else")
        if experiment.seeds:
            raise UserError(f"seeds: experiment {experiment.name} draws nothing, so it takes none")
    elif not experiment.seeds or not all(type(seed) is int and seed >= 0 for seed in experiment.seeds):
        raise UserError(f"seeds: {experiment.seeds!r} is not a list of whole numbers from 0")
    for key, values in [*experiment.vary.items(), ("seeds", experiment.seeds)]:
        if not isinstance(values, list) or (not values and key in experiment.vary):
            raise UserError(f"experiment {experiment.name}: {key} wants a list of values to vary over")
        if len({str(value) for value in values}) != len(values):
            raise UserError(f"experiment {experiment.name}: {key} has a value twice in {values}")
    if experiment.figure not in ("k", "tradeoff", TABLE, *experiment.vary):
        raise UserError(
            f"experiment {experiment.name}: figure {experiment.figure!r} is neither k, tradeoff, {TABLE} nor a key "
            f"that varies ({', '.join(experiment.vary)})"
        )
