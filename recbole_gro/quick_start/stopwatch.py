"""The time that a block takes."""

import time
from typing import Self


class Stopwatch:
    """Measure the time of a block: `with Stopwatch() as watch: ...`.

    Attributes:
        seconds: wall-clock time of the block, rounded to 0.01; 0 inside it.
    """

    seconds = 0.0

    def __enter__(self) -> Self:
        self._start = time.perf_counter()
        return self

    def __exit__(self, *_: object) -> None:
        self.seconds = round(time.perf_counter() - self._start, 2)
