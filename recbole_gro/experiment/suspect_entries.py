"""The entries of an experiment's file that describe suspects: attacks on a model, references, models of other data."""

from collections.abc import Mapping, Sequence
from typing import Any

from recbole_gro.utils.errors import UserError

USUAL = "usual"  # the attack whose queries are the usual histories of a cleansed surrogate
ONLY = "only"  # models or seeds of the owners that an entry is limited to
OF_OWNER = ("model", "defense", "seed", "references")  # what the owner's model has, or the experiment sets


def check_ownership(where: str, part: Mapping[str, Any], parts: Mapping[str, Any]) -> None:
    """Check the part `ownership` of an experiment's file.

    Args:
        where: the file and the part, for messages.
        part: its mapping, whose values are of the right kinds.
        parts: all of the file, whose varied models and seeds entries may name.

    Raises:
        UserError: an invalid entry.
    """
    models = _listed(parts["vary"].get("model"))  # none: the figure is refused afterwards
    owners = [*models, *_listed(parts.get("seeds"))]
    for name in ("copies", "changed", "avoiding"):
        _check_different(f"{where} {name}:", part[name])
        for entry in part[name]:
            _check_attack(f"{where} {name}:", entry, ("attacker",))
            only = entry.get(ONLY, owners)
            if not isinstance(only, list) or not only or (models and not all(value in owners for value in only)):
                known = f"models and seeds of the file, {', '.join(map(str, owners))}"
                raise UserError(f"{where} {name}: {ONLY}: {only!r} is not allowed; it takes a list of {known}")
    _check_seeds(f"{where} references:", part["references"])
    if part["probes"] < 1:
        raise UserError(f"{where} probes: {part['probes']} is not allowed; it takes a whole number >= 1")
    for model, seeds in part.get("half", {}).items():
        if models and model not in models:
            raise UserError(f"{where} half: {model!r} is no varied model; {', '.join(map(str, models))} are")
        _check_seeds(f"{where} half: {model}:", seeds)
    small = part["small"]
    if type(small.get("count")) is not int or small["count"] < 0:
        raise UserError(f"{where} small: count is missing or not a whole number >= 0")
    if not isinstance(small.get("model"), str):
        raise UserError(f"{where} small: model is missing or not one name, such as GRU4Rec")


def check_marks(where: str, part: Mapping[str, Any], parts: Mapping[str, Any]) -> None:
    """Check the part `marks` of an experiment's file; its arguments are those of `check_ownership`.

    Raises:
        UserError: an invalid entry.
    """
    for name in ("copies", "changed", "cleansed"):
        _check_different(f"{where} {name}:", part[name])
        for entry in part[name]:
            _check_attack(f"{where} {name}:", entry, ("attacker", USUAL) if name == "cleansed" else ("attacker",))
            if ONLY in entry or (USUAL in entry and name != "cleansed"):
                key = ONLY if ONLY in entry else USUAL
                raise UserError(f"{where} {name}: {key} is no key of its entries; leave it out")
    if part["keys"] < 1:
        raise UserError(f"{where} keys: {part['keys']} is not allowed; it takes a whole number >= 1")


def _check_different(where: str, entries: Sequence[Any]) -> None:
    """Check that no attack is listed twice: each is one suspect of an owner.

    Raises:
        UserError: one is.
    """
    listed: list[Any] = []
    for entry in entries:
        attack = {key: value for key, value in entry.items() if key != ONLY} if isinstance(entry, dict) else entry
        if attack in listed:
            raise UserError(f"{where} {entry!r} is listed twice; give each attack once")
        listed.append(attack)


def _check_attack(where: str, entry: Any, attacks: Sequence[str]) -> None:
    """Check that an entry is a mapping of settings that has each of some attacks, and nothing that the owner has.

    Raises:
        UserError: it is not.
    """
    if not isinstance(entry, dict) or not all(isinstance(entry.get(attack), str) for attack in attacks):
        example = ", ".join(f"{attack}: standard+mixed" for attack in attacks)
        raise UserError(f"{where} {entry!r} is not an attack; each entry has {' and '.join(attacks)}: {{{example}}}")
    for key in OF_OWNER:
        if key in entry:
            raise UserError(f"{where} {key}: an entry has settings of the attack, and {key} is none; leave it out")


def _check_seeds(where: str, seeds: Any) -> None:
    if not isinstance(seeds, list) or not all(type(seed) is int and seed >= 0 for seed in seeds):
        raise UserError(f"{where} {seeds!r} is not a list of whole numbers >= 0, which are seeds")
    if len(set(seeds)) < len(seeds):
        raise UserError(f"{where} {seeds!r} has duplicate values; give each seed once")


def _listed(values: Any) -> list[Any]:
    return [*values] if isinstance(values, list | dict) else []
