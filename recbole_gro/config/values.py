"""Values of settings in the form that their readers take: lists of names, lists for tuples, names in their own case."""

from collections.abc import Iterable
from typing import Any


def as_names(names: str | list[str]) -> list[str]:
    """Return a list of names; a text is one name or several with commas between.

    >>> as_names("none, gro"), as_names(["none"])
    (['none', 'gro'], ['none'])
    """
    return [name.strip() for name in names.split(",")] if isinstance(names, str) else list(names)


def as_fields(value: Any) -> Any:
    """Return a list of names for a text or a tuple; other values, which a check refuses, unchanged.

    >>> as_fields("price, weight"), as_fields(("price",)), as_fields(3)
    (['price', 'weight'], ['price'], 3)
    """
    return as_names(value) if isinstance(value, str) else tuple_as_list(value)


def tuple_as_list(value: Any) -> Any:
    """Return a list for a tuple; other values unchanged."""
    return list(value) if isinstance(value, tuple) else value


def is_several(value: Any) -> bool:
    """Return whether a value is a list with entries, or the text of one, as a command line has it.

    >>> is_several([1, 2]), is_several("[NARM, SASRec]"), is_several("NARM"), is_several([])
    (True, True, False, False)
    """
    if isinstance(value, list | tuple):
        return len(value) > 0
    return isinstance(value, str) and len(value) > 2 and value[0] == "[" and value[-1] == "]"


def is_no_name(value: Any) -> bool:
    """Return whether a value is the text of a list, a mapping or None, as which no file, folder or part is named.

    >>> is_no_name("[a, b]"), is_no_name("{a: 1}"), is_no_name("None"), is_no_name("runs/a")
    (True, True, True, False)
    """
    is_mapping = isinstance(value, str) and value[:1] == "{" and value[-1:] == "}"
    return is_several(value) or is_mapping or value == "None"


def in_known_case(value: Any, names: Iterable[str]) -> Any:
    """Return the name that equals a value but for case; of a mapping, for each entry; else the value.

    >>> in_known_case("bpr", ("CE", "BPR")), in_known_case({"valid": "Full"}, ("full",)), in_known_case(3, ("full",))
    ('BPR', {'valid': 'full'}, 3)

    Args:
        value: that was given.
        names: in their own case.
    """
    if isinstance(value, dict):
        return {key: in_known_case(entry, names) for key, entry in value.items()}
    return next((name for name in names if isinstance(value, str) and name.lower() == value.lower()), value)
