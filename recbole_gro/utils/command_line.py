"""Common parts of the commands: --KEY=VALUE words, --debug, --quiet and exit statuses."""

import argparse
import contextlib
import itertools
import os
import re
import shlex
import sys
import traceback
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, NoReturn

from recbole_gro.utils import output, terminal
from recbole_gro.utils.errors import SettingWarning, UserError, nearest, out_of_memory
from recbole_gro.utils.own_code import fault_of_own_code

BAD_INPUT = 2
STOPPED = 130  # as of a shell after Ctrl-C
CLOSED = 141  # as of a shell where the reader of a pipe has gone
DEBUG, QUIET = "--debug", "--quiet"  # accepted anywhere among the words of every command
DEBUG_VARIABLE = "RECBOLE_GRO_DEBUG"


def launched() -> bool:
    """Return whether a launcher, such as torchrun, started this process as one of several."""
    return "LOCAL_RANK" in os.environ and int(os.environ.get("WORLD_SIZE", 1)) > 1


class Parser(argparse.ArgumentParser):
    """A parser of options that are written in full, each once; invalid ones raise UserError.

    Args:
        examples: {command: what it does}, which --help shows before the options.
        options: of argparse's parser.
    """

    def __init__(self, *, examples: dict[str, str] | None = None, **options: Any):
        formatter = argparse.RawDescriptionHelpFormatter
        super().__init__(allow_abbrev=False, formatter_class=formatter, **options)
        if examples:
            lines = [f"  {command}\n      {meaning}" for command, meaning in examples.items()]
            self.description = "\n".join([f"{self.description}\n", "examples:", *lines])

    def error(self, message: str) -> NoReturn:
        """Raise UserError with argparse's message."""
        raise UserError(f"{message}; {self.prog} --help describes the arguments")

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> Any:
        """Return as argparse does, which keeps the last value of an option that is given twice; here it is refused."""
        words = list(sys.argv[1:] if args is None else args)
        given: set[str] = set()
        for name in (word[:2] if re.match(r"-[^-]", word) else word.partition("=")[0] for word in words):  # -mNARM
            action = self._option_string_actions.get(name)
            if action is not None and action.nargs != 0:  # 0: without a value
                if action.dest in given:
                    raise UserError(f"{name} is given twice; give it once")
                given.add(action.dest)
        found, rest = super().parse_known_args(words, namespace)
        for action in self._actions:
            if action.nargs == "*":  # argparse takes its first words in a row alone, not those after a setting
                more = [word for word in rest if not word.startswith("-")]
                setattr(found, action.dest, [*getattr(found, action.dest), *more])
                rest = [word for word in rest if word.startswith("-")]
            last = next((word for word in rest if word and not word.startswith("-")), None)
            if action.nargs == "?" and not action.option_strings and last and getattr(found, action.dest) is None:
                setattr(found, action.dest, last)  # nor does argparse take it behind an option, before Python 3.13
                rest.remove(last)
        return found, rest

    def _print_message(self, message: str, file: Any = None) -> None:
        (file or sys.stderr).write(message)  # argparse ignores that it cannot be written

    def _get_value(self, action: argparse.Action, arg_string: str) -> Any:
        if not arg_string:  # which commands would take for an option that is not given
            raise argparse.ArgumentError(action, "it is empty")
        return super()._get_value(action, arg_string)


def settings_of(words: Iterable[str], options: Iterable[str] = (), line: Sequence[str] = ()) -> dict[str, str]:
    """Return the settings in words of the form --KEY=VALUE.

    Args:
        words: of a command line.
        options: that other words may have been meant as.
        line: the whole command line, from which a message takes the value that stands behind a key.

    Raises:
        UserError: a word of another form, or a key with two values.
    """
    settings: dict[str, str] = {}
    for word in words:
        name, equals, value = word.partition("=")
        if not word.startswith("--") or not equals or not name[2:]:
            hint = nearest(word, options, 0.8) if word.startswith("-") else None
            meant = f"did you mean {hint}?" if hint else f"settings have the form --KEY=VALUE{_joined(word, line)}"
            if word == "--dry_run":
                meant = "recbole-gro experiment alone has it"
            raise UserError(f"argument {word!r} is invalid; {meant}")
        if settings.setdefault(name[2:], value) != value:
            raise UserError(f"--{name[2:]} is given twice, as {settings[name[2:]]!r} and as {value!r}")
    return settings


def _joined(word: str, line: Sequence[str]) -> str:
    """Return a key with the word behind it as --KEY=VALUE, for a message; nothing where none is behind it."""
    behind = next((after for before, after in itertools.pairwise(line) if before == word), "")
    if not word.startswith("--") or "=" in word or not behind or behind.startswith("-"):
        return ""
    return f", here {word}={shlex.quote(behind)}"


def options_and_settings(parser: Parser, words: Sequence[str]) -> tuple[argparse.Namespace, dict[str, str]]:
    """Return the options of a parser, and the settings among the other words.

    Raises:
        UserError: an option without its value, or a word that is no setting.
    """
    options, rest = parser.parse_known_args(words)
    return options, settings_of(rest, parser._option_string_actions, words)


@contextlib.contextmanager
def _local_modules() -> Iterator[None]:
    """Search the working folder for modules last, as plugins may import a module when a function of theirs is called.

    `python -m` does so on its own; the command that pip installs does not.
    """
    before = [*sys.path]
    with contextlib.suppress(OSError):  # a folder that was deleted
        sys.path.append(os.getcwd())
    try:
        yield
    finally:
        sys.path[:] = before


def exit_code(command: str, work: Callable[[list[str]], int | None], arguments: Sequence[str] | None = None) -> int:
    """Do the work of a command and return its exit status.

    Args:
        command: its name, for messages.
        work: called with the arguments, less --debug and --quiet; returns the exit status, None for 0.
        arguments: of the command line; None: those of the process. With --debug among them, or RECBOLE_GRO_DEBUG=1 in
            the environment, invalid input is reported with its traceback; with --quiet the terminal shows results and
            errors alone.

    Returns:
        The exit status of the work; 2 after one line on invalid input, on an exception or sys.exit in code of a user's
        own, on a lack of memory, or on standard output that cannot be written; 130 after an interrupt, with the notes
        of the exception; 141 where the reader of the output, such as head, has gone. What is printed is discarded where
        the process started without standard output.
    """
    words = list(sys.argv[1:] if arguments is None else arguments)
    debug = DEBUG in words or is_debugging()
    output.open_missing()
    try:
        try:
            with terminal.quietly(QUIET in words), _warnings_in_one_line(command), _inherited(debug), _local_modules():
                return work([word for word in words if word not in (DEBUG, QUIET)]) or 0
        finally:
            sys.stdout.flush()
    except KeyboardInterrupt as error:
        output.print_error("; ".join([f"{command}: stopped", *getattr(error, "__notes__", ())]))
        return STOPPED
    except BrokenPipeError:
        if not output.readers_gone():
            raise
        return CLOSED
    except BaseException as error:  # SystemExit of a user's own code too; that of --help is raised again
        reported = _reported(error)
        if reported is None:
            raise
        if debug:
            # without its last line, which follows
            output.print_error(*traceback.format_exception(error)[:-1], end="")
        output.print_error(f"{command}: error: {reported}")
        return BAD_INPUT


def is_debugging() -> bool:
    """Return whether errors are to be shown with their traceback, in this process or one that it started."""
    return os.environ.get(DEBUG_VARIABLE) == "1"


@contextlib.contextmanager
def _inherited(debug: bool) -> Iterator[None]:
    """Set the variable for the processes that the block starts, where --debug was given to this one."""
    earlier = os.environ.get(DEBUG_VARIABLE)
    if debug:
        os.environ[DEBUG_VARIABLE] = "1"
    try:
        yield
    finally:
        if debug and earlier is None:
            del os.environ[DEBUG_VARIABLE]
        elif debug:
            os.environ[DEBUG_VARIABLE] = str(earlier)


@contextlib.contextmanager
def _warnings_in_one_line(command: str) -> Iterator[None]:
    """Print each warning of a setting once, without the line of code that Python names; others as before."""
    before, printed = warnings.showwarning, set()

    def show(message: Warning | str, category: type[Warning], *place: Any, **more: Any) -> None:
        if not issubclass(category, SettingWarning):
            before(message, category, *place, **more)
        elif str(message) not in printed:
            printed.add(str(message))
            if not launched() or os.environ.get("RANK") == "0":  # torchrun's processes have the same settings
                output.print_error(f"{command}: warning: {message}")

    warnings.showwarning = show
    try:
        yield
    finally:
        warnings.showwarning = before


def _reported(error: BaseException) -> UserError | None:
    """Return the error that users read; None for one of this package, or of a library."""
    if isinstance(error, UserError):
        return error
    unwritten = output.write_failure(error)
    if unwritten and isinstance(error.__context__, UserError):  # which the last flush of the output came after
        return error.__context__
    return unwritten or out_of_memory(error) or fault_of_own_code(error)
