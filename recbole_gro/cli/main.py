"""The command line: `recbole-gro`, `python run_recbole_gro.py`, `python -m recbole_gro`."""

import argparse
import importlib
import sys
from collections.abc import Sequence
from typing import Any

from recbole_gro import __version__
from recbole_gro.config.reference import help_text
from recbole_gro.utils.command_line import exit_code, settings_of
from recbole_gro.utils.errors import UserError


def parse(arguments: Sequence[str]) -> tuple[dict[str, Any], dict[str, str]]:
    """What run_recbole_gro is called with, and the --KEY=VALUE settings.

    Raises:
        UserError: a word that is neither an option nor --KEY=VALUE, or an option without its value.
    """
    parser = argparse.ArgumentParser(
        prog="recbole-gro",
        description="Train a recommender, defend it against model extraction, attack it, and compare.",
        epilog=f"subcommands: {', '.join(SUBCOMMANDS)} (each with --help; without one: run)\n"
        f"--debug, with any of them, or RECBOLE_GRO_DEBUG=1: errors with their traceback\n\n{help_text()}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
        exit_on_error=False,
    )
    parser.add_argument("-m", "--model", help="RecBole sequential model, such as BERT4Rec or NARM")
    parser.add_argument("-d", "--dataset", help="dataset name (default ml-100k)")
    parser.add_argument("--config_files", metavar='"A.yaml B.yaml"', help="yaml files, here or packaged (gro.yaml)")
    parser.add_argument("--version", action="version", version=f"recbole-gro {__version__}")
    try:
        known, rest = parser.parse_known_args(arguments)
    except argparse.ArgumentError as error:
        raise UserError(str(error)) from error
    settings = settings_of(rest)
    files = known.config_files.split() if known.config_files else None
    return {"model": known.model, "dataset": known.dataset, "config_file_list": files}, settings


SUBCOMMANDS = {
    "run": "recbole_gro.cli.main:run",
    "experiment": "recbole_gro.cli.experiment:main",
    "convert": "recbole_gro.data.convert:main",
    "statistics": "recbole_gro.data.statistics:main",
    "check-model": "recbole_gro.cli.check_model:main",
}


def run(arguments: Sequence[str]) -> int:
    """Run one comparison: train a target, defend it, attack it.

    Args:
        arguments: of the command line, without the subcommand.

    Returns:
        The exit status: 0, or 2 after one line on what was wrong with the input.
    """

    def work(words: list[str]) -> None:
        call, settings = parse(words)
        from recbole_gro.quick_start.run import run_recbole_gro

        run_recbole_gro(**call, command_line=settings)

    return exit_code("recbole-gro", work, arguments)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a subcommand; `run` where none is named.

    Args:
        arguments: of the command line; None: those of the process.

    Returns:
        The exit status of the subcommand.
    """
    given = list(sys.argv[1:] if arguments is None else arguments)
    name = given.pop(0) if given and given[0] in SUBCOMMANDS else "run"
    module, _, function = SUBCOMMANDS[name].partition(":")
    # a subcommand imports what it needs and no more
    return getattr(importlib.import_module(module), function)(given)
