"""The command line: `recbole-gro`, `python run_recbole_gro.py`, `python -m recbole_gro`."""

import importlib
import os
import sys
from collections.abc import Sequence
from typing import Any

from recbole_gro.utils.command_line import DEBUG, QUIET, Parser, exit_code, launched
from recbole_gro.utils.errors import UserError, nearest
from recbole_gro.utils.packaged import known_experiments

# words: module with its `parser()` and `work(words)`, which imports what it needs and no more; and what it does
SUBCOMMANDS = {
    "run": ("recbole_gro.cli.run", "train a target, defend it, attack it and compare (the default)"),
    "experiment": ("recbole_gro.cli.experiment", "run a grid of settings and seeds, and report on it"),
    "audit": ("recbole_gro.cli.audit", "attack a live service, and report how much of it leaks"),
    "dataset convert": ("recbole_gro.cli.dataset_convert", "convert a published dataset to RecBole's atomic files"),
    "dataset statistics": ("recbole_gro.cli.dataset_statistics", "print the size of a dataset beside the paper's"),
    "verify": ("recbole_gro.cli.verify", "say whether a suspect recommender is a copy of a model"),
    "check-model": ("recbole_gro.cli.check_model", "check models as target, student and surrogate"),
    "serve": ("recbole_gro.cli.serve", "serve a defended model over HTTP"),
    "keys": ("recbole_gro.cli.keys", "create, change and revoke the API keys of a service"),
    "detect": ("recbole_gro.cli.detect", "find model extraction in an access log"),
    "settings": ("recbole_gro.cli.settings", "search all settings by name and meaning"),
}
EXAMPLES = {
    "recbole-gro -m BERT4Rec --config_files=gro.yaml": "the demo: three defenses of one target, each attacked",
    "recbole-gro run --help": "the settings of a run by group: data, target, defense, attack, output",
    "recbole-gro settings lambda": "settings whose name or meaning has the word",
    "recbole-gro experiment tradeoff --dry_run": "the cells of an experiment and their duration",
}
FOOT = f"""\
anywhere among the words of every subcommand:
  {QUIET}      only results and errors on the terminal: no progress bars, no log lines (run.log has them all)
  {DEBUG}      errors with their traceback, as with RECBOLE_GRO_DEBUG=1 in the environment
  -h, --help   the help of a subcommand
  --version    the version

Bars and tables fit the terminal, or COLUMNS; a file gets markdown and no bars. NO_COLOR is respected.
Completion in bash or zsh:  eval "$(register-python-argcomplete recbole-gro)\""""


def module_of(name: str) -> Any:
    """Import the module of a subcommand."""
    return importlib.import_module(SUBCOMMANDS[name][0])


def run_subcommand(name: str, words: Sequence[str] | None = None) -> int:
    """Run a subcommand and return its exit status.

    Args:
        name: of SUBCOMMANDS.
        words: after its name; None: those of the process.
    """
    command = "recbole-gro" if name == "run" else f"recbole-gro {name}"
    in_all = name == "run" and launched()
    run = importlib.import_module("recbole_gro.trainer.processes").exit_code_of_all if in_all else exit_code
    return run(command, lambda given: module_of(name).work(given), words)


def overview(group: str = "") -> Parser:
    """Return the parser that prints the help above all subcommands, or above those of a group, such as `dataset`."""
    names = [name for name in SUBCOMMANDS if name.startswith(group)]
    width = max(map(len, SUBCOMMANDS))
    lines = "\n".join(f"  {name:<{width}}  {SUBCOMMANDS[name][1]}" for name in names)
    return Parser(
        prog=f"recbole-gro {group}".strip(),
        usage=f"recbole-gro {group or '[SUBCOMMAND]'} ... [--KEY=VALUE ...]",
        description="Train a recommender, defend it against model extraction, attack it, and compare.",
        examples={} if group else EXAMPLES,
        epilog=f"subcommands (SUBCOMMAND --help shows the options of each):\n{lines}\n\n{FOOT}",
        add_help=False,
    )


def _work_of_group(words: list[str]) -> None:
    """Print an overview, or raise UserError for a group without one of its subcommands."""
    first, *rest = words
    if first in ("-h", "--help"):
        print(overview().format_help(), end="")
    elif rest[:1] in (["-h"], ["--help"]):
        print(overview(first).format_help(), end="")
    else:
        members = [name.removeprefix(f"{first} ") for name in SUBCOMMANDS if name.startswith(f"{first} ")]
        given = f"{rest[0]!r} is none of them" if rest else "none is given"
        meant = nearest(rest[0], members) if rest else None
        hint = f"; did you mean recbole-gro {first} {meant}?" if meant else ""
        raise UserError(f"{first} has the subcommands {', '.join(members)}; {given}{hint}")


def no_subcommand(word: str) -> UserError:
    """Return the error for a first word that is no subcommand, with what may have been meant."""
    subcommands = {name.split()[-1]: name for name in reversed(SUBCOMMANDS)}
    if word in known_experiments():
        meant = f"did you mean recbole-gro experiment {word}?"
    elif word.endswith((".yaml", ".yml")):
        meant = f"did you mean recbole-gro --config_files={word}, or recbole-gro experiment {word}?"
    elif "=" in word:
        meant = f"did you mean --{word}?"
    elif model := nearest(word, importlib.import_module("recbole_gro.config.models").serving(), 0.9):
        meant = f"did you mean recbole-gro --model={model}?"
    elif subcommand := nearest(word, subcommands):
        meant = f"did you mean recbole-gro {subcommands[subcommand]}?"
    else:
        meant = f"there are {', '.join(SUBCOMMANDS)}"
    return UserError(f"unknown subcommand {word!r}; {meant}")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a subcommand; `run` where none is named.

    Args:
        arguments: of the command line; None: those of the process.

    Returns:
        The exit status of the subcommand.
    """
    if "_ARGCOMPLETE" in os.environ:
        importlib.import_module("recbole_gro.cli.completion").complete()
    words = list(sys.argv[1:] if arguments is None else arguments)
    given = [word for word in words if word not in (DEBUG, QUIET)]
    name = next((name for n in (2, 1) if (name := " ".join(given[:n])) in SUBCOMMANDS), "run")
    if "--version" in given:
        name, words = "run", ["--version"]
    elif given[:1] == name.split()[:1]:
        for word in name.split():
            words.remove(word)
    elif given in (["-h"], ["--help"]) or any(name.startswith(f"{given[0]} ") for name in SUBCOMMANDS if given):
        return exit_code("recbole-gro", _work_of_group, words)
    return run_subcommand(name, words)
