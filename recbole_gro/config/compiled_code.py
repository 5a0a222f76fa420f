"""What the code of a class in a script or a notebook is, where no module of its own could stand for it.

It is the compiled methods, with what they take from outside: a script holds settings too, and a cell has no file. A
pickle by value, as of cloudpickle, would not do: it holds the file of the code, another one for a cell run again.
"""

import contextlib
import datetime
import dis
import functools
import hashlib
import re
from collections.abc import Iterator
from decimal import Decimal
from enum import Enum
from fractions import Fraction
from pathlib import PurePath
from types import BuiltinFunctionType, CodeType, FunctionType, MethodType, ModuleType
from typing import Any, NamedTuple

import numpy as np
import torch

from recbole_gro.config.own_modules import is_own, with_packages

OF_PLACE = {"__module__", "__doc__", "__firstlineno__", "__static_attributes__", "__annotations__"}  # or of no effect
MADE = {"__dict__", "__weakref__"}  # of every class
BUILT_IN = (bool, int, float, complex, str, bytes, bytearray, type(None), range, slice)
OF_LIBRARIES = (Decimal, Fraction, PurePath, datetime.date, datetime.time, datetime.timedelta)
PLAIN = (*BUILT_IN, *OF_LIBRARIES, np.generic, np.dtype, torch.dtype, torch.device)  # whose repr is all of their value
FROM_OUTSIDE = ("LOAD_GLOBAL", "LOAD_NAME")
LONGEST = 1000  # characters of a value that are written out; of longer ones a digest


class Compiled(NamedTuple):
    """Hold the text of a class, and the modules of a user's own that it or what it uses names."""

    text: str
    modules: frozenset[str]


def compiled_class(cls: type) -> Compiled:
    """Return a text that changes with the methods and values of a class, and with what its methods take from outside:
    functions, classes and values, at any depth in the same module, and the names of what is of another one.

    Where a method lies, its file and line, is no part of it, so that a cell that is run again has the same text.

    Args:
        cls: a class.
    """
    reader = _Reader(cls.__module__)
    return Compiled(reader.of_class(cls), frozenset(filter(is_own, reader.modules - {cls.__module__})))


class _Reader:
    """Write down code and values of a module, each function and class once.

    Attributes:
        modules: other modules that these name.
    """

    def __init__(self, module: str):
        self._module, self._seen = module, set[Any]()
        self.modules = set[str]()

    def of_class(self, cls: type) -> str:
        if cls in self._seen:
            return cls.__qualname__
        self._seen.add(cls)
        found = {
            name: self.of_value(member)
            for name, member in vars(cls).items()
            if name not in OF_PLACE | MADE and not any(True for _ in _functions(member))
        }
        for name, member in vars(cls).items():
            for number, function in enumerate(_functions(member)):
                found[f"{name} {number}"] = self.of_function(function)
        bases = [self.of_value(base) for base in cls.__bases__]
        return "\n".join([" ".join(bases), *(f"{name}: {text}" for name, text in sorted(found.items()))])

    def of_function(self, function: FunctionType) -> str:
        code = function.__code__
        if code in self._seen:
            return function.__qualname__
        self._seen.add(code)
        self.modules |= _imported(code)
        cells = [cell.cell_contents for cell in function.__closure__ or () if _is_set(cell)]
        texts = [_code(code), *map(self.of_value, (function.__defaults__, function.__kwdefaults__, *cells))]
        outside = {name: function.__globals__[name] for name in _names(code) if name in function.__globals__}
        texts += [f"{name} = {self.of_value(value)}" for name, value in sorted(outside.items())]
        return " ".join(texts)

    def of_value(self, value: Any) -> str:
        """Return a text of a value, the same in every process; of what another module defines its name."""
        if isinstance(value, PLAIN):
            return _shortened(repr(value))
        if isinstance(value, re.Pattern):
            return f"{value.pattern!r} {value.flags}"
        if isinstance(value, Enum):
            return f"{self.of_value(type(value))}.{value.name}"
        if isinstance(value, set | frozenset):
            return f"{{{', '.join(sorted(map(self.of_value, value)))}}}"
        if isinstance(value, dict):
            return f"{{{', '.join(f'{self.of_value(key)}: {self.of_value(each)}' for key, each in value.items())}}}"
        if isinstance(value, tuple | list):
            return f"[{', '.join(map(self.of_value, value))}]"
        if isinstance(value, functools.partial):
            return f"partial {self.of_value((value.func, value.args, value.keywords))}"
        if isinstance(value, MethodType):
            return f"method {self.of_value((value.__func__, value.__self__))}"
        if getattr(value, "__module__", None) == self._module and (functions := [*_functions(value)]):
            return " ".join(map(self.of_function, functions))
        if isinstance(value, type) and value.__module__ == self._module:
            return self.of_class(value)
        if isinstance(value, ModuleType):
            self.modules.add(value.__name__)
            return f"module {value.__name__}"
        if isinstance(value, type | FunctionType | BuiltinFunctionType):
            self.modules.add(value.__module__ or "")
            return f"{value.__module__}.{value.__qualname__}"
        return self._of_object(value)

    def _of_object(self, value: Any) -> str:
        """Return a text of an object of the module, with its state, or of an array; of any other one its class."""
        if isinstance(value, torch.Tensor):
            with contextlib.suppress(RuntimeError):  # of a sparse one, or of one without memory
                digits = bytes(value.detach().cpu().contiguous().flatten().view(torch.uint8).numpy()).hex()
                return f"{value.dtype} {tuple(value.shape)} {_shortened(digits)}"
        if isinstance(value, np.ndarray):
            digits = self.of_value(value.tolist()) if value.dtype.hasobject else value.tobytes().hex()
            return f"{value.dtype} {value.shape} {_shortened(digits)}"
        if type(value).__module__ == self._module and id(value) not in self._seen:
            self._seen.add(id(value))
            return f"{self.of_class(type(value))} {self.of_value(getattr(value, '__dict__', {}))}"
        name = getattr(value, "__name__", None)  # of what is called as a function is, such as numpy's exp
        return f"{self.of_value(type(value))} {name}" if isinstance(name, str) else self.of_value(type(value))


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


def _is_set(cell: Any) -> bool:
    try:
        return cell.cell_contents is not None
    except ValueError:  # an empty one
        return False


def _imported(code: CodeType) -> set[str]:
    """Return the names of modules that code imports, and of what it takes from them, which may be modules too."""
    found, imported = set[str](), ""
    for step in dis.get_instructions(code):
        if step.opname == "IMPORT_NAME":
            imported = str(step.argval)
            found.update(with_packages(imported))
        elif step.opname == "IMPORT_FROM":
            found.add(f"{imported}.{step.argval}")
    return found.union(*(_imported(each) for each in code.co_consts if isinstance(each, CodeType)))


def _names(code: CodeType) -> set[str]:
    """Return the names that code takes from its module, and the code nested in it."""
    nested = (each for each in code.co_consts if isinstance(each, CodeType))
    own = {step.argval for step in dis.get_instructions(code) if step.opname in FROM_OUTSIDE}
    return own.union(*map(_names, nested))


def _code(code: CodeType) -> str:
    constants = [_code(each) if isinstance(each, CodeType) else _constant(each) for each in code.co_consts]
    return f"{code.co_code.hex()} {code.co_names} {code.co_varnames} {code.co_freevars} {constants}"


def _shortened(text: str) -> str:
    return text if len(text) <= LONGEST else hashlib.sha256(text.encode()).hexdigest()


def _constant(value: Any) -> str:
    """Return a text of a constant, in which sets have no order."""
    if isinstance(value, frozenset):
        return f"{{{', '.join(sorted(map(repr, value)))}}}"
    return f"({', '.join(map(_constant, value))})" if isinstance(value, tuple) else repr(value)
