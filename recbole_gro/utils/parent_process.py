"""A process that ends with the one that started it."""

import os
import threading
import time

INTERVAL = 1.0  # seconds between two looks


def end_with_parent(parent: int | None = None) -> None:
    """Let this process end once its parent has ended, by whatever signal; a thread looks for it every second.

    Files are written whole or not at all, so the end is as abrupt as that of the parent may have been.

    Args:
        parent: its process id; None: that of the parent now.
    """
    threading.Thread(target=_wait, args=(os.getppid() if parent is None else parent,), daemon=True).start()


def _wait(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(INTERVAL)
    os._exit(1)
