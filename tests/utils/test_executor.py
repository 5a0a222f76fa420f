"""Tasks in this process, in worker processes and on Ray."""

import builtins
import contextlib
import functools
import os
import re
import signal
import subprocess
import sys
import threading
import time
import types
import warnings
from pathlib import Path

import pytest

from recbole_gro.utils.command_line import exit_code
from recbole_gro.utils.errors import SettingWarning, UserError
from recbole_gro.utils.executor import _outcome_in_folder, execute


def record(folder, values, seed):
    """Write a file with the process that runs the task; some tasks fail."""
    if values["x"] == "bad":
        raise UserError("x: 'bad' is not allowed")
    if values["x"] == "broken":
        raise ZeroDivisionError("in the\nmiddle")
    if values["x"] == "large":
        raise MemoryError("8 GiB")
    (folder / f"{values['x']}-{seed}").write_text(str(os.getpid()))


TASKS = [({"x": x}, seed) for x in ("a", "bad", "broken", "large", "b") for seed in (1, 2)]


class ExecutorCases:
    """Cases for every executor; subclasses define which."""

    options: dict

    @pytest.fixture(scope="class")
    def folder(self, tmp_path_factory):
        return tmp_path_factory.mktemp("tasks")

    @pytest.fixture(scope="class")
    def outcomes(self, folder):
        return dict(
            ((values["x"], seed), error)
            for (values, seed), error in execute(functools.partial(record, folder), TASKS, **self.options)
        )

    def test_every_task_is_run_and_failures_are_reported(self, outcomes, folder):
        assert set(outcomes) == {(values["x"], seed) for values, seed in TASKS}
        assert sorted(file.name for file in folder.iterdir()) == ["a-1", "a-2", "b-1", "b-2"]
        for seed in (1, 2):
            assert outcomes["a", seed] is None
            assert str(outcomes["bad", seed]) == "x: 'bad' is not allowed"
            assert str(outcomes["broken", seed]) == "ZeroDivisionError: in the middle"
            assert str(outcomes["large", seed]).startswith("memory: there is not enough (MemoryError 8 GiB)")


class TestThisProcess(ExecutorCases):
    options = {"workers": 1}

    def test_tasks_run_in_this_process(self, outcomes, folder):
        assert {int(file.read_text()) for file in folder.iterdir()} == {os.getpid()}


def grow(folder, values, seed):
    """Keep 320 MB in the worker, and take longer than the time between two looks at its memory."""
    record(folder, values, seed)
    builtins.kept = [*getattr(builtins, "kept", []), b"1" * 320_000_000]  # globals of a test are those of a call
    time.sleep(1.1)


def is_running(pid):
    """Whether a process is still running after five seconds."""
    with contextlib.suppress(ProcessLookupError):
        for _ in range(50):
            os.kill(pid, 0)
            time.sleep(0.1)
        return True
    return False


def end(folder, values, seed):
    """Note each attempt; the task `once` ends its process at the first one, `always` at every one that it lives to."""
    with open(folder / values["x"], "a") as file:
        file.write(f"{os.getpid()}\n")
    while values["x"] == "always" and attempts(folder, "once") < 2:  # so that it is `once` that ends the first pool
        time.sleep(0.05)
    if values["x"] == "always" or (values["x"] == "once" and attempts(folder, "once") == 1):
        os.kill(os.getpid(), signal.SIGKILL)


def attempts(folder, name):
    return len((folder / name).read_text().split()) if (folder / name).exists() else 0


class TestWorkerProcesses(ExecutorCases):
    options = {"workers": 2}

    def test_no_worker_is_left(self, outcomes, folder):
        assert not any(is_running(int(file.read_text())) for file in folder.iterdir())

    def test_a_worker_that_grows_is_replaced_without_a_warning(self, tmp_path, recwarn):
        pytest.importorskip("psutil")  # by which joblib measures it
        tasks = [({"x": "a"}, seed) for seed in range(6)]
        outcomes = [*execute(functools.partial(grow, tmp_path), tasks, workers=2)]
        assert [error for _, error in outcomes] == [None] * 6
        assert len({file.read_text() for file in tmp_path.iterdir()}) > 2  # else no worker was replaced
        assert not [str(one.message) for one in recwarn]

    def test_no_worker_or_thread_is_left_after_an_early_stop(self, tmp_path):
        before = set(threading.enumerate())  # those of earlier tests may end meanwhile
        outcomes = execute(functools.partial(record, tmp_path), TASKS * 9, workers=2)
        next(outcomes)
        with pytest.warns(UserWarning, match="cancelled"):
            outcomes.close()
        assert not any(is_running(int(pid)) for file in tmp_path.iterdir() if (pid := file.read_text()))
        for thread in set(threading.enumerate()) - before:
            thread.join(5)
        assert set(threading.enumerate()) <= before

    def test_a_worker_that_is_killed_costs_no_other_task(self, tmp_path, capsys):
        names = ["once", "always", "a", "b"]
        outcomes = execute(functools.partial(end, tmp_path), [({"x": x}, 1) for x in names], workers=2)
        errors = {values["x"]: error and str(error) for (values, _), error in outcomes}
        assert sorted(errors) == sorted(names)
        assert errors.pop("always") == (
            "the worker process ended without an answer at every attempt (SIGKILL), most likely for want of memory; "
            "fewer --workers and smaller batches take less memory, and the same command resumes from what is done"
        )
        assert set(errors.values()) == {None}
        assert [attempts(tmp_path, name) for name in ("once", "a", "b")] == [2, 1, 1]
        said = "a worker process ended without an answer (SIGKILL); what was under way is run again, one at a time\n"
        assert capsys.readouterr().out == said

    @pytest.mark.parametrize(
        ("number", "names"), [(signal.SIGINT, "ab"), (signal.SIGKILL, "ab"), (signal.SIGTERM, "a")]
    )
    def test_no_worker_survives_the_parent(self, tmp_path, number, names):
        psutil = pytest.importorskip("psutil")
        script = (
            "import functools, pathlib, signal, sys, time; sys.path.insert(0, sys.argv[2])\n"
            "signal.signal(signal.SIGINT, signal.default_int_handler)\n"  # a job in the background ignores it
            "from utils.test_executor import record\n"
            "from recbole_gro.utils.executor import execute\n"
            "def run(folder, values, seed):\n    record(folder, values, seed)\n    time.sleep(600)\n"
            "run = functools.partial(run, pathlib.Path(sys.argv[1]))\n"
            "list(execute(run, [({'x': x}, 1) for x in sys.argv[3]], workers=2))"
        )
        tests = str(Path(__file__).parents[1])
        started = subprocess.Popen([sys.executable, "-c", script, str(tmp_path), tests, names], start_new_session=True)
        for _ in range(3000):
            if len(files := [file for file in tmp_path.iterdir() if file.read_text()]) == len(names):
                break
            time.sleep(0.1)
        workers = {int(file.read_text()) for file in files}
        workers |= {
            child.pid for child in psutil.Process(started.pid).children() if "LokyProcess" in child.cmdline()[-3]
        }
        if number == signal.SIGINT:  # which a terminal sends to all
            os.killpg(started.pid, number)
        else:
            os.kill(started.pid, number)
        assert started.wait(120) != 0
        assert len(files) == len(names)
        assert len(workers) == 2  # one of them may have no task
        for _ in range(300):
            if not (left := [worker for worker in workers if is_running(worker)]):
                break
            time.sleep(0.1)
        assert not left

    def test_tasks_run_in_other_processes(self, outcomes, folder):
        assert os.getpid() not in {int(file.read_text()) for file in folder.iterdir()}


def needs_ray():
    return pytest.importorskip("ray", reason="ray is not installed: pip install ray", exc_type=ImportError)


@pytest.mark.every
class TestOnRay(ExecutorCases):
    """A cluster of two workers, started here and reached by its address."""

    options = {"executor": "ray", "ray_address": "auto"}

    @pytest.fixture(autouse=True, scope="class")
    def cluster(self):
        needs_ray()
        from ray.cluster_utils import Cluster

        cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False})
        cluster.add_node(num_cpus=1)
        cluster.wait_for_nodes()
        os.environ["RAY_ADDRESS"] = cluster.address
        yield
        os.environ.pop("RAY_ADDRESS")
        cluster.shutdown()

    def test_tasks_run_on_the_workers(self, outcomes, folder):
        assert os.getpid() not in {int(file.read_text()) for file in folder.iterdir()}


def warn_of_a_setting(*_):
    warnings.warn("epochs: ignored", SettingWarning, stacklevel=1)


def test_workers_do_not_repeat_warnings_of_settings(capfd):
    assert [error for _, error in execute(warn_of_a_setting, [(1,), (2,)], workers=2)] == [None, None]
    assert "ignored" not in capfd.readouterr().err


@pytest.mark.parametrize("workers", [1, 2])
@pytest.mark.parametrize("words", [[], ["--debug"]], ids=["", "debug"])
def test_debug_shows_the_traceback_of_tasks_that_fail(capfd, tmp_path, monkeypatch, words, workers):
    monkeypatch.delenv("RECBOLE_GRO_DEBUG", raising=False)
    tasks = [({"x": "broken"}, 1), ({"x": "bad"}, 1)]
    assert (
        exit_code("tool", lambda _: len([*execute(functools.partial(record, tmp_path), tasks, workers=workers)]), words)
        == 2
    )
    shown = capfd.readouterr().err
    assert [text in shown for text in ("ZeroDivisionError: in the", "UserError: x:", "in record")] == [bool(words)] * 3
    assert "RECBOLE_GRO_DEBUG" not in os.environ


def test_an_unknown_executor_is_refused():
    with pytest.raises(UserError, match="executor: 'slurm' is not one of local, ray"):
        execute(record, [], "slurm")


def test_a_missing_ray_is_reported_in_one_line(monkeypatch):
    original = builtins.__import__

    def without_ray(name, *args, **kwargs):
        if name == "ray":
            raise ImportError("No module named 'ray'")
        return original(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", without_ray)
    with pytest.raises(UserError, match=r"executor: ray cannot be imported \(No module named 'ray'\); pip install ray"):
        list(execute(record, TASKS, "ray"))


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        ("WorkerCrashedError", "the worker process ended without an answer at every attempt, most likely for want of"),
        ("OutOfMemoryError", "the worker process ended without an answer at every attempt, most likely for want of"),
        ("OwnerDiedError", "OwnerDiedError: see the logs"),
    ],
)
def test_a_worker_of_a_cluster_that_gives_no_answer_is_reported_in_one_line(monkeypatch, kind, message):
    error = type("RayError", (Exception,), {})
    names = "WorkerCrashedError", "OutOfMemoryError", "NodeDiedError", "OwnerDiedError"
    exceptions = types.SimpleNamespace(RayError=error, **{name: type(name, (error,), {}) for name in names})

    def get(_):
        raise getattr(exceptions, kind)("see\nthe logs")

    ray = types.SimpleNamespace(
        exceptions=exceptions,
        init=lambda **_: None,
        remote=lambda **_: lambda _: types.SimpleNamespace(remote=lambda run, task, folder: str(task)),
        wait=lambda waiting, num_returns: (waiting[:num_returns], waiting[num_returns:]),
        get=get,
        shutdown=lambda: None,
    )
    monkeypatch.setitem(sys.modules, "ray", ray)
    outcomes = [*execute(record, TASKS[:2], "ray")]
    assert [task for task, _ in outcomes] == TASKS[:2]
    assert all(str(error).startswith(message) and "\n" not in str(error) for _, error in outcomes)


@pytest.mark.every
@pytest.mark.parametrize("folder", ["there", "absent"])
def test_a_task_of_a_cluster_has_the_folder_of_the_command_where_there_is_one(tmp_path, monkeypatch, folder):
    (tmp_path / "there").mkdir()
    monkeypatch.chdir(tmp_path)
    found = []
    _outcome_in_folder(lambda: found.append(Path.cwd().name), (), str(tmp_path / folder))
    assert found == [folder if folder == "there" else tmp_path.name]


@pytest.mark.parametrize("address", ["127.0.0.1:1", "ray://127.0.0.1:1", "[::1]:1", "127.0.0.1:99999"])
def test_an_unreachable_cluster_is_reported_in_one_line(address):
    needs_ray()
    started = time.monotonic()
    with pytest.raises(UserError, match=f"ray_address: no cluster reached at {re.escape(repr(address))}") as caught:
        list(execute(record, TASKS, "ray", ray_address=address))
    assert "\n" not in str(caught.value)
    assert time.monotonic() - started < 30
