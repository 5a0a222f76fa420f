import pytest
import torch
from recbole.evaluator import register
from recbole.evaluator.base_metric import TopkMetric
from recbole.evaluator.collector import DataStruct

from recbole_gro.config.plugins import imported_module
from recbole_gro.utils.errors import UserError
from recbole_gro.utils.metric_result import CheckedEvaluator, checked_result


def test_values_are_floats_by_the_names_that_recbole_gives():
    assert checked_result({"hit@5": 1, "hit@10": "0.5", "auc": 0.25}, ["Hit", "AUC"], [5, 10]) == {
        "hit@5": 1.0, "hit@10": 0.5, "auc": 0.25,
    }  # fmt: skip
    assert checked_result({"agreement@10": 0.5}, ["Agreement@10"], [5]) == {"agreement@10": 0.5}


@pytest.mark.parametrize("result", [{"my_hits@5": 0.5}, {"myhit@10": 0.5}, {"hit@5": 0.5}])
def test_another_name_than_the_registered_one_is_refused(result):
    with pytest.raises(UserError, match=r"^metrics: MyHit gives no value named myhit@5, .* it is one of \w+@\d+$"):
        checked_result(result, ["MyHit"], [5])


@pytest.mark.parametrize("value", [float("nan"), float("inf"), None, "many"])
def test_a_value_that_is_no_finite_number_is_refused(value):
    with pytest.raises(UserError, match=r"^metrics: hit@5 gives .*; a metric gives a finite number per key"):
        checked_result({"hit@5": value}, ["Hit"], [5])


@pytest.fixture
def evaluated(monkeypatch):
    """The result of the metrics `own` and `another`, which return these."""

    def evaluate(*returned):
        names = ["own", "another"][: len(returned)]
        for name, values in zip(names, returned, strict=True):
            methods = {"__init__": lambda self, config: None, "calculate_metric": lambda self, _, made=values: made}
            monkeypatch.setitem(register.metrics_dict, name, type(name.title(), (), methods))
        return CheckedEvaluator({"metrics": names}).evaluate(DataStruct())

    return evaluate


def test_values_of_all_metrics_are_in_their_order(evaluated):
    assert list(evaluated({"own@5": 1, "own@10": 2}, {"another@5": 3}).items()) == [
        ("own@5", 1), ("own@10", 2), ("another@5", 3),
    ]  # fmt: skip
    assert evaluated({"own@5": 1}, {"own@5": 1, "another@5": 2}) == {"own@5": 1, "another@5": 2}


@pytest.mark.parametrize("returned", [None, 0.5, [0.5], {5: 0.5}])
def test_a_metric_that_returns_no_values_by_name_is_named(evaluated, returned):
    line = (
        rf"^metrics: calculate_metric of Own \(own\) returned {type(returned).__name__}; a dict of numbers by name is"
    )
    with pytest.raises(UserError, match=line):
        evaluated(returned)


def test_a_metric_with_the_values_of_another_is_refused(evaluated):
    with pytest.raises(UserError, match=r"^metrics: another gives another own@5 than own; name it"):
        evaluated({"own@5": 1}, {"own@5": 2})


def test_values_that_two_metrics_share_may_change_from_evaluation_to_evaluation(monkeypatch):
    values = iter([1, 1, 2, 2])
    for name in ("own", "another"):
        methods = {"__init__": lambda *_: None, "calculate_metric": lambda *_: {"own@5": next(values)}}
        monkeypatch.setitem(register.metrics_dict, name, type(name.title(), (), methods))
    evaluator = CheckedEvaluator({"metrics": ["own", "another"]})
    assert [evaluator.evaluate(DataStruct()) for _ in range(2)] == [{"own@5": 1}, {"own@5": 2}]


class Spoiling(TopkMetric):
    """Writes into what it reads."""

    def calculate_metric(self, dataobject):
        dataobject.get("rec.topk")[:] = 1
        dataobject["rec.topk"] += 1
        return {"spoiling@1": int(dataobject.get("rec.topk").min())}


def test_a_metric_of_ones_own_changes_no_value_that_others_read(monkeypatch):
    monkeypatch.setitem(register.metrics_dict, "spoiling", Spoiling)
    collected = DataStruct()
    collected.set("rec.topk", torch.tensor([[0, 1, 1], [0, 0, 1]]))
    config = {"topk": [1, 2], "metric_decimal_place": 4}
    for metrics in (["spoiling", "Hit"], ["Hit", "spoiling"]):
        result = CheckedEvaluator({**config, "metrics": metrics}).evaluate(collected)
        assert result == {"spoiling@1": 2, "hit@1": 0.0, "hit@2": 0.5}
    assert collected.get("rec.topk").tolist() == [[0, 1, 1], [0, 0, 1]]


@pytest.mark.parametrize("fails", ["__init__", "calculate_metric"])
def test_a_metric_of_ones_own_that_raises_is_named(monkeypatch, tmp_path, fails):
    monkeypatch.chdir(tmp_path)
    (tmp_path / f"failing{fails}.py").write_text(
        f"class Own:\n    def __init__(self, config): pass\n    def {fails}(self, given): return {{}}['gone']\n"
    )
    monkeypatch.setitem(register.metrics_dict, "own", imported_module(f"failing{fails}", "plugins").Own)
    with pytest.raises(UserError, match=rf"^metric own: KeyError: 'gone' \(.*, line 3, in Own.{fails}\)$"):
        CheckedEvaluator({"metrics": ["own"]}).evaluate(DataStruct())
