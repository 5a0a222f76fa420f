"""Cells here, in processes and on Ray."""

import builtins
import functools
import os

import pytest

from recbole_gro import UserError
from recbole_gro.experiment.executor import execute, imported_ray


def note(folder, values, seed):
    """Leave a file that says who ran the task; some tasks fail."""
    if values["x"] == "bad":
        raise UserError("x: 'bad' is not good")
    if values["x"] == "broken":
        raise ZeroDivisionError("in the\nmiddle")
    (folder / f"{values['x']}-{seed}").write_text(str(os.getpid()))


TASKS = [({"x": x}, seed) for x in ("a", "bad", "broken", "b") for seed in (1, 2)]


class ExecutorCases:
    """What holds wherever cells run; a subclass says where."""

    where: dict

    @pytest.fixture
    def outcomes(self, tmp_path):
        return dict(
            ((values["x"], seed), error)
            for (values, seed), error in execute(functools.partial(note, tmp_path), TASKS, **self.where)
        )

    def test_every_task_is_run_and_failures_are_told(self, outcomes, tmp_path):
        assert set(outcomes) == {(values["x"], seed) for values, seed in TASKS}
        assert sorted(file.name for file in tmp_path.iterdir()) == ["a-1", "a-2", "b-1", "b-2"]
        for seed in (1, 2):
            assert outcomes["a", seed] is None
            assert str(outcomes["bad", seed]) == "x: 'bad' is not good"
            assert str(outcomes["broken", seed]) == "ZeroDivisionError: in the middle"


class TestHere(ExecutorCases):
    where = {"workers": 1}

    def test_this_process_does_it(self, outcomes, tmp_path):
        assert {int(file.read_text()) for file in tmp_path.iterdir()} == {os.getpid()}


class TestInProcesses(ExecutorCases):
    where = {"workers": 2}

    def test_other_processes_do_it(self, outcomes, tmp_path):
        assert os.getpid() not in {int(file.read_text()) for file in tmp_path.iterdir()}


@pytest.mark.every
class TestOnRay(ExecutorCases):
    """On a cluster of two workers, started here and joined by its address."""

    where = {"executor": "ray", "ray_address": "auto"}

    @pytest.fixture(autouse=True, scope="class")
    def cluster(self):
        imported_ray()
        from ray.cluster_utils import Cluster

        cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False})
        cluster.add_node(num_cpus=1)
        cluster.wait_for_nodes()
        os.environ["RAY_ADDRESS"] = cluster.address
        yield
        os.environ.pop("RAY_ADDRESS")
        cluster.shutdown()

    def test_both_workers_do_it(self, outcomes, tmp_path):
        assert os.getpid() not in {int(file.read_text()) for file in tmp_path.iterdir()}


def test_unknown_executors_are_refused():
    with pytest.raises(UserError, match="executor: 'slurm' is not one of local, ray"):
        execute(note, [], "slurm")


def test_a_missing_ray_is_a_line(monkeypatch):
    original = builtins.__import__

    def without_ray(name, *args, **kwargs):
        if name == "ray":
            raise ImportError("No module named 'ray'")
        return original(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", without_ray)
    with pytest.raises(
        UserError, match=r"executor: ray cannot be imported \(No module named 'ray'\); recbole installs"
    ):
        list(execute(note, TASKS, "ray"))


@pytest.mark.every
def test_a_cluster_that_is_not_there_is_a_line():
    with pytest.raises(UserError, match=r"ray_address: no cluster reached at '127\.0\.0\.1:1'") as caught:
        list(execute(note, TASKS, "ray", ray_address="127.0.0.1:1"))
    assert "\n" not in str(caught.value)
