"""What the benchmarks share: paired timing, peak memory of a child process, and the machine's name."""

import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import torch


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
