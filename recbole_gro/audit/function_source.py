"""A Python function of a user's own as what answers histories."""

import threading
from collections.abc import Callable
from typing import Any

from recbole_gro.audit.answer_text import as_tokens, beginning
from recbole_gro.audit.journal import Journal, Unanswered
from recbole_gro.utils.errors import UserError, in_one_line
from recbole_gro.utils.own_code import fault_of_own_code

PAUSES = (1.0, 2.0)  # seconds before it is called again after an exception that may pass
# where code is wrong; other exceptions, such as OSError and those of libraries, may mean a service that is down
OF_CODE = (
    *(ArithmeticError, AssertionError, AttributeError, ImportError, LookupError, NameError, TypeError),
    *(NotImplementedError, SyntaxError, SystemExit, UserError),
)
# whatever the histories are
OF_ANY_HISTORY = (ImportError, NameError, NotImplementedError, SyntaxError, SystemExit, UserError)


class FunctionSource:
    """Lists of a Python function: from a list of histories of item ids to a list of lists of item ids.

    Args:
        function: is called by one thread at a time.
    """

    batch, concurrency = 64, 1

    def __init__(self, function: Callable[[list[list[Any]]], Any]):
        self.function = function
        self._stopped = threading.Event()

    def lists(self, histories: list[list[Any]], journal: Journal) -> list[list[str]]:
        """Return a list of item ids per history."""
        for pause in (*PAUSES, None):
            ticket = journal.reserve(len(histories))
            try:
                answer = self.function([*map(list, histories)])  # which may change its argument
                break
            except (Exception, SystemExit) as error:
                journal.release(ticket, len(histories))
                reason = str(fault_of_own_code(error) or in_one_line(error))
                # ValueError alone: the error for JSON that is none, as of a service that is down, derives from it
                of_code = isinstance(error, OF_CODE) or type(error) is ValueError
                if of_code or pause is None or self._stopped.wait(pause):
                    of_items = not isinstance(error, OF_ANY_HISTORY)
                    raise Unanswered(reason, mended_by_resuming=not of_code, of_items=of_items) from error
        try:
            return as_tokens(_plain(answer, 2), len(histories))
        except Unanswered as error:
            raise Unanswered(str(error), said=beginning(error.came), mended_by_resuming=False) from None

    def stop(self) -> None:
        """Call the function no more."""
        self._stopped.set()


def _plain(answer: Any, depth: int) -> Any:
    """Return an answer with lists and numbers in place of those of numpy, torch and pandas, down to a depth."""
    if hasattr(answer, "tolist"):
        return answer.tolist()
    return [_plain(part, depth - 1) for part in answer] if depth and isinstance(answer, list | tuple) else answer
