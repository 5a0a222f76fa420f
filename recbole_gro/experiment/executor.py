"""Where cells are run: here, one after another or in worker processes, or on a Ray cluster."""

import contextlib
import multiprocessing
import os
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from typing import Any

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
    """Run `run(values, seed)` for every task and give (task, what went wrong or None) as they end.

    Args:
        run: a function that other processes can import, or a partial of one.
        tasks: (values, seed) of cells, in the order in which they are started.
        executor: `local` or `ray`.
        workers: processes on this machine; 1 runs in this one. Ray has its own.
        ray_address: of a running cluster; None starts one on this machine.

    Raises:
        UserError: no such executor, or ray is not installed or not reached.
    """
    if executor == "ray":
        return _on_ray(run, tasks, ray_address)
    if executor != "local":
        raise UserError(f"executor: {executor!r} is not one of {', '.join(EXECUTORS)}")
    if workers == 1:
        return _here(run, tasks)
    return _in_processes(run, tasks, workers)


def _here(run, tasks: list[Task]) -> Iterator[Outcome]:
    for task in tasks:
        yield task, _error_of(run, task)


def _in_processes(run, tasks: list[Task], workers: int) -> Iterator[Outcome]:
    # forked children of a process that has used torch's threads may hang
    pool = ProcessPoolExecutor(workers, mp_context=multiprocessing.get_context("spawn"))
    try:
        futures = {pool.submit(_error_of, run, task): task for task in tasks}
        for future in as_completed(futures):
            crash = future.exception()
            yield futures[future], RuntimeError(str(crash)) if crash else future.result()
    finally:
        pool.shutdown(wait=False, cancel_futures=True)


def _on_ray(run, tasks: list[Task], address: str | None) -> Iterator[Outcome]:
    ray = imported_ray()
    try:
        # Ray passes an environment on to its workers; a package that lies in a checkout is found through it
        ray.init(address=address, log_to_driver=False, runtime_env={"env_vars": {"PYTHONPATH": _search_path()}})
    except (ConnectionError, OSError, RuntimeError, ValueError) as error:
        reason = " ".join(str(error).split())
        raise UserError(f"ray_address: no cluster reached at {address!r}: {reason}") from error
    try:
        remote = ray.remote(num_cpus=1, max_retries=3)(_error_of)
        waiting = {remote.remote(run, task): task for task in tasks}
        while waiting:
            [ready], _ = ray.wait(list(waiting), num_returns=1)
            task = waiting.pop(ready)
            try:
                yield task, ray.get(ready)
            except ray.exceptions.RayError as error:
                yield task, error
    finally:
        with contextlib.suppress(Exception):
            ray.shutdown()


def imported_ray():
    """The ray package, which is imported only where it is asked for.

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
    import sys

    return os.pathsep.join(path for path in sys.path if path)


def _error_of(run, task: Task) -> Exception | None:
    """What went wrong in a task; of a kind that other processes can unpickle."""
    try:
        run(*task)
    except UserError as error:
        return error
    except Exception as error:
        return RuntimeError(f"{type(error).__name__}: {' '.join(str(error).split())}")
    return None
