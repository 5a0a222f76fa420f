"""What the benchmarks share: the command, paired timing, peak memory, the machine's name, tables of results."""

import argparse
import contextlib
import csv
import hashlib
import itertools
import json
import math
import os
import signal
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import torch
from filelock import FileLock, Timeout

from recbole_gro.config.models import sequential_model
from recbole_gro.config.properties import recbole_model_settings
from recbole_gro.utils.command_line import exit_code
from recbole_gro.utils.files import one_at_a_time


def command(file: str, main: Callable[[list[str]], int | None]) -> None:
    """Run a benchmark's main with the arguments of the command line, and end the process with its exit status.

    Invalid input ends in one line, an interrupt (SIGINT or SIGTERM) after the temporary folders are removed.
    """
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.default_int_handler)
    sys.exit(exit_code(Path(file).stem, main))


def width_of(model_name: str) -> dict[str, int]:
    """Return the settings with which a model of RecBole's is 64 wide."""
    own = recbole_model_settings(sequential_model(model_name))
    return {name: 64 for name in ("hidden_size", "embedding_size") if name in own}


def positive(text: str) -> int:
    """Return the whole number of 1 or more in a command-line word."""
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is no whole number of 1 or more")
    return int(text)


def output_file(text: str) -> Path:
    """Return the path in a command-line word, of a file that can be written at the end of a run."""
    if not Path(text).parent.is_dir():
        raise argparse.ArgumentTypeError(f"{text!r} lies in a folder that does not exist")
    return Path(text)


def machine() -> str:
    """Return one line on what the figures are measured on."""
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    cpu = next(line.split(":")[1].strip() for line in lines if line.startswith("model name"))
    clock = "CPU seconds" if _one_thread() else "wall-clock seconds"
    return f"{cpu}, {os.cpu_count()} cores, torch {torch.__version__}, {torch.get_num_threads()} threads, {clock}"


def _one_thread() -> bool:
    return torch.get_num_threads() == 1 and not torch.cuda.is_initialized()


def now() -> float:
    """Return CPU seconds on one thread, which other processes of the machine hardly change, else wall-clock seconds."""
    if torch.cuda.is_initialized():
        torch.cuda.synchronize()
    return time.process_time() if _one_thread() else time.perf_counter()


def seconds(call: Callable[[], object]) -> float:
    """Return the seconds of one call."""
    start = now()
    call()
    return now() - start


class Timed:
    """A training loader that records the seconds of each pass over it.

    Args:
        loader: RecBole's, of this package or of a query log.
        batches: that a pass has; its seconds are scaled up to all of the loader. None: all.
        warm_up: batches of a pass before the clock starts.

    Attributes:
        seconds: of each pass.
    """

    def __init__(self, loader: Any, batches: int | None = None, warm_up: int = 0):
        self.loader, self.batches, self.warm_up = loader, batches, warm_up
        self.seconds: list[float] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(self.loader, name)

    def __len__(self) -> int:
        return len(self.loader)

    def __iter__(self) -> Iterator[Any]:
        batches = iter(self.loader)
        yield from itertools.islice(batches, self.warm_up)
        start, n = now(), 0
        for batch in itertools.islice(batches, self.batches):
            yield batch
            n += 1
        self.seconds.append((now() - start) * (1 if self.batches is None else len(self.loader) / n))


def epoch(fit: Callable[..., object], loader: Any, batches: int | None = None, warm_up: int = 0) -> float:
    """Return the seconds of the first epoch of a trainer's `fit`, or one scaled up from its first batches."""
    timed = Timed(loader, batches, warm_up)
    fit(timed, verbose=False, saved=False)
    return timed.seconds[0]


class _Enough(Exception):
    """A curve is complete."""


def curve(
    fit: Callable[..., object], train: Any, valid: Any, until: Callable[[float, float], bool]
) -> list[tuple[float, float]]:
    """Return the seconds and the validation score of a training at each validation, whose own time is left out.

    Args:
        fit: of a trainer.
        train: loader of its training rows.
        valid: loader of its validation rows.
        until: ends the training where it is true of seconds and score.
    """
    timed, points = Timed(train), list[tuple[float, float]]()

    def validated(_: int, score: float) -> None:
        points.append((sum(timed.seconds), float(score)))
        if until(*points[-1]):
            raise _Enough

    with contextlib.suppress(_Enough):
        fit(timed, valid, verbose=False, saved=False, callback_fn=validated)
    return points


def paired(
    first: Callable[[], object], second: Callable[[], object], rounds: int, measure: Callable[..., float] = seconds
) -> tuple[list[float], list[float]]:
    """Return the seconds of both, run in turn in alternating order, so that a noisy machine hits both alike.

    Args:
        first: one side.
        second: the other.
        rounds: pairs, after one that does not count.
        measure: returns the seconds of a side.
    """
    first(), second()
    times = []
    for number in range(rounds):
        order = (first, second) if number % 2 == 0 else (second, first)
        spent = {side: measure(side) for side in order}
        times.append((spent[first], spent[second]))
    return [a for a, _ in times], [b for _, b in times]


def ratio_line(label: str, first: list[float], second: list[float]) -> str:
    """Return `label: median of the pairwise ratios first / second, with their range`."""
    ratios = sorted(a / b for a, b in zip(first, second, strict=True))
    return (
        f"{label}: {statistics.median(ratios):.2f} "
        f"(median of {len(ratios)} pairs, {ratios[0]:.2f} to {ratios[-1]:.2f}); "
        f"{statistics.median(first):.4f} s against {statistics.median(second):.4f} s"
    )


def write_below(config: Any, folder: str | Path) -> None:
    """Have everything that a config's trainers write land in a folder."""
    config["checkpoint_dir"] = config["output_dir"] = str(folder)


def peak_mib() -> float:
    """Return the largest resident memory of this process so far, in MiB; unlike ru_maxrss it starts anew in a child."""
    status = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in status if line.startswith("VmHWM:")) / 1024


def in_child(script: str, *arguments: str) -> dict:
    """Run a script of this folder in a process of its own; the last line it prints is JSON."""
    done = subprocess.run([sys.executable, script, *arguments], capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(f"{script} {' '.join(arguments)} failed:\n{done.stderr}")
    return json.loads(done.stdout.splitlines()[-1])


def rows_of(file: Path) -> list[dict[str, str]]:
    """Return the rows of a csv file; none where there is no file."""
    if not file.exists():
        return []
    with open(file, newline="") as table:
        return list(csv.DictReader(table))


def append(file: Path, row: dict[str, Any], columns: list[str]) -> None:
    """Add a row to a csv file; what is no column is left out."""
    numbers = {key: value for key, value in row.items() if isinstance(value, float) and math.isfinite(value)}
    with one_at_a_time(file), open(file, "a", newline="") as table:
        writer = csv.DictWriter(table, columns, extrasaction="ignore")
        if table.tell() == 0:
            writer.writeheader()
        writer.writerow(row | {key: f"{value:.6g}" for key, value in numbers.items()})


def missing(file: Path, wanted: Iterable[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    """Yield what has no row yet and is not another process's; it is this one's until the next is taken.

    Args:
        file: csv file; a lock lies beside it for as long as its row is computed.
        wanted: columns and values that say which row is meant.
    """
    for cell in wanted:
        lock = Path(f"{file}.{hashlib.sha256(repr(cell).encode()).hexdigest()[:16]}.lock")
        try:
            with FileLock(lock, timeout=0):
                if not any(all(row[key] == str(value) for key, value in cell.items()) for row in rows_of(file)):
                    yield cell
                lock.unlink()
        except Timeout:
            continue  # another process's
        except BaseException:  # an interrupt, also while the lock is taken
            lock.unlink(missing_ok=True)
            raise
