"""The exception for invalid input, and the wording of its messages."""

import difflib
from collections.abc import Collection, Iterable
from typing import Any

# of torch's RuntimeErrors about memory: those of a GPU, and of the CPU's allocator
OUT_OF_MEMORY = "out of memory", "can't allocate memory"


class UserError(ValueError):
    """Invalid input; the message is one line that names the setting or file, what was wrong and what is right."""


class SettingWarning(UserWarning):
    """A setting that may have no effect; a command prints it once, as one line."""


class InvalidQuery(ValueError):
    """A query that is no sequences of items of the catalogue; whoever sent it gets no list."""


def nearest(name: str, known: Iterable[str], cutoff: float = 0.6) -> str | None:
    """Return the known name most similar to `name`, regardless of case; None where none is similar.

    Args:
        name: that was given.
        known: names to choose from.
        cutoff: least similarity, 0 to 1.
    """
    by_lower = {candidate.lower(): candidate for candidate in known}
    close = difflib.get_close_matches(str(name).lower(), by_lower, n=1, cutoff=cutoff)
    return by_lower[close[0]] if close else None


def unknown_name(kind: str, name: str, known: Iterable[str], extensible: bool = False) -> UserError:
    """Return the error for an unknown name; its message has the nearest known name, then all of them.

    Args:
        kind: of what is named.
        name: that is unknown.
        known: names that there are.
        extensible: whether a module of `plugins` can register further names.
    """
    names = sorted(known)
    hint = nearest(name, names)
    did_you_mean = f" Did you mean {hint!r}?" if hint else ""
    own = " The module that registers one of your own is named by plugins." if extensible and not hint else ""
    return UserError(f"unknown {kind} {name!r}.{did_you_mean} Known: {', '.join(names)}.{own}")


def check_spelling(names: Iterable[str], meant: Collection[str], known: Collection[str]) -> None:
    """Refuse unknown names that are more like one of some others than like a known name.

    Args:
        names: that were given.
        meant: what they may be misspelt forms of.
        known: names that are right.

    Raises:
        UserError: such a name.
    """
    for name in names:
        hint = None if name in {*meant, *known} else nearest(name, {*meant, *known}, 0.8)
        if hint in meant:
            raise UserError(f"unknown key {name!r}; did you mean {hint!r}?")


def out_of_memory(error: BaseException) -> UserError | None:
    """Return the error that users read where an exception means that memory is used up; None for any other exception.

    >>> str(out_of_memory(MemoryError("for an array")))[:35]
    'memory: there is not enough (Memory'
    """
    of_torch = isinstance(error, RuntimeError) and any(words in str(error).lower() for words in OUT_OF_MEMORY)
    if not isinstance(error, MemoryError) and not of_torch:
        return None
    reason = in_one_line(error).partition(" Search for")[0]  # torch's advice to its own users follows
    return UserError(
        f"memory: there is not enough ({reason[:200]}); smaller train_batch_size, surrogate_batch_size or "
        f"eval_batch_size, fewer --workers, or no other processes on the device take less of it"
    )


def in_one_line(error: BaseException) -> str:
    """Return the type and message of an exception as one line."""
    return f"{type(error).__name__} {' '.join(str(error).split())}".strip()


def kind_of(values: Any) -> str:
    """Return the type of values for a message, such as "float32 [2, 5]" of a tensor or an array."""
    if hasattr(values, "dtype") and hasattr(values, "shape"):
        return f"{str(values.dtype).rpartition('.')[2]} {list(values.shape)}"
    return type(values).__name__
