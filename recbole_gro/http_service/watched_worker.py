"""Workers of uvicorn whose end, or a signal to stop, is noticed while one of them is pinged.

uvicorn's own ping blocks until the answer or the timeout, which has to be long enough for a worker to start.
"""

import contextlib
import signal
import socket
import time
from collections.abc import Iterator
from multiprocessing.connection import wait

from uvicorn.supervisors import multiprocess

SECONDS_TO_STOP = 2.0  # for an answer, once a signal came; a worker that lives takes milliseconds
STOPPING = (signal.SIGTERM, signal.SIGINT)


class _WatchedWorker(multiprocess.Process):
    """A worker whose pings end early; `signals` gets a byte for every signal that the parent handles."""

    signals: socket.socket

    def ping(self, timeout: float = 5) -> bool:
        """Return whether the worker answers in time; False also once it has ended, or is mute at a signal to stop."""
        try:
            self.parent_conn.send(b"ping")
            deadline = time.monotonic() + timeout
            while (left := deadline - time.monotonic()) > 0:
                ready = wait([self.parent_conn, self.process.sentinel, self.signals], left)
                if self.parent_conn in ready:
                    self.parent_conn.recv()
                    return True
                if self.process.sentinel in ready:
                    return False
                if self.signals in ready and {*self.signals.recv(4096)} & {*STOPPING}:
                    deadline = min(deadline, time.monotonic() + SECONDS_TO_STOP)
        except (OSError, EOFError):
            pass
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
