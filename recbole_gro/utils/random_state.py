"""What belongs to the whole process stays as its user set it."""

import contextlib
import os
import random
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch

VISIBLE_GPUS = "CUDA_VISIBLE_DEVICES"


@contextlib.contextmanager
def global_state_kept() -> Iterator[None]:
    """Whatever happens inside, afterwards the random generators of Python, numpy and torch, cuDNN's switches, the
    number of threads and the visible GPUs are what they were before.

    RecBole's init_seed seeds every generator and sets cuDNN's switches, its Config sets CUDA_VISIBLE_DEVICES.
    """
    python, legacy = random.getstate(), np.random.get_state()
    cudnn = torch.backends.cudnn
    benchmark, deterministic = cudnn.benchmark, cudnn.deterministic
    threads, visible = torch.get_num_threads(), os.environ.get(VISIBLE_GPUS)
    try:
        with torch.random.fork_rng(range(torch.cuda.device_count())):
            yield
    finally:
        random.setstate(python)
        np.random.set_state(legacy)
        cudnn.benchmark, cudnn.deterministic = benchmark, deterministic
        torch.set_num_threads(threads)
        if visible is None:
            os.environ.pop(VISIBLE_GPUS, None)
        else:
            os.environ[VISIBLE_GPUS] = visible


def random_state() -> dict[str, Any]:
    """Where the process's generators stand, as plain values and tensors: Python's, numpy's, torch's on every device."""
    numpy = np.random.get_state(legacy=False)
    return {
        "python": random.getstate(),
        "numpy": {**numpy, "state": {**numpy["state"], "key": numpy["state"]["key"].tolist()}},
        "torch": torch.get_rng_state(),
        "cuda": torch.cuda.get_rng_state_all() if torch.cuda.is_available() else [],
    }


def set_random_state(state: dict[str, Any]) -> None:
    """Put the process's generators where they were when `random_state` looked."""
    random.setstate(state["python"])
    np.random.set_state(state["numpy"])
    torch.set_rng_state(state["torch"])
    if state["cuda"]:
        torch.cuda.set_rng_state_all(state["cuda"])


def generators_of(loader) -> dict[str, torch.Generator]:
    """What a loader draws from besides the process's generators, by purpose; RecBole's loader, ours of queries too."""
    found = {
        "order": getattr(loader, "generator", None),
        "windows": getattr(getattr(loader, "_dataset", None), "window_generator", None),
        "masks": getattr(getattr(loader, "transform", None), "generator", None),
    }
    return {purpose: generator for purpose, generator in found.items() if generator is not None}
