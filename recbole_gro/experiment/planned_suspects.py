"""Suspects of an experiment that are made when they are tried, and what stands for those that fail."""

import contextlib
import time
import traceback
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Generic, TypeVar

from recbole_gro.utils.command_line import is_debugging
from recbole_gro.utils.errors import UserError
from recbole_gro.utils.log import say
from recbole_gro.utils.own_code import fault_of
from recbole_gro.utils.random_state import global_state_kept

Made = TypeVar("Made")
Found = TypeVar("Found")


@dataclass(frozen=True)
class Absent:
    """A suspect that failed, which stands in a table in place of its rows.

    Attributes:
        name: of the suspect.
        group: figures are of some groups of suspects.
        reason: why it failed.
    """

    name: str
    group: str
    reason: str


@dataclass(frozen=True)
class PlannedSuspect(Generic[Made]):
    """A suspect that is made when it is tried.

    Attributes:
        name: for the report, where it fails.
        group: as of `Absent`.
        make: returns the suspect.
    """

    name: str
    group: str
    make: Callable[[], Made]

    def tried(self, then: Callable[[Made], Found]) -> Found | Absent:
        """Return what a function makes of the suspect; where one of both fails, why. An interrupt stays as it is."""
        try:
            with global_state_kept():  # no suspect leaves modes to the next one
                return then(self.make())
        except BaseException as error:
            if (fault := fault_of(error)) is None:
                raise
            if is_debugging():
                traceback.print_exc()
            say(f"{time.strftime('%H:%M:%S')} {self.name}: {fault}")
            return Absent(self.name, self.group, str(fault))


def itself(made: Made) -> Made:
    """Return what a suspect is made of, for `PlannedSuspect.tried`."""
    return made


@contextlib.contextmanager
def suspect_named(name: str) -> Iterator[None]:
    """Name the suspect that is made or measured inside the block in the error that ends it.

    Args:
        name: of the suspect.

    Raises:
        UserError: the block failed; an interrupt stays as it is.
    """
    try:
        yield
    except BaseException as error:
        if (fault := fault_of(error)) is None:
            raise
        raise UserError(f"{name}: {fault}") from error
