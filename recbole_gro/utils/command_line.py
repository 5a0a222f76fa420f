"""Common parts of the commands: --KEY=VALUE words, --debug and exit statuses."""

import argparse
import os
import sys
import traceback
from collections.abc import Callable, Iterable, Sequence

from recbole_gro.utils.errors import UserError

BAD_INPUT = 2
STOPPED = 130  # as of a shell after Ctrl-C
DEBUG = "--debug"
DEBUG_VARIABLE = "RECBOLE_GRO_DEBUG"


def settings_of(words: Iterable[str]) -> dict[str, str]:
    """Return the settings in words of the form --KEY=VALUE.

    Raises:
        UserError: a word of another form, or a key with two values.
    """
    settings: dict[str, str] = {}
    for word in words:
        name, equals, value = word.partition("=")
        if not word.startswith("--") or not equals or not name[2:]:
            raise UserError(f"argument {word!r} is invalid; settings have the form --KEY=VALUE")
        if settings.setdefault(name[2:], value) != value:
            raise UserError(f"--{name[2:]} is given twice, as {settings[name[2:]]!r} and as {value!r}")
    return settings


def options_and_settings(
    parser: argparse.ArgumentParser, words: Sequence[str]
) -> tuple[argparse.Namespace, dict[str, str]]:
    """Return the options of a parser, which has exit_on_error=False, and the settings among the other words.

    Raises:
        UserError: an option without its value, or a word that is no setting.
    """
    try:
        options, rest = parser.parse_known_args(words)
    except argparse.ArgumentError as error:
        raise UserError(str(error)) from error
    return options, settings_of(rest)


def exit_code(command: str, work: Callable[[list[str]], object], arguments: Sequence[str] | None = None) -> int:
    """Do the work of a command and return its exit status.

    Args:
        command: its name, for messages.
        work: called with the arguments, less --debug.
        arguments: of the command line; None: those of the process. With --debug among them, or RECBOLE_GRO_DEBUG=1 in
            the environment, invalid input is reported with its traceback.

    Returns:
        0; 2 after one line on invalid input; 130 after an interrupt.
    """
    words = list(sys.argv[1:] if arguments is None else arguments)
    debug = DEBUG in words or os.environ.get(DEBUG_VARIABLE) == "1"
    try:
        work([word for word in words if word != DEBUG])
    except UserError as error:
        if debug:
            traceback.print_exception(error)
        print(f"{command}: error: {error}", file=sys.stderr)
        return BAD_INPUT
    except KeyboardInterrupt:
        print(f"{command}: stopped", file=sys.stderr)
        return STOPPED
    return 0
