"""What the benchmarks share: paired timing, peak memory of a child process, the machine's name, tables of results."""

import contextlib
import csv
import json
import math
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import torch
from filelock import FileLock, Timeout

from recbole_gro.utils.files import one_at_a_time


def machine() -> str:
    """One line on what the figures were measured on."""
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    cpu = next(line.split(":")[1].strip() for line in lines if line.startswith("model name"))
    return f"{cpu}, {os.cpu_count()} cores, torch {torch.__version__}, {torch.get_num_threads()} threads"


def seconds(call: Callable[[], object]) -> float:
    """Wall seconds of one call."""
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


def paired(first: Callable[[], object], second: Callable[[], object], rounds: int) -> tuple[list[float], list[float]]:
    """Seconds of both, run in turn after one round that does not count, so that a noisy machine hits both alike."""
    first(), second()
    times = [(seconds(first), seconds(second)) for _ in range(rounds)]
    return [a for a, _ in times], [b for _, b in times]


def ratio_line(label: str, first: list[float], second: list[float]) -> str:
    """`label: median of the pairwise ratios first / second, with their range`."""
    ratios = sorted(a / b for a, b in zip(first, second, strict=True))
    return (
        f"{label}: {statistics.median(ratios):.2f} "
        f"(median of {len(ratios)} pairs, {ratios[0]:.2f} to {ratios[-1]:.2f}); "
        f"{statistics.median(first):.4f} s against {statistics.median(second):.4f} s"
    )


def peak_mib() -> float:
    """Largest resident memory of this process so far, in MiB; unlike ru_maxrss it starts anew in a child."""
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


def missing(file: Path, wanted: Iterable[dict[str, Any]], folder: Path) -> Iterator[dict[str, Any]]:
    """Yield what has no row yet and is not another process's; it is this one's until the next is taken.

    Args:
        file: csv file.
        wanted: columns and values that say which row is meant.
        folder: where locks lie; they end with their process.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for cell in wanted:
        with contextlib.suppress(Timeout), FileLock(folder / f"{'-'.join(map(str, cell.values()))}.lock", timeout=0):
            if not any(all(row[key] == str(value) for key, value in cell.items()) for row in rows_of(file)):
                yield cell
