"""What the terminal shows: --quiet, its width, and results, which are markdown in a file."""

import contextlib
import shutil
import sys
import textwrap
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

_quiet = False


@contextlib.contextmanager
def quietly(quiet: bool = True) -> Iterator[None]:
    """Show neither progress bars nor log lines inside the block, only results and errors."""
    global _quiet
    before, _quiet = _quiet, _quiet or quiet
    try:
        yield
    finally:
        _quiet = before


def is_quiet() -> bool:
    """Return whether only results and errors are shown."""
    return _quiet


def width() -> int:
    """Return the number of columns of the terminal, or what the environment variable COLUMNS says."""
    return shutil.get_terminal_size().columns


class Result(Protocol):
    """What a command is run for: shown with --quiet too, as markdown in a file, as wide as a terminal there."""

    def markdown(self) -> str:
        """Return the text for a file."""
        ...

    def aligned(self, columns: int) -> str:
        """Return the text for a terminal of so many columns."""
        ...


@dataclass(frozen=True)
class Text:
    """A result in sentences."""

    text: str

    def markdown(self) -> str:
        """Return the text as it is."""
        return self.text

    def aligned(self, columns: int) -> str:
        """Return the text in lines of at most so many columns, except for longer words."""
        return textwrap.fill(self.text, columns, break_long_words=False, break_on_hyphens=False)


def for_output(result: Result) -> str:
    """Return a result as standard output takes it."""
    return result.aligned(width()) if sys.stdout.isatty() else result.markdown()
