"""The command `recbole-gro run`: one comparison of defenses."""

import os
from collections.abc import Sequence
from typing import Any

from recbole_gro import __version__
from recbole_gro.utils.command_line import Parser, options_and_settings

EXAMPLES = {
    "recbole-gro -m BERT4Rec --config_files=gro.yaml": "the demo: three defenses of one target, each attacked",
    'recbole-gro -m NARM -d my-data --data_path=/data --defense="[none, gro_decoys]"': "data of your own",
    "recbole-gro -m BERT4Rec --surrogate_model=NARM --query_sequences=300": "another surrogate, a smaller budget",
    "recbole-gro -m BERT4Rec --defense=gro --gro_lambda=0.1 --attack=False": "train a defended model only",
    "recbole-gro -m my_module:MyModel --plugins=[my_parts]": "a model and parts of your own",
}


def parser() -> Parser:
    """Return the parser of the options; all else is --KEY=VALUE."""
    made = Parser(
        prog="recbole-gro run",
        usage="recbole-gro [run] [-m MODEL] [-d DATASET] [--config_files FILES] [--KEY=VALUE ...]",
        description="Train a target, defend it, attack each defense with the same query budget, and compare.",
        examples=EXAMPLES,
        add_help=False,
    )
    made.add_argument("-h", "--help", action="store_true", help="show this help")
    made.add_argument("-m", "--model", help="RecBole sequential model, such as BERT4Rec or NARM")
    made.add_argument("-d", "--dataset", help="dataset name (default ml-100k)")
    made.add_argument("--version", action="version", version=f"recbole-gro {__version__}")
    made.add_argument("--config_files", metavar='"A.yaml B.yaml"', help="yaml files, here or packaged (gro.yaml)")
    return made


def parse(arguments: Sequence[str]) -> tuple[dict[str, Any], dict[str, str]]:
    """Return the arguments of `run_recbole_gro`, and the --KEY=VALUE settings.

    Raises:
        UserError: an argument that is neither an option nor --KEY=VALUE, or an option without its value.
        SystemExit: after --help, which lists the keys of plugins too.
    """
    options, settings = options_and_settings(parser(), arguments)
    given = options.config_files
    files = None
    if given:  # a path may have blanks
        files = [given] if os.path.isfile(given) else given.split()
    if options.help:
        _print_help(settings, files)
    return {"model": options.model, "dataset": options.dataset, "config_file_list": files}, settings


def _print_help(settings: dict[str, str], files: list[str] | None) -> None:
    from recbole_gro.config.plugins import import_plugins
    from recbole_gro.config.reference import help_text

    import_plugins(settings, files=files)
    made = parser()
    made.epilog = help_text()
    made.print_help()
    made.exit()


def work(words: list[str]) -> None:
    """Compare the defenses of one run.

    Raises:
        UserError: an invalid word, setting or file.
    """
    if words and not words[0].startswith("-"):
        from recbole_gro.cli.main import no_subcommand

        raise no_subcommand(words[0])
    call, settings = parse(words)
    from recbole_gro.quick_start.run import run_recbole_gro

    run_recbole_gro(**call, command_line=settings)
