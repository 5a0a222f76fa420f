"""Types of settings, declared in a few words: `int >= 1`, `float 0..1 or None`, `CE|BPR`, `names of metric`.

A declaration is a kind or names with | between, then what limits it (a range of numbers, or `of` and what is named),
then `or None` or `or []`.
"""

import math
import os
import sys
from dataclasses import dataclass
from functools import cache
from typing import Any, Self

from recbole_gro.config.values import as_fields, in_known_case, is_no_name, is_several, tuple_as_list
from recbole_gro.utils.errors import UserError

KINDS = {
    "int": "a whole number",
    "ints": "one or several different whole numbers",
    "float": "a number",
    "bool": "True or False",
    "names": "a name or a list of different names",
    "name": "a name",
    "fields": "a list of names",
    "model": "the name of a RecBole sequential model",
    "models": "the name of a RecBole sequential model or a list of different ones",
    "function": "module:function, a function that Python can import",
    "file": "the path of a yaml file",
    "folder": "the path of a folder",
    "str": "a text",
    "mapping": "a mapping",
}
NUMBERS = ("int", "ints", "float")  # kinds that take a range
SEVERAL = ("ints", "names", "models")  # kinds of one value or a list of different ones
NAMED = ("file", "folder", "function", "model", "name")  # texts that name something
TEXTS = ("str", *NAMED)
CLASSES: dict[str, Any] = {  # of a value, or of the entries of a list
    "int": int,
    "ints": int,
    "float": int | float,
    "bool": bool,
    "names": str,
    "name": str | os.PathLike,
    "fields": str,
    "model": str | type,
    "models": str | type,
    "function": str,
    "file": str | os.PathLike,
    "folder": str | os.PathLike,
    "str": str | os.PathLike,
    "mapping": dict,
}
CHOICE = "choice"  # the kind of a|b|c


@dataclass(frozen=True)
class ValueType:
    """The values that a setting takes.

    Attributes:
        text: the declaration.
        kind: one of KINDS, or CHOICE.
        choices: the allowed names of a CHOICE.
        low, high: the range of a number.
        open_ended: the ends of the range are not in it.
        or_none: None is a value.
        or_empty: the empty list is a value.
    """

    text: str
    kind: str
    choices: tuple[str, ...] = ()
    low: float = -math.inf
    high: float = math.inf
    open_ended: bool = False
    or_none: bool = False
    or_empty: bool = False

    @classmethod
    @cache
    def parse(cls, text: str) -> Self:
        """Return the type that a declaration means.

        >>> ValueType.parse("float 0..1 or None").high, ValueType.parse("CE|BPR").choices
        (1.0, ('CE', 'BPR'))

        Args:
            text: such as `int >= 1 or None`.

        Raises:
            ValueError: it does not have the form of a declaration.
        """
        required, alternative, absent = text.partition(" or ")
        kind, _, limits = required.partition(" ")
        choices = tuple(kind.split("|")) if "|" in kind else ()
        try:
            low, high, open_ended = _range(limits if kind in NUMBERS else "")
        except ValueError as error:
            raise _unreadable(text) from error
        known = all(choices) if choices else kind in KINDS
        limits_fit = kind in NUMBERS or not limits or limits.startswith("of ")
        if not known or not limits_fit or (alternative and absent not in ("None", "[]")):
            raise _unreadable(text)
        return cls(
            text,
            CHOICE if choices else kind,
            choices,
            low,
            high,
            open_ended,
            or_none=absent == "None",
            or_empty=absent == "[]",
        )

    @property
    def in_words(self) -> str:
        """What the setting takes, for messages.

        >>> ValueType.parse("float 0<..<1").in_words
        'a number above 0 and below 1'
        """
        words = f"one of {', '.join(self.choices)}" if self.choices else KINDS[self.kind]
        _, _, limits = self.text.partition(" ")
        if "<..<" in limits:
            limits = f"above {limits.replace('<..<', ' and below ')}"
        return f"{words} {limits.replace('..', ' to ')}".strip()

    @property
    def is_text(self) -> bool:
        """Whether values are texts, which are never read as anything else."""
        return self.kind in (*TEXTS, CHOICE)

    @property
    def takes_several(self) -> bool:
        """Whether a value may be a list or a mapping."""
        return self.or_empty or self.kind in (*SEVERAL, "fields", "mapping")

    @property
    def takes_names(self) -> bool:
        """Whether values name parts or models."""
        return self.kind in ("name", "names", "model", "models")

    def accepts(self, value: Any) -> bool:
        """Return whether a value, as of `normalise`, is allowed."""
        if value is None:
            return self.or_none
        if self.or_empty and isinstance(value, list) and not value:
            return True
        if self.kind == "fields":
            return isinstance(value, list) and all(map(self._accepts_one, value))
        if self.kind in SEVERAL:
            entries = value if isinstance(value, list | tuple) else [value]
            return bool(entries) and all(map(self._accepts_one, entries)) and len(set(entries)) == len(entries)
        return self._accepts_one(value)

    def _accepts_one(self, value: Any) -> bool:
        """Return whether a value, or an entry of a list, is of the right class and in range."""
        if self.choices:
            return value in self.choices
        if not isinstance(value, CLASSES[self.kind]):
            return False
        if self.kind in NUMBERS:
            return not isinstance(value, bool) and abs(value) <= sys.float_info.max and self._in_range(value)
        if self.kind in NAMED and is_no_name(value):
            return False
        if self.kind == "function":
            return value.count(":") == 1
        return value != "" or self.kind not in ("str", "file", "folder", "name", "fields")

    def _in_range(self, value: float) -> bool:
        return self.low < value < self.high if self.open_ended else self.low <= value <= self.high

    def check(self, name: str, value: Any) -> None:
        """Check a value.

        Args:
            name: of the setting, for the message.
            value: as of `normalise`.

        Raises:
            UserError: it is not of this type or out of its range.
        """
        if not self.accepts(value):
            if not self.takes_several:
                check_one(name, value, self.in_words)
            raise UserError(f"{name}: {value!r} is not allowed; it takes {self.in_words}")

    def normalise(self, value: Any) -> Any:
        """Return a value in the form that parts read; one that is not allowed unchanged.

        The text None is None where the type takes it, a name gets its own case, a tuple becomes a list, and where a
        list of names is read a text becomes one.
        """
        if self.or_none and value == "None":
            return None
        if self.choices:
            return in_known_case(value, self.choices)
        if self.kind == "fields":
            return as_fields(value)
        return tuple_as_list(value) if self.kind in SEVERAL else value


def check_one(name: str, value: Any, takes: str) -> None:
    """Check that a setting of one value is given no list of them.

    Args:
        name: of the setting.
        value: that was given.
        takes: what the setting takes, in words.

    Raises:
        UserError: it is a list.
    """
    if is_several(value):
        raise UserError(f"{name}: {value} is a list; it takes {takes}, and `recbole-gro experiment` compares several")


def _range(limits: str) -> tuple[float, float, bool]:
    """Return the ends of a range of numbers, and whether they are outside it."""
    if ".." in limits:
        open_ended = "<..<" in limits
        low, high = map(float, limits.split("<..<" if open_ended else ".."))
        if not low <= high:
            raise ValueError(limits)
        return low, high, open_ended
    if limits:
        sign, bound = limits.split()
        if sign not in (">", ">="):
            raise ValueError(limits)
        return float(bound), math.inf, sign == ">"
    return -math.inf, math.inf, False


def _unreadable(text: str) -> ValueError:
    return ValueError(
        f"{text!r} is no type of a setting: write {', '.join(KINDS)} or a|b|c; then, for numbers, a range such as "
        f"`>= 1`, `> 0`, `0..1` or `0<..<1`, or `of` and what is named; then `or None` or `or []`"
    )
