"""The command line: `recbole-gro`, `python run_recbole_gro.py`, `python -m recbole_gro`."""

import argparse
import importlib
import sys
from collections.abc import Sequence
from typing import Any

from recbole_gro import __version__
from recbole_gro.config.models import serving
from recbole_gro.config.plugins import import_plugins
from recbole_gro.config.reference import help_text
from recbole_gro.experiment.plan import known_experiments
from recbole_gro.utils.command_line import DEBUG, Parser, exit_code, options_and_settings
from recbole_gro.utils.errors import UserError, nearest

SUBCOMMANDS = {  # name: where its function is, and what it does
    "run": ("recbole_gro.cli.main:run", "train a target, defend it, attack it and compare (the default)"),
    "experiment": ("recbole_gro.cli.experiment:main", "run a grid of settings and seeds, and report on it"),
    "audit": ("recbole_gro.cli.audit:main", "attack a live service, and report how much of it leaks"),
    "convert": ("recbole_gro.data.convert:main", "convert a published dataset to RecBole's atomic files"),
    "statistics": ("recbole_gro.data.statistics:main", "print the size of a dataset beside the paper's"),
    "check-model": ("recbole_gro.cli.check_model:main", "check models as target, student and surrogate"),
}


def parse(arguments: Sequence[str]) -> tuple[dict[str, Any], dict[str, str]]:
    """Return the arguments of `run_recbole_gro`, and the --KEY=VALUE settings.

    Raises:
        UserError: an argument that is neither an option nor --KEY=VALUE, or an option without its value.
        SystemExit: after --help, which lists the keys of plugins too, and --version.
    """
    subcommands = "\n".join(f"  {name:<12} {summary}" for name, (_, summary) in SUBCOMMANDS.items())
    parser = Parser(
        prog="recbole-gro",
        usage="recbole-gro [SUBCOMMAND] [-m MODEL] [-d DATASET] [--config_files FILES] [--KEY=VALUE ...]",
        description="Train a recommender, defend it against model extraction, attack it, and compare.\n\n"
        f"subcommands (SUBCOMMAND --help shows the options of each):\n{subcommands}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        add_help=False,
    )
    parser.add_argument("-h", "--help", action="store_true", help="show this help")
    parser.add_argument("-m", "--model", help="RecBole sequential model, such as BERT4Rec or NARM")
    parser.add_argument("-d", "--dataset", help="dataset name (default ml-100k)")
    parser.add_argument("--config_files", metavar='"A.yaml B.yaml"', help="yaml files, here or packaged (gro.yaml)")
    parser.add_argument("--version", action="version", version=f"recbole-gro {__version__}")
    options, settings = options_and_settings(parser, arguments)
    files = options.config_files.split() if options.config_files else None
    if options.help:
        import_plugins(settings, files=files)
        debug = "--debug, with every subcommand, or RECBOLE_GRO_DEBUG=1: errors with their traceback"
        parser.epilog = f"{debug}\n\n{help_text()}"
        parser.print_help()
        parser.exit()
    return {"model": options.model, "dataset": options.dataset, "config_file_list": files}, settings


def run(arguments: Sequence[str]) -> int:
    """Compare the defenses of one run.

    Args:
        arguments: of the command line, without the subcommand.

    Returns:
        The exit status: 0, 2 after one line on invalid input, 130 after an interrupt.
    """

    def work(words: list[str]) -> None:
        if words and not words[0].startswith("-"):
            raise _no_subcommand(words[0])
        call, settings = parse(words)
        from recbole_gro.quick_start.run import run_recbole_gro

        run_recbole_gro(**call, command_line=settings)

    return exit_code("recbole-gro", work, arguments)


def _no_subcommand(word: str) -> UserError:
    """Return the error for a first word that is no subcommand, with what may have been meant."""
    if word in known_experiments():
        meant = f"did you mean recbole-gro experiment {word}?"
    elif word.endswith((".yaml", ".yml")):
        meant = f"did you mean recbole-gro --config_files={word}, or recbole-gro experiment {word}?"
    elif "=" in word:
        meant = f"did you mean --{word}?"
    elif model := nearest(word, serving(), 0.9):
        meant = f"did you mean recbole-gro --model={model}?"
    elif subcommand := nearest(word, SUBCOMMANDS):
        meant = f"did you mean recbole-gro {subcommand}?"
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
    words = list(sys.argv[1:] if arguments is None else arguments)
    first = next((word for word in words if word != DEBUG), None)
    if first in SUBCOMMANDS:
        words.remove(first)
    module, _, function = SUBCOMMANDS.get(first or "run", SUBCOMMANDS["run"])[0].partition(":")
    # a subcommand imports what it needs and no more
    return getattr(importlib.import_module(module), function)(words)
