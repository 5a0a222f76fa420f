"""Executors of cells: this process, worker processes on this machine (joblib), or a Ray cluster."""

import contextlib
import os
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import BrokenExecutor
from typing import Any

from joblib import Parallel, delayed
from joblib.externals.loky import get_reusable_executor

from recbole_gro.utils.errors import UserError

EXECUTORS = ("local", "ray")
Task = tuple[dict[str, Any], int]  # varied values and seed of a cell
Outcome = tuple[Task, Exception | None]


def execute(
    run: Callable[..., Any],
    tasks: list[Task],
    executor: str = "local",
    workers: int = 1,
    ray_address: str | None = None,
) -> Iterator[Outcome]:
    """Run `run(values, seed)` for every task and yield (task, its error or None) as they end.

    A worker process that crashes ends the others: each task that has no outcome yet gets the crash as its error.

    Args:
        run: a function that other processes can import, or a partial of one.
        tasks: (values, seed) of cells, in the order in which they are started.
        executor: `local` or `ray`.
        workers: processes on this machine; 1 runs in this one. Ray has its own.
        ray_address: of a running cluster; None starts one on this machine.

    Raises:
        UserError: unknown executor, or ray is not installed or not reached.
    """
    if executor == "ray":
        return _on_ray(run, tasks, ray_address)
    if executor != "local":
        raise UserError(f"executor: {executor!r} is not one of {', '.join(EXECUTORS)}")
    if workers == 1:
        return (_outcome(run, task) for task in tasks)
    return _in_processes(run, tasks, workers)


def _in_processes(run, tasks: list[Task], workers: int) -> Iterator[Outcome]:
    parallel = Parallel(workers, backend="loky", return_as="generator_unordered", batch_size=1)
    unfinished = list(tasks)
    try:
        with contextlib.closing(parallel(delayed(_outcome)(run, task) for task in tasks)) as outcomes:
            for task, error in outcomes:
                unfinished.remove(task)
                yield task, error
    except BrokenExecutor as crash:  # it ends the other workers too
        for task in unfinished:
            yield task, _in_one_line(crash)
    finally:
        get_reusable_executor(reuse=True).shutdown(kill_workers=True)


def _on_ray(run, tasks: list[Task], address: str | None) -> Iterator[Outcome]:
    ray = imported_ray()
    try:
        # Ray passes an environment on to its workers; a package that lies in a checkout is found through it
        ray.init(address=address, log_to_driver=False, runtime_env={"env_vars": {"PYTHONPATH": _search_path()}})
    except (ConnectionError, OSError, RuntimeError, ValueError) as error:
        reason = " ".join(str(error).split())
        raise UserError(f"ray_address: no cluster reached at {address!r}: {reason}") from error
    try:
        remote = ray.remote(num_cpus=1, max_retries=3)(_outcome)
        waiting = {remote.remote(run, task): task for task in tasks}
        while waiting:
            [ready], _ = ray.wait(list(waiting), num_returns=1)
            task = waiting.pop(ready)
            try:
                yield ray.get(ready)
            except ray.exceptions.RayError as error:
                yield task, error
    finally:
        with contextlib.suppress(Exception):
            ray.shutdown()


def imported_ray():
    """Import ray, which only its own executor needs.

    Raises:
        UserError: it is not installed.
    """
    try:
        import ray
    except ImportError as error:
        raise UserError(
            f"executor: ray cannot be imported ({error}); recbole installs it (ray 2.6.3 on Python 3.11), "
            f"or use --executor=local --workers=N"
        ) from error
    return ray


def _search_path() -> str:
    return os.pathsep.join(path for path in sys.path if path)


def _outcome(run, task: Task) -> Outcome:
    """Run a task; what went wrong is of a kind that other processes can unpickle."""
    try:
        run(*task)
    except UserError as error:
        return task, error
    except Exception as error:
        return task, _in_one_line(error)
    return task, None


def _in_one_line(error: Exception) -> RuntimeError:
    return RuntimeError(f"{type(error).__name__}: {' '.join(str(error).split())}")
