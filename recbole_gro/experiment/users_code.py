"""The code and files of a user's own that verdicts of an experiment on ownership depend on."""

import itertools
from collections.abc import Iterable, Mapping
from typing import Any

from recbole_gro.config.settings import declared_keys, fingerprint_inputs, setting
from recbole_gro.experiment.plan import Experiment
from recbole_gro.quick_start.stage_fingerprints import code_of_run


def users_code(experiment: Experiment, entries: Iterable[Mapping[str, Any]]) -> dict[str, dict[str, Any]]:
    """Return what a user wrote: "code", {module: digest} of models and parts, and "named", what settings name.

    Files and functions that settings name are there with their contents and sources; entries that name none add none.

    Args:
        experiment: with its models.
        entries: settings of suspects; those that are no settings of a run are left out.
    """
    owners = [
        dict(zip(experiment.vary, values, strict=True)) for values in itertools.product(*experiment.vary.values())
    ]
    code: dict[str, str] = {}
    named: dict[str, Any] = {}
    for owner, entry in itertools.product(owners, ({}, *entries)):
        given = {name: value for name, value in entry.items() if name not in ("only", "count")}
        config = experiment.config({**owner, **given}, experiment.seeds[0])
        code |= code_of_run(config)
        read = fingerprint_inputs(config, declared_keys()).items()
        values = [(name, setting(config, name), content) for name, content in read]
        named |= {f"{name} {value}": content for name, value, content in values if content != value}
    return {"code": code, "named": named}
