"""The yaml file of an experiment: its parts, and the checks that need no setting."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from recbole_gro.config.files import safe_yaml
from recbole_gro.experiment.suspect_entries import check_marks, check_ownership
from recbole_gro.utils.errors import UserError, nearest, unknown_name
from recbole_gro.utils.packaged import known_experiments, packaged_properties

TABLE = "table1"  # the figure of an experiment that trains nothing
OWNERSHIP = "ownership"  # the figure of an experiment on verifications
MARKS = "marks"  # the figure of an experiment on watermarks
DETECTION = "detection"  # the figure of an experiment that trains no surrogate
ALARMS = "alarms"  # the figure of an experiment on services that answer with decoys after an alarm
TRADE_OFF, TRADE_OFF_K = "tradeoff", 10  # the figure of utility against extraction, and the cut-off of both
PARTS = {"title": str, "figure": str, "vary": dict, "seeds": list, "fixed": dict, "differs": list}
PARTS |= {"against": dict, "equal": dict, "ownership": dict, "marks": dict}
OWNERSHIP_PARTS = {"references": list, "probes": int, "copies": list, "changed": list, "avoiding": list, "half": dict}
PARTS_OF = {
    OWNERSHIP: OWNERSHIP_PARTS | {"small": dict},
    MARKS: {"copies": list, "changed": list, "cleansed": list, "keys": int},
}
CHECKS = {OWNERSHIP: check_ownership, MARKS: check_marks}  # of parts whose kinds are right


def read_grid_file(name: str) -> dict[str, Any]:
    """Return the parts of a packaged experiment or of a user's yaml file, each of the right kind.

    Args:
        name: of a packaged experiment, or the path of a yaml file.

    Raises:
        UserError: an unknown name, or an invalid file.
    """
    where = Path(name) if name.endswith((".yaml", ".yml")) else packaged_properties() / "experiment" / f"{name}.yaml"
    if where.is_dir():
        raise UserError(f"experiment {name}: a folder; name a yaml file in it")
    if not where.is_file():
        raise unknown_name("experiment or yaml file", name, known_experiments())
    try:
        parts = safe_yaml(where.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        if isinstance(error, UserError):  # a number that yaml reads as another one
            raise UserError(f"experiment {name}: {error}") from error
        raise UserError(f"experiment {name}: not valid yaml: {' '.join(str(error).split())}") from error
    _check(name, parts)
    return parts


def _check(name: str, parts: Any) -> None:
    if not isinstance(parts, dict):
        raise UserError(f"experiment {name}: it must be a mapping with {', '.join(PARTS)}")
    optional = {"fixed", "differs", "against", "equal", *PARTS_OF}
    optional |= {"seeds"} if parts.get("figure") == TABLE else set()
    _check_parts(f"experiment {name}:", parts, PARTS, optional)
    for sentence in parts.get("differs", []):
        if not isinstance(sentence, str):
            raise UserError(f"experiment {name}: differs: {sentence!r} is no sentence; put the sentence in quotes")
    for part in PARTS_OF.keys() & {name for name, given in parts.items() if given}:
        _check_parts(f"experiment {name}: {part}:", parts[part], PARTS_OF[part], {"half"})
        CHECKS[part](f"experiment {name}: {part}:", parts[part], parts)
    for key, baselines in parts.get("against", {}).items():
        values = parts["vary"].get(key)
        known = list(values) if isinstance(values, (list, dict)) else []
        if not isinstance(baselines, list) or not all(baseline in known for baseline in baselines):
            raise UserError(
                f"experiment {name}: against takes values of a varied key, and {baselines} are none of {key}"
            )


def _check_parts(where: str, parts: dict[Any, Any], kinds: Mapping[str, type], optional: set[str]) -> None:
    for part in parts:
        if part not in kinds:
            hint = nearest(part, kinds)
            meant = f"did you mean {hint!r}?" if hint else f"the keys are {', '.join(kinds)}"
            raise UserError(f"{where} unknown key {part!r}; {meant}")
    for part, kind in kinds.items():
        given = parts.get(part)
        if (not isinstance(given, kind) or isinstance(given, bool)) and (part in parts or part not in optional):
            named = {str: "a text", dict: "a mapping", list: "a list", int: "a whole number"}
            raise UserError(f"{where} {part} is missing or not {named[kind]}")
