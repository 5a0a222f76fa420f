"""The command of experiments: `recbole-gro experiment`, `recbole-gro-experiment`, `python run_gro_experiment.py`."""

import argparse
from collections.abc import Sequence
from typing import Any

from recbole_gro.config.files import literal, values_of
from recbole_gro.config.plugins import import_plugins
from recbole_gro.experiment.plan import known_experiments
from recbole_gro.experiment.run import run_experiment
from recbole_gro.quick_start.executor import EXECUTORS
from recbole_gro.utils.command_line import Parser, exit_code, options_and_settings
from recbole_gro.utils.errors import UserError

COMMAND = "recbole-gro experiment"


def parse(arguments: Sequence[str]) -> tuple[argparse.Namespace, dict[str, Any]]:
    """Return the options of `run_experiment`, and the --KEY=VALUE settings with their values.

    Raises:
        UserError: an argument that is neither, or an invalid one.
    """
    parser = Parser(
        prog=COMMAND,
        description="Run the missing cells of a grid of settings and seeds, and report on the grid. Every other "
        "--KEY=VALUE is a key of recbole-gro: the values of a varied key (--gro_lambda=[0.1,1]), or a value for all "
        "cells; --seeds=[1,2] gives the seeds.",
    )
    known = f"{', '.join(known_experiments())}, or the path of a yaml file"
    parser.add_argument("name", nargs="?", help=known)
    parser.add_argument("--output_dir", help="folder of cells, stages and report (default runs/experiment-NAME)")
    parser.add_argument("--stages_dir", help="folder of stages that experiments share (default: OUTPUT_DIR/stages)")
    parser.add_argument("--dry_run", action="store_true", help="only print the missing cells and their duration")
    parser.add_argument("--executor", default="local", help=f"{' or '.join(EXECUTORS)} (default local)")
    parser.add_argument("--workers", default=1, type=literal, help="processes of the local executor (default 1)")
    parser.add_argument("--ray_address", help="running Ray cluster, such as auto (default: start one on this machine)")
    options, settings = options_and_settings(parser, arguments)
    if options.name is None:
        raise UserError(f"name: which experiment? Give one of {known}")
    if "config_files" in settings:
        raise UserError("config_files: give the keys as --KEY=VALUE, or under `fixed` in a yaml file of an experiment")
    import_plugins(settings)  # they declare how their settings are read
    return options, {name: values_of(name, text) for name, text in settings.items()}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command.

    Args:
        arguments: of the command line; None: those of the process.

    Returns:
        The exit status: 0, 2 after one line on invalid input, 130 after an interrupt.
    """

    def work(words: list[str]) -> None:
        options, settings = parse(words)
        try:
            run_experiment(settings=settings, **vars(options))
        except KeyboardInterrupt as error:
            error.add_note("finished cells and stages are kept; the same command resumes the experiment")
            raise

    return exit_code(COMMAND, work, arguments)
