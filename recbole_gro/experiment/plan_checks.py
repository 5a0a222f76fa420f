"""Checks of the plan of an experiment: its values, groups, seeds and figure."""

from collections.abc import Collection
from typing import TYPE_CHECKING

from recbole_gro.config.properties import recbole_keys
from recbole_gro.config.settings import declared_keys
from recbole_gro.experiment.grid_file import ALARMS, DETECTION, MARKS, OWNERSHIP, TABLE, TRADE_OFF
from recbole_gro.quick_start.settings import OutputSettings
from recbole_gro.utils.errors import UserError

if TYPE_CHECKING:
    from recbole_gro.experiment.plan import Experiment, Groups

VARIED_BY = {OWNERSHIP: ["model"], MARKS: ["model", "defense"]}
ONE_ATTACK = (DETECTION, ALARMS, *VARIED_BY)  # figures whose cells or suspects are of one attack each
OF_SUSPECTS = {OWNERSHIP: ("attacker", "defense", "references"), MARKS: ("attacker", "references")}  # of their entries


def check_plan(experiment: "Experiment") -> None:
    """Check the values of a plan, whoever gave them.

    Raises:
        UserError: an invalid one.
    """
    _check_seeds(experiment)
    _check_varied(experiment)
    _check_fixed(experiment)
    _check_equal(experiment)
    _check_groups(experiment)
    _check_output_settings(experiment)
    _check_varied_once(experiment)
    _check_figure(experiment)


def check_given(experiment: "Experiment", given: Collection[str], name: str) -> None:
    """Check that the fixed keys of a plan, among them those given beside its file, have an effect in all groups.

    Args:
        experiment: the plan.
        given: names of the settings that take precedence over the file.
        name: of the file.

    Raises:
        UserError: groups set one of the keys.
    """
    for key, groups in _groups(experiment):
        without_effect = set.intersection(*map(set, groups.values())) & experiment.fixed.keys()
        if named := without_effect & {*given}:
            raise UserError(f"{min(named)}: each {key} of experiment {name} sets it; write a file of your own")
        if without_effect:
            raise UserError(f"experiment {name}: fixed sets {min(without_effect)}, and so does each {key}; remove one")
        for setting in experiment.fixed.keys() & {*given}:
            if with_own := [group for group, settings in groups.items() if setting in settings]:
                raise UserError(
                    f"{setting}: {key} {', '.join(with_own)} of experiment {name} has its own; choose others with "
                    f"--{key}, or write a file of your own"
                )


def _check_seeds(experiment: "Experiment") -> None:
    if experiment.figure == TABLE:
        if list(experiment.vary) != ["dataset"]:
            raise UserError(f"experiment {experiment.name}: figure {TABLE} takes dataset as its only varied key")
        if experiment.seeds:
            raise UserError(f"seeds: experiment {experiment.name} draws no random numbers and takes no seeds")
    elif not experiment.seeds or not all(type(seed) is int and seed >= 0 for seed in experiment.seeds):
        raise UserError(f"seeds: {experiment.seeds!r} is not a list of whole numbers >= 0")


def _check_varied(experiment: "Experiment") -> None:
    for key, values in [*experiment.vary.items(), ("seeds", experiment.seeds)]:
        if not isinstance(values, (list, dict)) or (not values and key in experiment.vary):
            raise UserError(
                f"experiment {experiment.name}: {key} takes a list of values, or groups of settings by name"
            )
        values = list(values)
        if any(value in values[:place] or str(value) in map(str, values[:place]) for place, value in enumerate(values)):
            raise UserError(f"experiment {experiment.name}: {key} has duplicate values in {values}")


def _check_fixed(experiment: "Experiment") -> None:
    if both := experiment.fixed.keys() & {*experiment.vary, "seed"}:
        other = "seeds" if "seed" in both else "vary"
        raise UserError(f"experiment {experiment.name}: fixed and {other} both set {min(both)}; remove one")


def _varied_alone(experiment: "Experiment") -> list[str]:
    """Return the keys whose values vary one by one, seed included."""
    return [key for key, values in experiment.vary.items() if isinstance(values, list)] + ["seed"]


def _check_equal(experiment: "Experiment") -> None:
    for key, other in experiment.equal.items():
        known = [*experiment.fixed, *_varied_alone(experiment)]
        if key in {*experiment.fixed, *experiment.vary} or other not in known:
            raise UserError(f"{key}: experiment {experiment.name} sets it to the value of {other}; give {other} alone")


def _check_groups(experiment: "Experiment") -> None:
    for key, groups in _groups(experiment):
        if key in recbole_keys() | declared_keys().keys():
            raise UserError(
                f"experiment {experiment.name}: {key} is a setting, and groups of settings have a name that is none, "
                "such as arm"
            )
        for name, group in groups.items():
            if not isinstance(group, dict):
                raise UserError(f"experiment {experiment.name}: {key} {name} takes settings, such as {{defense: gro}}")


def _varying(experiment: "Experiment") -> list[str]:
    """Return the keys that vary, once for each way in which they do: alone, by seeds, or by one of the groups."""
    in_groups = (set().union(*groups.values()) for _, groups in _groups(experiment))
    return [*_varied_alone(experiment), *(key for keys in in_groups for key in keys)]


def _check_output_settings(experiment: "Experiment") -> None:
    of_suspects = [*experiment.ownership.get("small", {})]
    for part in ("copies", "changed", "avoiding", "cleansed"):
        entries = [*experiment.ownership.get(part, []), *experiment.marks.get(part, [])]
        of_suspects += [key for entry in entries for key in entry]
    for key in OutputSettings.names:
        if key in (*experiment.fixed, *experiment.equal, *_varying(experiment), *of_suspects):
            raise UserError(
                f"{key}: cells do not read it; it is an option of the command (--{key}), an argument of run_experiment"
            )


def _check_varied_once(experiment: "Experiment") -> None:
    varying = _varying(experiment)
    if twice := {key for key in varying if varying.count(key) > 1}:
        raise UserError(f"experiment {experiment.name}: {min(twice)} varies twice, by groups, by itself or by seeds")


def _check_figure(experiment: "Experiment") -> None:
    if experiment.figure == "budget" and "query_sequences" not in experiment.vary:
        raise UserError(f"experiment {experiment.name}: figure budget needs query_sequences among the varied keys")
    for key in OF_SUSPECTS.get(experiment.figure, ()):
        if key in experiment.fixed:
            raise UserError(
                f"{key}: figure {experiment.figure} has attacks and defenses of its own, in the file's part "
                f"{experiment.figure}; leave it out"
            )
    varied = VARIED_BY.get(experiment.figure)
    if varied and (list(experiment.vary) != varied or not getattr(experiment, experiment.figure)):
        raise UserError(
            f"experiment {experiment.name}: figure {experiment.figure} varies {' and '.join(varied)} alone, and has a "
            f"part {experiment.figure}"
        )
    figures = ("k", "target", TRADE_OFF, "budget", DETECTION, ALARMS, *VARIED_BY, TABLE)
    if experiment.figure not in (*figures, *experiment.vary):
        raise UserError(
            f"experiment {experiment.name}: figure {experiment.figure!r} is neither {', '.join(figures)} nor a "
            f"varied key ({', '.join(experiment.vary)})"
        )


def _groups(experiment: "Experiment") -> list[tuple[str, "Groups"]]:
    return [(key, groups) for key, groups in experiment.vary.items() if isinstance(groups, dict)]
