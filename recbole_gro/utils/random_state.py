"""Random generators, and the state of the process that a run restores."""

import contextlib
import hashlib
import os
import random
import threading
import zlib
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from torch.utils.data import DataLoader, get_worker_info

from recbole_gro.utils.errors import UserError

SEEDS = 2**32  # number of seeds that numpy takes
VISIBLE_GPUS = "CUDA_VISIBLE_DEVICES"
_running = threading.RLock()  # of the thread that seeds the process's generators; it may start runs within its run


def _not_running() -> None:
    """Forget the run of a thread that a forked process does not have."""
    global _running
    _running = threading.RLock()


os.register_at_fork(after_in_child=_not_running)


def stage_seed(seed: int, stage: str) -> int:
    """Return the seed of a stage, by its name: no two models of a run start from the same weights.

    A surrogate that starts from the weights of a target of the same seed would have information that the attack does
    not.
    """
    return int(np.random.SeedSequence([seed, zlib.crc32(stage.encode())]).generate_state(1)[0])


@contextlib.contextmanager
def global_state_kept() -> Iterator[None]:
    """Let one thread of the process at a time run the block, and restore the state of the process after it.

    Two runs at once would draw from the same generators, and each would have other figures than alone. So would one
    with the default type, default device or modes of PyTorch that a script or notebook has set; they are restored too.

    Raises:
        UserError: another thread is inside such a block.
    """
    running = _running
    if not running.acquire(blocking=False):
        raise UserError(
            "another thread of this process is inside a run; runs share the random generators of their process: start "
            "this one after it, or in a process of its own"
        )
    try:
        with global_state_restored(), _usual_modes():
            yield
    finally:
        running.release()


@contextlib.contextmanager
def _usual_modes() -> Iterator[None]:
    """Compute in PyTorch's usual type and on its usual device, with gradients and without autocast, in the block."""
    dtype = torch.get_default_dtype()
    with contextlib.ExitStack() as modes:
        modes.enter_context(torch.inference_mode(False))
        modes.enter_context(torch.enable_grad())
        if torch.get_default_device().type != "cpu":
            modes.enter_context(torch.device("cpu"))
        for kind in ("cpu", "cuda"):
            if torch.is_autocast_enabled(kind):
                modes.enter_context(torch.autocast(kind, enabled=False))
        torch.set_default_dtype(torch.float32)
        try:
            yield
        finally:
            torch.set_default_dtype(dtype)


@contextlib.contextmanager
def global_state_restored() -> Iterator[None]:
    """Restore the random generators of Python, numpy and torch, cuDNN's switches, the number of threads and the visible
    GPUs after the block.

    RecBole's init_seed seeds every generator and sets cuDNN's switches, its Config sets CUDA_VISIBLE_DEVICES. Threads
    may be inside such blocks at once.
    """
    state, threads, visible = random_state(), torch.get_num_threads(), os.environ.get(VISIBLE_GPUS)
    cudnn = torch.backends.cudnn
    benchmark, deterministic = cudnn.benchmark, cudnn.deterministic
    try:
        yield
    finally:
        set_random_state(state)
        cudnn.benchmark, cudnn.deterministic = benchmark, deterministic
        torch.set_num_threads(threads)
        if visible is None:
            os.environ.pop(VISIBLE_GPUS, None)
        else:
            os.environ[VISIBLE_GPUS] = visible


@contextlib.contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Seed the process's generators for the block, and restore their states after it.

    Args:
        seed: from 0 to 2**32 - 1.
    """
    state = random_state()
    try:
        random.seed(seed)
        np.random.seed(seed)
        torch.manual_seed(seed)
        yield
    finally:
        set_random_state(state)


def random_state() -> dict[str, Any]:
    """Return the states of the process's generators (Python's, numpy's, torch's on every device), as plain values and
    tensors."""
    numpy = np.random.get_state(legacy=False)
    return {
        "python": random.getstate(),
        "numpy": {**numpy, "state": {**numpy["state"], "key": numpy["state"]["key"].tolist()}},
        "torch": torch.get_rng_state(),
        "cuda": torch.cuda.get_rng_state_all() if torch.cuda.is_available() else [],
    }


def set_random_state(state: dict[str, Any]) -> None:
    """Set the process's generators to states that `random_state` returned, on this device or another.

    States of GPUs that torch does not see here are ignored. A GPU without a state gets one derived from the CPU's.
    """
    random.setstate(state["python"])
    np.random.set_state(state["numpy"])
    torch.set_rng_state(state["torch"])
    for number, generator in enumerate(gpu_generators()):
        set_generator_state(generator, state["cuda"][number] if number < len(state["cuda"]) else state["torch"])


def gpu_generators() -> tuple[torch.Generator, ...]:
    """Return torch's generators of the GPUs that it sees, in their order; none without a GPU."""
    if not torch.cuda.is_available():
        return ()
    torch.cuda.init()  # creates them
    return torch.cuda.default_generators


def set_generator_state(generator: torch.Generator, state: torch.Tensor) -> None:
    """Set a generator to a state, which may be that of a generator on another kind of device.

    Such a state does not fit, and no draw on one kind of device equals one on another: the generator is then seeded
    from its digest, so that the same state still gives the same draws.

    Args:
        generator: is changed.
        state: uint8 [bytes], as `get_state` of a torch.Generator returns it.
    """
    if state.numel() == generator.get_state().numel():
        generator.set_state(state)
    else:
        digest = hashlib.blake2b(state.numpy().tobytes(), digest_size=7).digest()
        generator.manual_seed(int.from_bytes(digest, "big"))


def process_generator(own: torch.Generator) -> torch.Generator | None:
    """Return the generator that a dataset or transform draws with: its `own`, or None (torch's) in a worker process.

    Each epoch gives each worker a copy of the dataset, so a generator in it would repeat its draws. torch's is seeded
    there per epoch and worker, from the loader's generator, which is in the parent and in checkpoints; so are those of
    Python and numpy, with which RecBole's transforms and negative sampling draw.
    """
    return own if get_worker_info() is None else None


def generators_of(loader: DataLoader) -> dict[str, torch.Generator]:
    """Return the generators of a loader, RecBole's or one of a query log, by purpose; the process's are not among them.

    With worker processes the first alone determines an epoch (`process_generator`).
    """
    found = {
        "order": getattr(loader, "generator", None),
        "windows": getattr(getattr(loader, "_dataset", None), "window_generator", None),
        "masks": getattr(getattr(loader, "transform", None), "generator", None),
    }
    return {purpose: generator for purpose, generator in found.items() if generator is not None}
