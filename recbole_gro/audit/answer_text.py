"""Answers of a service or a function: item ids where they hold them, and else how they begin, for a message."""

import re
import reprlib
from collections.abc import Callable
from numbers import Integral
from typing import Any

from recbole_gro.audit.journal import Unanswered

LONGEST_SENTENCE = 200  # characters of an answer's body in a message
LONGEST_VALUE = 100  # characters of what came in place of item ids
MOST_READ = 32_768  # bytes of a body that are read for a message
LONGEST_SECRET = 8_192  # characters; servers take no longer header
LEAST_PRINTABLE = 0.9  # share of the characters of a text; else it is a picture or an archive
MARKUP = re.compile(r"<(script|style)\b.*?(</\1\s*>|$)|<!--.*?(-->|$)|<[^>]*(>|$)", re.DOTALL | re.IGNORECASE)

# what is cut off here lies beyond what a message shows, whatever secrets become shorter in it
_shortened = reprlib.Repr()
_shortened.maxlevel, _shortened.maxstring, _shortened.maxother, _shortened.maxlong = 4, 20_000, 20_000, 1_000
_shortened.maxlist = _shortened.maxtuple = _shortened.maxdict = _shortened.maxset = _shortened.maxfrozenset = 20


def as_tokens(lists: Any, n_histories: int) -> list[list[str]]:
    """Return lists of item ids as texts.

    Raises:
        Unanswered: anything but one list of texts or whole numbers per history.
    """
    if not isinstance(lists, list | tuple) or len(lists) != n_histories:
        raise Unanswered("an answer without one list per history", lists)
    for row in lists:
        if not isinstance(row, list | tuple) or any(
            isinstance(item, bool) or not isinstance(item, str | Integral) for item in row
        ):
            raise Unanswered("an answer that is no list of item ids", row)
    return [[str(item) for item in row] for row in lists]


def beginning(value: Any, hide: Callable[[str], str] = str) -> str:
    """Return how a value begins, as Python writes it, in one line.

    Args:
        value: that came in place of item ids.
        hide: replaces secrets in a text.

    >>> beginning([("item 1", 0.5)]), len(beginning(["x" * 90] * 3))
    ("[('item 1', 0.5)]", 103)
    """
    return _cut(_in_one_line(_hidden(_shortened.repr(value), hide)), LONGEST_VALUE)


def sentence(body: bytes, encoding: str, hide: Callable[[str], str]) -> str:
    """Return what a service says in the body of an answer, in one line; "" where that is no text.

    Args:
        body: its first MOST_READ bytes.
        encoding: of the body.
        hide: replaces secrets in a text.

    >>> sentence(b"<title>Busy</title><style>p {}</style>  <p>Come\\nback</p>", "utf-8", str)
    'Busy Come back'
    """
    try:
        text = body.decode(encoding, errors="replace")
    except LookupError:  # of an encoding that Python lacks
        text = body.decode(errors="replace")
    readable = sum((char.isprintable() or char.isspace()) and char != "\ufffd" for char in text)
    if readable < LEAST_PRINTABLE * len(text) or "\0" in text:
        return ""
    text = _hidden(text, hide, is_cut=len(body) >= MOST_READ)
    if text.lstrip().startswith("<"):
        text = MARKUP.sub(" ", text)
    return _cut(hide(_in_one_line(text)), LONGEST_SENTENCE)  # again: markup may have parted a secret


def _hidden(text: str, hide: Callable[[str], str], is_cut: bool = False) -> str:
    """Return a text without secrets, and of a longer one no end, which may be the first part of a secret."""
    is_cut = is_cut or len(text) > MOST_READ
    text = hide(text[:MOST_READ])
    return text[:-LONGEST_SECRET] if is_cut else text


def _in_one_line(text: str) -> str:
    return "".join(char for char in " ".join(text.split()) if char.isprintable())


def _cut(text: str, longest: int) -> str:
    return text if len(text) <= longest else text[:longest] + "..."
