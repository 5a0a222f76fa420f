"""Values of access logs: what messages show of them, names that are not read, items and times."""

import contextlib
import datetime
import itertools
import json
import math
import operator
import re
from collections.abc import Collection, Iterable, Sequence
from typing import Any, TypeVar

from recbole_gro.utils.errors import UserError, nearest

NOTATION = "items stand between blanks, those with blanks in a JSON list"
SHOWN_NAMES = 10
YEAR_10000 = 253_402_300_800  # in seconds since 1970
T = TypeVar("T")
TIME = "a time since 1970, of ISO 8601 such as 2026-01-31T10:00:00, or in seconds"


def quoted(value: Any, longest: int = 60) -> str:
    """Return the repr of a value of a log, the end of a long one left out: a message is one line that can be read.

    >>> quoted("a b"), quoted("x" * 99, 5), quoted(None), quoted([[["deep"]]])
    ("'a b'", "'xxxxx...'", 'None', 'a list')
    """
    if isinstance(value, str):
        return repr(value if len(value) <= longest else f"{value[:longest]}...")
    if isinstance(value, list | dict):  # whose repr may be nested too deeply
        return "a list" if isinstance(value, list) else "an object"
    text = repr(value)
    return text if len(text) <= longest else f"{text[:longest]}..."


def unread_names(names: Iterable[str], known: Collection[str]) -> str:
    """Return which names of a log are not read, each with the absent known name that it may stand for; nothing if none.

    Args:
        names: of columns, or of the keys of lines.
        known: names that are read.

    >>> unread_names(["Time", "api_key", "agent", "history"], ["key", "time", "history"])
    "'Time' (did you mean time?), 'api_key' (did you mean key?), 'agent'; known are key, time, history"
    """
    names = list(dict.fromkeys(names))
    absent = [name for name in known if name not in names]
    meant = {name: _meant(name, absent) for name in names if name not in known and name.strip()}
    order = sorted(meant, key=lambda name: not meant[name])  # stable; those with a hint are shown in any case
    shown = [quoted(name) + (f" (did you mean {meant[name]}?)" if meant[name] else "") for name in order[:SHOWN_NAMES]]
    if not shown:
        return ""
    more = f" and {len(meant) - SHOWN_NAMES:,} more" if len(meant) > SHOWN_NAMES else ""
    return f"{', '.join(shown)}{more}; known are {', '.join(known)}"


def _meant(name: str, absent: list[str]) -> str | None:
    """Return the absent name that a name is close to, or has as one of its words."""
    words = re.split(r"[^a-z]+", name.lower())
    return nearest(name.strip(), absent) or next((known for known in absent if known in words), None)


def tokens(text: str) -> list[str | None]:
    """Return the items of a history: those of a JSON list, which may have blanks, else what stands between blanks.

    What is neither text nor a whole number in a JSON list is None, an item that no catalogue has.

    >>> tokens('["a b", 7]'), tokens("a b"), tokens("[a] b"), tokens('["a", null]')
    (['a b', '7'], ['a', 'b'], ['[a]', 'b'], ['a', None])
    """
    if text.lstrip().startswith("["):
        with contextlib.suppress(ValueError, RecursionError):
            found = json.loads(text)
            if isinstance(found, list):
                return [str(item) if type(item) in (str, int) else None for item in found]
    return [*text.split()]


def unknown_item(history: str, token: str | None, ids: Collection[str]) -> str:
    """Return what is wrong with an item of a history that is not in the catalogue, and how items are written.

    Args:
        history: as the log has it.
        token: of `tokens`.
        ids: tokens of the catalogue.

    >>> unknown_item("a,b", "a,b", ["c", "a"])
    "'a,b' is no item of the catalogue, which has 'a'; items stand between blanks, those with blanks in a JSON list"
    """
    pieces = [piece.strip() for piece in re.split(r"""[][(){}<>,;|'"]+""", history)]
    pieces += [" ".join(pair) for pair in itertools.pairwise(history.split())]
    meant = next((piece for piece in pieces if piece in ids and piece != token), next(iter(ids), ""))
    shown = "null, or another value" if token is None else quoted(token)
    where = "" if token == history else f" in the history {quoted(history)}"
    return f"{shown}{where} is no item of the catalogue, which has {quoted(meant)}; {NOTATION}"


def seconds(place: str, value: Any) -> float:
    """Return a time in seconds since 1970; one without a zone is of UTC.

    Args:
        place: in the log, for messages.
        value: as the log has it.

    Raises:
        UserError: it is no time.
    """
    found = math.nan
    text = str(value) if type(value) in (str, int, float) else ""
    try:
        found = float(text)
    except ValueError:
        with contextlib.suppress(ValueError):
            when = datetime.datetime.fromisoformat(text)
            found = when.replace(tzinfo=when.tzinfo or datetime.UTC).timestamp()
    if not 0 <= found < math.inf:
        raise UserError(f"log: {place}: time {quoted(value)} is not {TIME}")
    if found >= YEAR_10000:
        raise UserError(f"log: {place}: time {quoted(value)} is beyond the year 9999; it takes seconds since 1970, and "
                        "this seems to be milliseconds or a smaller unit")  # fmt: skip
    return found


def by_time(entries: Sequence[T], times: Sequence[float]) -> list[T]:
    """Return the entries of a file by time; of one time in the order of the file, or against it where the file has the
    latest first.

    >>> by_time(["a", "b", "c"], [2, 1, 2]), by_time(["a", "b", "c"], [2, 1, 1])
    (['b', 'a', 'c'], ['c', 'b', 'a'])
    """
    pairs = list(zip(times, entries, strict=True))
    if pairs and times[0] > times[-1] and all(one >= other for one, other in itertools.pairwise(times)):
        pairs.reverse()
    return [entry for _, entry in sorted(pairs, key=operator.itemgetter(0))]
