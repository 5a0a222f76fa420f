"""A stand-in for source that cannot be read, such as that of a class in a cell of a notebook: the compiled methods.

A pickle by value, as of cloudpickle, would not do: it holds the file of the code, another one for a cell run again.
"""

import functools
from collections.abc import Iterator
from types import CodeType, FunctionType
from typing import Any

OF_PLACE = {"__module__", "__doc__", "__firstlineno__", "__static_attributes__", "__annotations__"}  # or of no effect
SIMPLE = (bool, int, float, complex, str, bytes, tuple, list, dict, set, frozenset, type(None))


def compiled_class(cls: type) -> str:
    """Return a text that changes with the methods and values of a class, and with what its methods take from outside.

    Where a method lies, its file and line, is no part of it, so that a cell that is run again has the same text.

    Args:
        cls: a class.
    """
    found: dict[str, str] = {}
    for name, member in vars(cls).items():
        if isinstance(member, SIMPLE) and name not in OF_PLACE:
            found[name] = _value(member)
        for number, function in enumerate(_functions(member)):
            found[f"{name} {number}"] = _function(function, set())
    return "\n".join(f"{name}: {text}" for name, text in sorted(found.items()))


def _functions(member: Any) -> Iterator[FunctionType]:
    """Yield the functions of a member of a class: a method of any kind, or a property."""
    if isinstance(member, staticmethod | classmethod):
        member = member.__func__
    if isinstance(member, functools.cached_property):
        member = member.func
    parts: tuple[Any, ...] = (member.fget, member.fset, member.fdel) if isinstance(member, property) else (member,)
    for part in parts:
        while hasattr(part, "__wrapped__"):
            if isinstance(part, FunctionType):
                yield part
            part = part.__wrapped__
        if isinstance(part, FunctionType):
            yield part


def _function(function: FunctionType, seen: set[CodeType]) -> str:
    code = function.__code__
    if code in seen:
        return ""
    seen.add(code)
    cells = [cell.cell_contents for cell in function.__closure__ or () if _is_set(cell)]
    texts = [_code(code), _value(function.__defaults__), _value(function.__kwdefaults__), *map(_value, cells)]
    for name in sorted(_names(code)):
        value = function.__globals__.get(name)
        if isinstance(value, FunctionType) and value.__module__ == function.__module__:
            texts.append(f"{name}: {_function(value, seen)}")
        elif name in function.__globals__ and isinstance(value, SIMPLE):
            texts.append(f"{name} = {_value(value)}")
    return " ".join(texts)


def _is_set(cell: Any) -> bool:
    try:
        return isinstance(cell.cell_contents, SIMPLE)
    except ValueError:  # an empty one
        return False


def _names(code: CodeType) -> set[str]:
    nested = (each for each in code.co_consts if isinstance(each, CodeType))
    return set(code.co_names).union(*map(_names, nested))


def _code(code: CodeType) -> str:
    constants = [_code(each) if isinstance(each, CodeType) else _value(each) for each in code.co_consts]
    return f"{code.co_code.hex()} {code.co_names} {code.co_varnames} {code.co_freevars} {constants}"


def _value(value: Any) -> str:
    """Return a text of a plain value, the same in every process; of any other its type."""
    if isinstance(value, set | frozenset):
        return f"{{{', '.join(sorted(map(_value, value)))}}}"
    if isinstance(value, dict):
        return f"{{{', '.join(f'{_value(key)}: {_value(entry)}' for key, entry in value.items())}}}"
    if isinstance(value, tuple | list):
        return f"[{', '.join(map(_value, value))}]"
    return repr(value) if isinstance(value, SIMPLE) else type(value).__qualname__
