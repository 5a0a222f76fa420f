"""The one exception a user is meant to read."""

import difflib
from collections.abc import Iterable


class UserError(ValueError):
    """Something the user gave cannot work; the message is one line that says what, where and what would be right."""


def nearest(name: str, known: Iterable[str], cutoff: float = 0.6) -> str | None:
    """The known name most like `name`, or None where none is alike (case does not count)."""
    by_lower = {candidate.lower(): candidate for candidate in known}
    close = difflib.get_close_matches(str(name).lower(), by_lower, n=1, cutoff=cutoff)
    return by_lower[close[0]] if close else None


def unknown_name(kind: str, name: str, known: Iterable[str]) -> UserError:
    """The error for a name that is not in a registry: the nearest known one, then all of them."""
    names = sorted(known)
    hint = nearest(name, names)
    did_you_mean = f" Did you mean {hint!r}?" if hint else ""
    return UserError(f"unknown {kind} {name!r}.{did_you_mean} Known: {', '.join(names)}.")
