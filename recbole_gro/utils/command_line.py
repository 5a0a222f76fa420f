"""What the commands of this package have in common: --KEY=VALUE words, and how they end."""

import sys
from collections.abc import Callable, Iterable

from recbole_gro.utils.errors import UserError

BAD_INPUT = 2
STOPPED = 130  # as a shell says it of Ctrl-C


def settings_of(words: Iterable[str]) -> dict[str, str]:
    """The settings in words of the form --KEY=VALUE.

    Raises:
        UserError: a word of another form, or a key with two values.
    """
    settings: dict[str, str] = {}
    for word in words:
        name, equals, value = word.partition("=")
        if not word.startswith("--") or not equals or not name[2:]:
            raise UserError(f"argument {word!r} is not understood; settings are given as --KEY=VALUE")
        if settings.setdefault(name[2:], value) != value:
            raise UserError(f"--{name[2:]} is given twice, as {settings[name[2:]]!r} and as {value!r}")
    return settings


def exit_code(command: str, work: Callable[[], object]) -> int:
    """Do the work of `command`: 0, or 2 after one line on what was wrong with the input."""
    try:
        work()
    except UserError as error:
        print(f"{command}: error: {error}", file=sys.stderr)
        return BAD_INPUT
    except KeyboardInterrupt:
        print(f"{command}: stopped", file=sys.stderr)
        return STOPPED
    return 0
