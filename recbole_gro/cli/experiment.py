"""The command `recbole-gro experiment`."""

import argparse
from collections.abc import Sequence
from typing import Any

from recbole_gro.utils.command_line import Parser, launched, options_and_settings
from recbole_gro.utils.errors import UserError, check_spelling
from recbole_gro.utils.packaged import known_experiments

EXAMPLES = {
    "recbole-gro experiment tradeoff --dry_run": "the missing cells and their expected duration",
    "recbole-gro experiment defenses --seeds=[1,2,3] --workers=4": "three seeds, four cells at a time",
    "recbole-gro experiment lambda --gro_lambda=[0.1,1] --epochs=20": "values of a varied key; a value for all cells",
    "recbole-gro experiment my_grid.yaml --output_dir=out": "a grid of your own; the same command resumes it",
}


def parser() -> Parser:
    """Return the parser of the options; all else is --KEY=VALUE."""
    made = Parser(
        prog="recbole-gro experiment",
        usage="recbole-gro experiment NAME [OPTION ...] [--KEY=VALUE ...]",
        description="Run the missing cells of a grid of settings and seeds, and report on the grid.",
        examples=EXAMPLES,
        epilog="Every other --KEY=VALUE is a key of `recbole-gro run`: the values of a varied key, or a value for all "
        "cells.\n--seeds=[1,2] gives the seeds. `recbole-gro settings` searches the keys.",
    )
    name = made.add_argument("name", nargs="?", metavar="NAME", help=_known())
    name.completer = lambda **_: known_experiments()  # type: ignore[attr-defined]
    execution, output = made.add_argument_group("execution"), made.add_argument_group("output")
    execution.add_argument("--dry_run", action="store_true", help="only print the missing cells and their duration")
    execution.add_argument("--executor", default="local", help="local or ray (default local)")
    execution.add_argument("--workers", default="1", help="processes of the local executor (default 1)")
    execution.add_argument("--ray_address", help="running Ray cluster, such as auto (default: start one here)")
    output.add_argument("--output_dir", help="folder of cells, stages and report (default runs/experiment-NAME)")
    output.add_argument("--stages_dir", help="folder of stages that experiments share (default: OUTPUT_DIR/stages)")
    return made


def _known() -> str:
    return f"{', '.join(known_experiments())}, or the path of a yaml file"


def parse(arguments: Sequence[str]) -> tuple[argparse.Namespace, dict[str, Any]]:
    """Return the options of `run_experiment`, and the --KEY=VALUE settings with their values.

    Raises:
        UserError: an argument that is neither, or an invalid one.
    """
    options, settings = options_and_settings(parser(), arguments)
    if options.name is None:
        raise UserError(f"name: which experiment? Give one of {_known()}")
    if "config_files" in settings:
        raise UserError("config_files: give the keys as --KEY=VALUE, or under `fixed` in a yaml file of an experiment")
    from recbole_gro.config.files import value_of, values_of
    from recbole_gro.config.plugins import import_plugins
    from recbole_gro.config.properties import recbole_keys
    from recbole_gro.config.settings import declared_keys

    options.workers = value_of("workers", options.workers)
    import_plugins(settings)  # they declare how their settings are read
    check_spelling(settings, vars(options).keys(), recbole_keys() | declared_keys().keys())
    return options, {name: values_of(name, text) for name, text in settings.items()}


def work(words: list[str]) -> None:
    """Run the missing cells of an experiment.

    Raises:
        UserError: an invalid word, setting or file.
    """
    if launched():
        raise UserError("torchrun starts single runs; start experiments without it (--workers, --executor=ray)")
    options, settings = parse(words)
    from recbole_gro.experiment.run import run_experiment

    try:
        run_experiment(settings=settings, **vars(options))
    except KeyboardInterrupt as error:
        error.add_note("finished cells and stages are kept; the same command resumes the experiment")
        raise
