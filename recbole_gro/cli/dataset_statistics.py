"""The command `recbole-gro dataset statistics`."""

from recbole_gro.utils import terminal
from recbole_gro.utils.command_line import Parser, options_and_settings
from recbole_gro.utils.errors import UserError

EXAMPLES = {
    "recbole-gro dataset statistics ml-1m": "beside Table 1 of the paper",
    "recbole-gro dataset statistics mine --data_path=/data --core_filter=once": "/data/mine/mine.inter",
}


def parser() -> Parser:
    """Return the parser of the options; all else is --KEY=VALUE."""
    made = Parser(
        prog="recbole-gro dataset statistics",
        usage="recbole-gro dataset statistics NAME [--KEY=VALUE ...]",
        description="Print the size of a dataset as it is read for training, beside Table 1 of the paper.",
        examples=EXAMPLES,
    )
    made.add_argument("name", metavar="NAME", help="a dataset, such as ml-1m")
    return made


def work(words: list[str]) -> None:
    """Print the table of a dataset.

    Raises:
        UserError: an invalid word, setting or file.
    """
    given, settings = options_and_settings(parser(), words)
    from recbole.utils.argument_list import evaluation_arguments, training_arguments

    from recbole_gro.config import Config
    from recbole_gro.config.settings import of_sections, refuse_unread
    from recbole_gro.data.loaders import build_dataset
    from recbole_gro.data.statistics import ANY_MODEL, dataset_statistics, table

    if "dataset" in settings:
        raise UserError(f"dataset: it is the first word of the command, here {given.name}; leave --dataset out")
    unread = {*of_sections("Attack", "Defense", "Target"), *evaluation_arguments, *training_arguments, "model"}
    refuse_unread(settings, unread, "recbole-gro dataset statistics", "recbole-gro run")
    config = Config(ANY_MODEL, given.name, command_line=settings)
    print(terminal.for_output(table(given.name, dataset_statistics(build_dataset(config)))))
