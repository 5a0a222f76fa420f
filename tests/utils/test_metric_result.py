import pytest

from recbole_gro.utils.errors import UserError
from recbole_gro.utils.metric_result import checked_result


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
