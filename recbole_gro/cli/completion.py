"""Completion of words by the shell, with argcomplete: subcommands, their options, names, --KEY= and its values."""

import argparse
import importlib
import os
from collections.abc import Callable
from typing import Any

import argcomplete

from recbole_gro.cli.main import SUBCOMMANDS, module_of
from recbole_gro.utils.command_line import DEBUG, QUIET, Parser
from recbole_gro.utils.packaged import listed_keys, packaged_properties, recbole_properties

WITH_KEYS = ("run", "experiment", "audit", "dataset statistics")  # that take --KEY=VALUE
FEW_KEYS = {  # of subcommands that take some settings
    "detect": ("detector", "false_positive_rate", "detection_window", "served_k"),
    "serve": ("served_k", "head_k", "defense_key", "random_keyed"),
}
# where names of a kind are registered, of which an import takes seconds: only the completion of a value needs them
REGISTRIES = {
    "defense": ("recbole_gro.defense", "register_defense"),
    "attacker": ("recbole_gro.attack", "register_attacker"),
    "query strategy": ("recbole_gro.attack", "register_query_strategy"),
    "detector": ("recbole_gro.detection", "register_detector"),
    "reference": ("recbole_gro.quick_start.references", "register_reference"),
}
# types of options that are no settings, or of another form than the setting of their name
OPTIONS = {"model": "model", "defense": "name of defense", "detector": "name of detector"}


def complete() -> None:
    """Answer the shell's request in the environment, and exit; without one, return."""
    words = os.environ.get("COMP_LINE", "").split()[1:]
    argcomplete.autocomplete(_completed_parser(words), always_complete_options=False)


def _completed_parser(words: list[str]) -> Parser:
    """Return a parser of all subcommands, of which the one that the words of a line begin with has its options."""
    words = [word for word in words if word not in (DEBUG, QUIET)]
    named = next((name for n in (2, 1) if (name := " ".join(words[:n])) in SUBCOMMANDS), None)
    parser = Parser(prog="recbole-gro", parents=[] if named else [_options("run")], add_help=False)
    levels = {"": parser.add_subparsers()}
    for name, (_, summary) in SUBCOMMANDS.items():
        group, _, last = name.rpartition(" ")
        if group not in levels:
            levels[group] = levels[""].add_parser(group).add_subparsers()
        parents = [_options(name)] if name == named else []
        levels[group].add_parser(last, help=summary, parents=parents, add_help=False)
    return parser


def _options(name: str) -> Parser:
    """Return the parser of a subcommand with --KEY= of every setting where it takes them."""
    parser = module_of(name).parser()
    for flag in (DEBUG, QUIET):
        parser.add_argument(flag, action="store_true")
    for action in parser._actions:
        if completer := _option_values(name, action):
            action.completer = completer  # argcomplete's
    properties = (packaged_properties() / "overall.yaml", recbole_properties() / "overall.yaml")
    keys = {key.name: key for file in properties for key in listed_keys(file)}
    taken = keys if name in WITH_KEYS else FEW_KEYS.get(name, ())
    for key in (keys[one] for one in taken):
        if f"--{key.name}" not in parser._option_string_actions:
            if not os.environ.get("COMP_LINE", "").endswith(f"--{key.name}="):  # which is followed by a value
                parser.add_argument(f"--{key.name}=", action="store_true", help=key.meaning.replace("%", "%%"))
            if f"--{key.name}=" in os.environ.get("COMP_LINE", "") and (completer := _values(key.type)):
                hidden: Any = parser.add_argument(f"--{key.name}", help=argparse.SUPPRESS)
                hidden.completer = completer
    return parser


def _option_values(command: str, action: argparse.Action) -> Callable[..., list[str]] | None:
    """Return what gives the values of an option or a positional argument; None where any text may be one."""
    if action.nargs == 0 or action.choices:
        return None
    if command == "serve" and action.dest == "on_alarm":
        return lambda **_: list(importlib.import_module("recbole_gro.http_service.guard").ON_ALARM)
    if command == "verify" and action.dest == "method":
        return lambda **_: list(importlib.import_module("recbole_gro.ownership.method").methods)  # and its package
    return _values(OPTIONS.get("model" if action.dest == "models" else action.dest, ""))


def _values(declared: str) -> Callable[..., list[str]] | None:
    """Return what gives the values of a type of settings: its choices, or the names of parts or models.

    >>> _values("converged|untrained")(), _values("bool")(), _values("int >= 1")
    (['converged', 'untrained'], ['True', 'False'], None)

    Args:
        declared: the type, as yaml files have it.
    """
    kind, _, named = declared.partition(" or ")[0].partition(" ")
    part = named.removeprefix("of ")
    if "|" in kind or kind == "bool":
        choices = ["True", "False"] if kind == "bool" else kind.split("|")
        return lambda **_: choices
    if kind in ("model", "models"):
        return lambda **_: importlib.import_module("recbole_gro.config.models").serving()
    if kind in ("name", "names") and part in REGISTRIES:
        module, register = REGISTRIES[part]
        return lambda **_: list(getattr(importlib.import_module(module), register).__self__)  # the registry's method
    return None
