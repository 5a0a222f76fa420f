"""Completion of words by the shell, with argcomplete: subcommands, their options, names and --KEY=."""

import os

import argcomplete

from recbole_gro.cli.main import SUBCOMMANDS, module_of
from recbole_gro.utils.command_line import DEBUG, QUIET, Parser
from recbole_gro.utils.packaged import listed_keys, packaged_properties, recbole_properties

WITH_KEYS = ("run", "experiment", "audit", "dataset statistics")  # that take --KEY=VALUE


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
    properties = (packaged_properties() / "overall.yaml", recbole_properties() / "overall.yaml")
    keys = {key.name: key for file in properties if name in WITH_KEYS for key in listed_keys(file)}
    for key in keys.values():
        if f"--{key.name}" not in parser._option_string_actions:
            parser.add_argument(f"--{key.name}=", action="store_true", help=key.meaning.replace("%", "%%"))
    return parser
