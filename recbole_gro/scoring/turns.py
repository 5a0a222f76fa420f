"""Turns of the threads that query one model, which holds what a scorer changes while it runs it."""

import threading
from weakref import WeakKeyDictionary

from torch import nn

_turns: WeakKeyDictionary[nn.Module, threading.RLock] = WeakKeyDictionary()
_lock = threading.Lock()


def turn_of(model: nn.Module) -> threading.RLock:
    """Return the lock that a thread holds while it runs a model, the same one for all services of the model."""
    with _lock:
        return _turns.setdefault(model, threading.RLock())
