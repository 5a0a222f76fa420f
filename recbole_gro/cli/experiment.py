"""The command of experiments: `recbole-gro-experiment`, `python run_gro_experiment.py`."""

import argparse
import sys
from collections.abc import Sequence
from typing import Any

from recbole_gro.config.files import literal, values_of
from recbole_gro.experiment.executor import EXECUTORS
from recbole_gro.experiment.plan import known_experiments
from recbole_gro.experiment.run import run_experiment
from recbole_gro.utils.command_line import exit_code, settings_of
from recbole_gro.utils.errors import UserError


def parse(arguments: Sequence[str]) -> tuple[argparse.Namespace, dict[str, Any]]:
    """Options, and the --KEY=VALUE settings as values.

    Raises:
        UserError: a word that is neither, or an option's value out of range.
    """
    parser = argparse.ArgumentParser(
        prog="recbole-gro-experiment",
        description="Run a grid of settings and seeds, or what of it is not there yet, and report on it. "
        "Every other --KEY=VALUE is a key of recbole-gro: of one that the experiment varies it gives the values "
        "(--gro_lambda=[0.1,1]), else it holds for all cells; --seeds=[1,2] gives the seeds.",
        allow_abbrev=False,
        exit_on_error=False,
    )
    parser.add_argument("name", nargs="?", help=f"{', '.join(known_experiments())}, or a yaml file of your own")
    parser.add_argument("--output_dir", help="folder of cells, stages and report (default runs/experiment-NAME)")
    parser.add_argument(
        "--stages_dir",
        help="folder of stages that several experiments share, such as the target (default: stages there)",
    )
    parser.add_argument(
        "--dry_run", action="store_true", help="only say what would be run, and about how long it takes"
    )
    parser.add_argument("--executor", default="local", help=f"{' or '.join(EXECUTORS)} (default local)")
    parser.add_argument("--workers", default="1", help="processes on this machine, for the local executor (default 1)")
    parser.add_argument("--ray_address", help="running Ray cluster, such as auto; none: one is started on this machine")
    try:
        options, rest = parser.parse_known_args(arguments)
    except argparse.ArgumentError as error:
        raise UserError(str(error)) from error
    if options.name is None:
        raise UserError(f"which experiment? Give one of {', '.join(known_experiments())}, or a yaml file of your own")
    options.workers = literal(options.workers)
    if type(options.workers) is not int or options.workers < 1:
        raise UserError(f"workers: {options.workers!r} is not allowed; it takes a whole number >= 1")
    if options.executor not in EXECUTORS:
        raise UserError(f"executor: {options.executor!r} is not one of {', '.join(EXECUTORS)}")
    settings = settings_of(rest)
    if "config_files" in settings:
        raise UserError(
            "config_files: an experiment is a file itself; give its keys as --KEY=VALUE, "
            "or under `fixed` in a yaml file of your own"
        )
    return options, {name: values_of(name, text) for name, text in settings.items()}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; the exit code: 0, 2 after one line on what was wrong, 130 where it was stopped."""

    def work(words: list[str]) -> None:
        options, settings = parse(words)
        try:
            run_experiment(settings=settings, **vars(options))
        except KeyboardInterrupt:
            print("what is done is kept; the same command goes on from here", file=sys.stderr)
            raise

    return exit_code("recbole-gro-experiment", work, arguments)
