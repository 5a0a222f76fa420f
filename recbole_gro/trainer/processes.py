"""One run in several processes, which torchrun starts: each trains on its part of every batch.

All processes run the same program from the same seed and make the same batches, of which each trains on some rows; the
gradients are added up before every step, so that all have the same weights. The first process alone writes, evaluates
and queries; the others wait for its results.
"""

import atexit
import contextlib
import datetime
import functools
import itertools
import os
import sys
import traceback
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor
from torch.distributed.rendezvous import rendezvous
from torch.optim import Optimizer

from recbole_gro.objective.extraction import BatchPart
from recbole_gro.utils.command_line import exit_code, launched
from recbole_gro.utils.errors import UserError, out_of_memory
from recbole_gro.utils.own_code import fault_of_own_code
from recbole_gro.utils.parent_process import end_with_parent

T = TypeVar("T")
PATIENCE = datetime.timedelta(days=30)  # for the first process, which queries and evaluates for hours
LAST_WORDS = datetime.timedelta(seconds=10)  # for a process that failed first and prints why
_alone = False


def count() -> int:
    """Return the number of processes that train together; 1 inside `alone`."""
    return dist.get_world_size() if not _alone and dist.is_available() and dist.is_initialized() else 1


def is_first() -> bool:
    """Return whether this process is the one that writes."""
    return count() == 1 or dist.get_rank() == 0


@functools.cache
def _store() -> dist.Store:
    """Return the store of the processes that the launcher started, by the variables of its environment."""
    store: dist.Store = next(rendezvous("env://"))[0]
    return store


def join(device: torch.device) -> None:
    """Let this process train with the others that the launcher started, if there are any.

    Args:
        device: that it trains on; gloo connects CPUs, nccl GPUs.

    Raises:
        UserError: some processes have a GPU and others none.
    """
    if not launched() or dist.is_initialized():
        return
    if dist.is_torchelastic_launched():  # a shell that starts processes may end before them, torchrun does not
        end_with_parent()  # it ends them, unless it was killed itself
    store, rank, size = _store(), int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"])
    store.set(f"device {rank}", device.type)
    kinds = [store.get(f"device {other}").decode() for other in range(size)]
    if len(set(kinds)) > 1:
        raise UserError(
            f"gpu_id: {size} processes, but only {kinds.count('cuda')} have a GPU; start as many as there are GPUs, "
            f"or set use_gpu=False"
        )
    if rank > 0:
        os.environ["WANDB_MODE"] = "disabled"
    backend = "cpu:gloo,cuda:nccl" if device.type == "cuda" else "gloo"
    dist.init_process_group(backend, store=dist.PrefixStore("run", store), rank=rank, world_size=size, timeout=PATIENCE)


@contextlib.contextmanager
def alone() -> Iterator[None]:
    """Let this process work as if there were no others inside the block."""
    global _alone
    before, _alone = _alone, True
    try:
        yield
    finally:
        _alone = before


def by_first(make: Callable[[], T]) -> T:
    """Return what `make` returns in the first process, which works alone; the others wait for it."""
    if count() == 1:
        return make()
    made: list[Any] = [None]
    if is_first():
        with alone():
            made = [make()]
    with _lost_named():
        dist.broadcast_object_list(made)
    return made[0]


@contextlib.contextmanager
def _lost_named() -> Iterator[None]:
    """Raise UserError where a process that the others wait for has ended."""
    try:
        yield
    except RuntimeError as error:
        raise UserError("another process of this run ended unexpectedly; the same command resumes the run") from error


@dataclass
class Part:
    """The part of a batch that a process trains on.

    Attributes:
        rows: of the batch.
        positions: its training positions among those of the batch; None where it has them all.
        weight: of the mean over its positions in the mean over all.
    """

    rows: slice
    positions: BatchPart | None
    weight: float


def part_of(positions: Tensor) -> Part:
    """Return this process's part of a batch.

    Where a part would have no training position, such as in a last batch of one row, all processes have the batch.

    Args:
        positions: [B] number of training positions in each row.
    """
    n, rank = count(), dist.get_rank()
    edges = [len(positions) * place // n for place in range(n + 1)]
    counts = [int(positions[start:end].sum()) for start, end in itertools.pairwise(edges)]
    if min(counts) == 0:
        return Part(slice(0, len(positions)), None, 1 / n)
    total = sum(counts)
    return Part(slice(edges[rank], edges[rank + 1]), BatchPart(sum(counts[:rank]), total), counts[rank] / total)


def weighted(losses: Any, weight: float, optimizer: Optimizer) -> Any:
    """Return the losses of a part as shares of those of the batch; their backward pass ends with `add_gradients`.

    Clipping, gradient scaling and the step follow, as after any backward pass.

    Args:
        losses: of the part, a tensor or a tuple of tensors that are added up.
        weight: of the part.
        optimizer: of the parameters that have gradients.
    """
    shares = tuple(loss * weight for loss in (losses if isinstance(losses, tuple) else (losses,)))
    engine = torch.autograd.Variable._execution_engine
    next(share for share in shares if share.requires_grad).register_hook(
        lambda _: engine.queue_callback(lambda: add_gradients(optimizer))
    )
    return shares if isinstance(losses, tuple) else shares[0]


@torch.no_grad()
def add_gradients(optimizer: Optimizer) -> None:
    """Replace each gradient by the sum of all processes' gradients; one that no process has stays None."""
    weights = [weight for group in optimizer.param_groups for weight in group["params"]]
    present = torch.tensor([float(weight.grad is not None) for weight in weights], device=weights[0].device)
    gradients = [torch.zeros_like(weight) if weight.grad is None else weight.grad for weight in weights]
    total = add_up(torch.cat([present, *(gradient.flatten() for gradient in gradients)]))
    present, *gradients = total.split([len(weights), *(weight.numel() for weight in weights)])
    for weight, has_one, gradient in zip(weights, present.tolist(), gradients, strict=True):
        if has_one:
            weight.grad = gradient.view_as(weight)


def add_up(values: Tensor) -> Tensor:
    """Return the sum of the tensors of all processes, in place."""
    if count() > 1:
        with _lost_named():
            dist.all_reduce(values)
    return values


def summed(losses: Any) -> Any:
    """Return the sums over all processes of a number or of a tuple of numbers."""
    if count() == 1:
        return losses
    sums = add_up(torch.tensor(losses, dtype=torch.double)).tolist()
    return tuple(sums) if isinstance(losses, tuple) else sums


@contextlib.contextmanager
def own_draws(device: torch.device, epoch: int) -> Iterator[None]:
    """Let torch's generator, which dropout draws from, differ between processes and epochs inside the block alone."""
    if count() == 1:
        yield
        return
    with torch.random.fork_rng([device] if device.type == "cuda" else []):
        torch.manual_seed(int(torch.randint(2**62, ())) + epoch * count() + dist.get_rank())
        yield


def exit_code_of_all(
    command: str, work: Callable[[list[str]], int | None], arguments: Sequence[str] | None = None
) -> int:
    """Do the work of a command in all processes that the launcher started, and return its exit status as `exit_code`.

    The first process alone prints. Where processes fail, the first to fail prints why, and all have its exit status.

    Args:
        command: its name, for messages.
        work: called with the arguments, less --debug; returns the exit status, None for 0.
        arguments: of the command line; None: those of the process.
    """
    if not launched():
        return exit_code(command, work, arguments)
    store, rank, followed = _store(), os.environ["RANK"], False

    def guarded(words: list[str]) -> int | None:
        nonlocal followed
        try:
            with _silent() if rank != "0" else contextlib.nullcontext():
                return work(words)
        except BaseException as error:
            fault = fault_of_own_code(error)
            if isinstance(error, SystemExit) and not error.code and not fault:
                raise
            followed = not _is_first_to_fail(store, rank)
            if followed:
                return 1
            reported = isinstance(error, UserError | KeyboardInterrupt | BrokenPipeError)
            if reported or fault or out_of_memory(error):
                raise
            traceback.print_exc()
            return 1

    status = exit_code(command, guarded, arguments)
    if followed:
        store.set_timeout(LAST_WORDS)
        with contextlib.suppress(RuntimeError):  # the store may be in the process that failed
            status = int(store.get("status"))
    elif status:
        with contextlib.suppress(RuntimeError):
            store.set("status", str(status))
    elif dist.is_initialized():
        dist.destroy_process_group()
    if status and dist.is_initialized():
        atexit.register(_end_at_once, status)
    return status


def _end_at_once(status: int) -> None:
    """End the process without the destructors of its libraries: one may abort it after another process has failed."""
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)


def _is_first_to_fail(store: dist.Store, rank: str) -> bool:
    with contextlib.suppress(RuntimeError):
        return bool(store.compare_set("failed", "", rank).decode() == rank)
    return False


@contextlib.contextmanager
def _silent() -> Iterator[None]:
    with (
        open(os.devnull, "w") as nowhere,
        contextlib.redirect_stdout(nowhere),
        contextlib.redirect_stderr(nowhere),
    ):
        yield
