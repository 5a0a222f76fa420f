"""The code of a user's own that verdicts of an experiment on ownership or marks depend on."""

import itertools
from collections.abc import Iterable, Mapping
from typing import Any

from recbole_gro.experiment.plan import Experiment
from recbole_gro.quick_start.fingerprint import code_of_run


def users_code(experiment: Experiment, entries: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    """Return {"code": {module: digest}} of models and parts that a user wrote; nothing where there are none.

    Args:
        experiment: with its models and defenses.
        entries: settings of suspects; those that are no settings of a run are left out.
    """
    owners = [
        dict(zip(experiment.vary, values, strict=True)) for values in itertools.product(*experiment.vary.values())
    ]
    found: dict[str, str] = {}
    for owner, entry in itertools.product(owners, ({}, *entries)):
        given = {name: value for name, value in entry.items() if name not in ("only", "count", "usual")}
        found |= code_of_run(experiment.config({**owner, **given}, experiment.seeds[0]))
    return {"code": found} if found else {}
