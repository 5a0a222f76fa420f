"""What a verification method returns, checked: its probes before the suspect is queried, and its verdict."""

import math
from collections.abc import Iterator
from typing import Any

from recbole_gro.ownership.method import Probes, Verdict, VerificationMethod
from recbole_gro.ownership.stored_probes import MOST_ROUNDED, differing
from recbole_gro.utils.errors import UserError

SHOWN = 80  # maximum characters of a value in a message


def checked_probes(method: str, probes: Any, n: int, n_items: int) -> Probes:
    """Return the probes of a method if a suspect can be sent them, and if results can hold them.

    Args:
        method: its name.
        probes: that it returned.
        n: maximum number of histories.
        n_items: size of the owner's id space, padding included.

    Raises:
        UserError: they are no Probes, more or fewer than 1 to n histories, one of which is empty or holds anything but
            items of the owner, or `expected` is no plain JSON.
    """
    if not isinstance(probes, Probes):
        raise _refused(method, f"probes returned {_shown(probes)}; Probes are expected, or NoVerdict is raised")
    histories = probes.histories
    if not isinstance(histories, list) or not all(isinstance(history, list) for history in histories):
        raise _refused(method, f"the histories of its probes are {_shown(histories)}; a list of lists is expected")
    if not 1 <= len(histories) <= n:
        raise _refused(method, f"its probes have {len(histories):,} histories; 1 to {n:,} are expected (probes)")
    for place, history in enumerate(histories):
        wrong = [item for item in history if type(item) is not int or not 1 <= item < n_items]
        if wrong or not history:
            held = f"holds {_shown(wrong[0])}" if wrong else "is empty"
            raise _refused(method, f"history {place} of its probes {held}; it takes item ids, int, 1 to {n_items - 1}")
    _check_plain(method, "expected", probes.expected)
    return probes


def check_repeated(method: str, probes: Probes, again: Probes) -> None:
    """Check that the probes of a method come out as before, up to the few that rounding may change.

    Args:
        method: its name.
        probes: that it returned.
        again: what it returned for equal arguments.

    Raises:
        UserError: they differ, so that nobody could recompute the verification.
    """
    places = differing(again, probes)
    if places is None or len(places) > MOST_ROUNDED * len(probes.histories):
        raise _refused(
            method,
            "equal arguments gave other probes a second time, so that --recompute --owner would fail; draw from "
            "keyed_draws(key, purpose) alone",
        )


def check_described(method: VerificationMethod) -> None:
    """Check what a method says of itself, which its report shows to a judge.

    Args:
        method: whose class may be of a user's own.

    Raises:
        UserError: a value is none that a report can show.
    """
    for name in ("summary", "source"):
        if not isinstance(value := getattr(method, name), str):
            raise _refused(method.name, f"its {name} is {_shown(value)}; a text is expected")
    assumptions, units = method.assumptions, ("share", "percent", "")
    if not isinstance(assumptions, tuple | list) or not all(isinstance(one, str) for one in assumptions):
        raise _refused(method.name, f"its assumptions are {_shown(assumptions)}; a tuple of sentences is expected")
    if method.effect_unit not in units:
        raise _refused(
            method.name, f"its effect_unit is {_shown(method.effect_unit)}; share, percent or an empty text is expected"
        )


def check_same_verdict(method: str, found: dict[str, Any], again: dict[str, Any]) -> None:
    """Check that equal arguments give an equal verdict.

    Args:
        method: its name.
        found: outcome of one instance of it.
        again: that of another one.

    Raises:
        UserError: they differ, so that nobody could recompute the verification.
    """
    if found != again:
        raise _refused(
            method,
            "equal arguments gave another verdict a second time, so that --recompute would fail; verdict is to be a "
            "function of its arguments alone, without random draws",
        )


def checked_verdict(method: str, verdict: Any) -> Verdict:
    """Return the verdict of a method if it can be one, and if results can hold it.

    Args:
        method: its name.
        verdict: that it returned.

    Raises:
        UserError: it is no Verdict, or a value is impossible.
    """
    if not isinstance(verdict, Verdict):
        raise _refused(method, f"verdict returned {_shown(verdict)}; a Verdict is expected, or NoVerdict is raised")
    for name in ("p_value", "level"):
        if not _is_finite(value := getattr(verdict, name)) or not 0 <= value <= 1:
            raise _refused(method, f"{name} of its verdict is {_shown(value)}; a float from 0 to 1 is expected")
    effect = verdict.effect
    is_interval = isinstance(effect, list | tuple) and len(effect) == 3 and all(map(_is_finite, effect))
    if not is_interval or effect[1] > effect[2]:
        raise _refused(
            method, f"effect of its verdict is {_shown(effect)}; finite floats (value, low, high) are expected"
        )
    for name in ("effect_name", "null", "turning_point"):
        if not isinstance(value := getattr(verdict, name), str):
            raise _refused(method, f"{name} of its verdict is {_shown(value)}; a sentence or name, str, is expected")
    _check_plain(method, "facts", verdict.facts)
    return verdict


def _check_plain(method: str, name: str, values: Any) -> None:
    """Check that a dict comes back as it is from JSON, which has no NaN or infinity, tuple or number as a key."""
    wanted = "it takes plain JSON: str, int, finite float, bool and None, lists of them, and dicts by str"
    if not isinstance(values, dict):
        raise _refused(method, f"{name} is {_shown(values)}, no dict; {wanted}")
    try:
        wrong = next(_not_plain(values, name), None)
    except RecursionError:
        wrong = f"{name} holds itself"
    if wrong:
        raise _refused(method, f"{wrong}; {wanted}")


def _not_plain(value: Any, where: str) -> Iterator[str]:
    """Yield what is no plain JSON in a value, with the place where it stands."""
    if isinstance(value, dict):
        for key, part in value.items():
            if type(key) is not str:
                yield f"{where} has the key {_shown(key)}"
            yield from _not_plain(part, f"{where}[{key!r}]")
    elif isinstance(value, list):
        for place, part in enumerate(value):
            yield from _not_plain(part, f"{where}[{place}]")
    elif not (value is None or isinstance(value, str | bool) or _is_finite(value)):
        yield f"{where} is {_shown(value)}"


def _is_finite(value: Any) -> bool:
    """Say whether a value is a finite number that JSON takes; numpy's float64 is one, other types of numpy are not."""
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _shown(value: Any) -> str:
    """Return a value in one line, with its type where it is no plain number.

    >>> _shown(-1.0), _shown(None), _shown([1, 2])
    ('-1.0', 'None', '[1, 2] (list)')
    """
    line = " ".join(repr(value).split())
    line = line if len(line) <= SHOWN else f"{line[:SHOWN]}.."
    return line if value is None or type(value) in (int, float, bool) else f"{line} ({type(value).__name__})"


def _refused(method: str, reason: str) -> UserError:
    return UserError(f"method: {method}: {reason}")
