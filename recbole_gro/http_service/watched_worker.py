"""Workers of uvicorn whose end, or a signal to stop, is noticed while one of them is pinged.

uvicorn's own ping blocks until the answer or the timeout, which has to be long enough for a worker to start. One that
serves already gets less time.
"""

import contextlib
import logging
import signal
import socket
import time
from collections.abc import Iterator
from multiprocessing.connection import wait

from uvicorn.supervisors import multiprocess

logger = logging.getLogger("recbole_gro.http_service")
SECONDS_HUNG = 20.0  # without an answer of a worker that serves, after which it is replaced
SECONDS_TO_STOP = 2.0  # for an answer, once a signal came; a worker that lives takes milliseconds
STOPPING = (signal.SIGTERM, signal.SIGINT)


class _WatchedWorker(multiprocess.Process):
    """A worker whose pings end early; `signals` gets a byte for every signal that the parent handles."""

    signals: socket.socket
    _serves = False  # whether it has said that it does

    def ping(self, timeout: float = 5) -> bool:
        """Return whether the worker answers in time; False also once it has ended, or is mute at a signal to stop."""
        left, stops = min(timeout, SECONDS_HUNG) if self._serves else timeout, False
        try:
            self.parent_conn.send(b"ping")
            while left > 0:
                began = time.monotonic()
                ready = wait([self.parent_conn, self.process.sentinel, self.signals], min(1, left))
                if self.parent_conn in ready:
                    self._serves = self.parent_conn.recv() is True  # earlier uvicorns say b"pong" at any time
                    return True
                if self.process.sentinel in ready:
                    return False
                left -= min(1, time.monotonic() - began)  # a pause of the parent itself, as by Ctrl-Z, is one second
                if self.signals in ready and {*self.signals.recv(4096)} & {*STOPPING}:
                    left, stops = min(left, SECONDS_TO_STOP), True
        except (OSError, EOFError):
            return False
        if self._serves and not stops:
            logger.error("worker %s has not answered for %d s and is replaced", self.process.pid, SECONDS_HUNG)
        return False


@contextlib.contextmanager
def watched_workers() -> Iterator[None]:
    """Let uvicorn run several workers as watched ones inside the block, which is to be in the main thread."""
    ours, theirs = socket.socketpair()
    ours.setblocking(False)
    theirs.setblocking(False)
    plain, before = multiprocess.Process, signal.set_wakeup_fd(theirs.fileno(), warn_on_full_buffer=False)
    _WatchedWorker.signals = ours
    multiprocess.Process = _WatchedWorker  # type: ignore[misc]
    try:
        yield
    finally:
        multiprocess.Process = plain  # type: ignore[misc]
        signal.set_wakeup_fd(before)
        ours.close()
        theirs.close()
