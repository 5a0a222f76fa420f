"""Executors of tasks: this process, worker processes on this machine (joblib), or a Ray cluster."""

import contextlib
import os
import re
import signal
import socket
import sys
import traceback
import warnings
from collections.abc import Callable, Generator, Sequence
from concurrent.futures import BrokenExecutor
from typing import Any

import torch
from joblib import Parallel, delayed
from joblib.externals.loky import get_reusable_executor
from joblib.externals.loky.process_executor import TerminatedWorkerError

from recbole_gro.utils.command_line import is_debugging
from recbole_gro.utils.errors import SettingWarning, UserError
from recbole_gro.utils.log import say
from recbole_gro.utils.own_code import fault_of, with_type
from recbole_gro.utils.parent_process import end_with_parent

EXECUTORS = ("local", "ray")
MOST_WORKERS = 1024
Task = tuple[Any, ...]  # arguments of a call
Outcome = tuple[Task, Exception | None]


def check_executor(executor: str, workers: int) -> None:
    """Check the name of an executor and a number of workers; see `execute`.

    Raises:
        UserError: one of them is invalid, or ray is not installed.
    """
    if executor not in EXECUTORS:
        raise UserError(f"executor: {executor!r} is not one of {', '.join(EXECUTORS)}")
    if type(workers) is not int or not 1 <= workers <= MOST_WORKERS:  # all are started at once
        raise UserError(f"workers: {workers!r} is not allowed; it takes a whole number 1 to {MOST_WORKERS}")
    if executor == "ray":
        _imported_ray()


def threads_per_worker(executor: str, workers: int) -> int:
    """Return the threads of torch of each worker: an equal part of this process's, and one on Ray.

    It is computed by the parent: joblib has limited the threads of its workers already.

    Args:
        executor: `local` or `ray`.
        workers: number of local processes.
    """
    return max(1, torch.get_num_threads() // workers) if executor == "local" else 1


def execute(
    run: Callable[..., Any],
    tasks: Sequence[Task],
    executor: str = "local",
    workers: int = 1,
    ray_address: str | None = None,
) -> Generator[Outcome, None, None]:
    """Run `run(*task)` for every task and yield (task, its error or None) as they end.

    Tasks whose worker process ends without an answer are run again: on this machine all that were under way, as a
    process that ends takes the others with it, each with no other beside it; on Ray that task alone. A task that ends
    its process every time gets a UserError.

    Args:
        run: a function that other processes can import, or a partial of one.
        tasks: arguments of each call, in the order in which they are started.
        executor: `local` or `ray`.
        workers: number of local processes; 1 runs the tasks in this one. Ray decides on its own.
        ray_address: of a running cluster; None starts one on this machine.

    Raises:
        UserError: an invalid executor or number of workers, or ray is not installed or not reached.
    """
    check_executor(executor, workers)
    if executor == "ray":
        return _on_ray(run, tasks, ray_address)
    if workers == 1:
        return (_outcome(run, task) for task in tasks)
    return _in_processes(run, tasks, workers)


def _in_processes(run: Callable[..., Any], tasks: Sequence[Task], workers: int) -> Generator[Outcome, None, None]:
    unfinished = list(tasks)
    try:
        while unfinished:
            lost = yield from _in_pool(run, unfinished, workers)
            if lost is None:
                return
            # tasks are started in their order: these were under way, of which no one knows which ended its process
            under_way = unfinished[:workers]
            say(f"a worker process ended without an answer{lost}; what was under way is run again, one at a time")
            for task in under_way:
                again = yield from _in_pool(run, [task], workers)
                unfinished.remove(task)
                if again is not None:
                    yield task, _no_answer(again)
    except BrokenExecutor as crash:  # such as a function that workers cannot import, which holds for every task
        for task in unfinished:
            yield task, RuntimeError(with_type(crash))
    finally:
        get_reusable_executor(reuse=True).shutdown(kill_workers=bool(unfinished))


def _in_pool(run: Callable[..., Any], tasks: list[Task], workers: int) -> Generator[Outcome, None, str | None]:
    """Run tasks in a pool of workers, yield their outcomes and remove them from the list as they end.

    Returns:
        None once all have ended; how a worker ended that gave no answer, in brackets or empty, and then all are gone.
    """
    begun = {"initializer": _begin_worker, "initargs": (os.getpid(),)}
    parallel = Parallel(workers, backend="loky", return_as="generator_unordered", batch_size=1, **begun)
    calls = (delayed(_outcome_in_worker)(run, task) for task in list(tasks))
    try:
        with warnings.catch_warnings(), contextlib.closing(parallel(calls)) as outcomes:
            # loky's, which replaces a worker whose memory has grown by 300 MB between two tasks
            warnings.filterwarnings("ignore", "A worker stopped while some jobs", UserWarning)
            for task, error in outcomes:
                tasks.remove(task)
                yield task, error
    except TerminatedWorkerError as crash:
        return _how_it_ended(crash)
    return None


def _how_it_ended(crash: TerminatedWorkerError) -> str:
    """Return the signals or exit statuses that loky's message has, such as " (SIGKILL)"; empty where it has none.

    >>> _how_it_ended(TerminatedWorkerError("The exit codes of the workers are {SIGKILL(-9), EXIT(3), UNKNOWN(255)}"))
    ' (SIGKILL, exit status 3)'
    """
    found = re.findall(r"(SIG\w+|EXIT)\((-?\d+)\)", str(crash))
    names = dict.fromkeys(f"exit status {code}" if name == "EXIT" else name for name, code in found)
    return f" ({', '.join(names)})" if names else ""


def _no_answer(how: str) -> UserError:
    """Return the error of a task that ends its worker process every time."""
    # the kernel ends whoever takes the last memory by SIGKILL; other signals and statuses have causes of their own
    cause = ", most likely for want of memory" if not how or "SIGKILL" in how else ""
    return UserError(
        f"the worker process ended without an answer at every attempt{how}{cause}; fewer --workers and smaller batches "
        f"take less memory, and the same command resumes from what is done"
    )


def _on_ray(run: Callable[..., Any], tasks: Sequence[Task], address: str | None) -> Generator[Outcome, None, None]:
    ray = _imported_ray()
    # workers find a package that lies in a checkout by the environment that they are given
    environment = {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    try:
        _check_reachable(address)
        ray.init(address=address, log_to_driver=False, runtime_env={"env_vars": environment})
    except (OSError, OverflowError, RuntimeError, ValueError) as error:
        reason = " ".join(str(error).split())
        raise UserError(f"ray_address: no cluster reached at {address!r}: {reason}") from error
    try:
        remote = ray.remote(num_cpus=1, max_retries=3)(_outcome_in_folder)
        waiting = {remote.remote(run, task, os.getcwd()): task for task in tasks}
        while waiting:
            [ready], _ = ray.wait(list(waiting), num_returns=1)
            task = waiting.pop(ready)
            try:
                yield ray.get(ready)
            except (ray.exceptions.WorkerCrashedError, ray.exceptions.OutOfMemoryError, ray.exceptions.NodeDiedError):
                yield task, _no_answer("")
            except ray.exceptions.RayError as error:
                yield task, RuntimeError(with_type(error))
    finally:
        with contextlib.suppress(Exception):
            ray.shutdown()


def _check_reachable(address: str | None) -> None:
    """Raise an OSError at once where nobody listens at host:port; Ray tries for minutes."""
    host, _, port = (address or "").removeprefix("ray://").rpartition(":")
    if port.isdecimal():
        socket.create_connection((host.strip("[]"), int(port)), timeout=10).close()


def _imported_ray() -> Any:
    """Import ray, which only its own executor needs."""
    try:
        import ray
    except ImportError as error:
        raise UserError(
            f"executor: ray cannot be imported ({error}); pip install ray adds it, or use --executor=local --workers=N"
        ) from error
    return ray


def _outcome_in_folder(run: Callable[..., Any], task: Task, folder: str) -> Outcome:
    """Run a task in the folder of the command, where relative paths lead to what they name there."""
    with contextlib.suppress(OSError):  # another machine may lack it, and need it for none
        os.chdir(folder)
    return _outcome(run, task)


def _begin_worker(parent: int) -> None:
    # Ctrl-C reaches every process of a terminal; only the parent acts on it, by ending its workers
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    end_with_parent(parent)  # loky ends them only after the task, or minutes without one


def _outcome_in_worker(run: Callable[..., Any], task: Task) -> Outcome:
    warnings.simplefilter("ignore", SettingWarning)  # which the parent has given, of the same settings
    return _outcome(run, task)


def _outcome(run: Callable[..., Any], task: Task) -> Outcome:
    """Run a task and return it with its error, of a kind that other processes can unpickle; --debug prints it whole."""
    try:
        run(*task)
    except BaseException as error:
        if (fault := fault_of(error)) is None:
            raise
        if is_debugging():
            traceback.print_exc()
        return task, fault
    return task, None
