import pytest

from recbole_gro import UserError
from recbole_gro.experiment.detection_names import check_detectors, target_and_attack
from recbole_gro.experiment.plan import Experiment

ARMS = {"real": {"attacker": ["oracle"], "query_length": 10}, "usual": {"query_length": 20}}


def plan_of(vary, **parts):
    return Experiment("own", "T", "detection", vary, [1], **parts)


@pytest.mark.parametrize(
    ("vary", "parts", "expected"),
    [
        ({"model": ["NARM"], "attacker": ["oracle"]}, {}, [("model NARM", "oracle")]),
        ({"model": ["NARM"]}, {"fixed": {"attacker": "oracle"}}, [("model NARM", "oracle")]),
        ({"model": ["NARM"]}, {}, [("model NARM", "standard")]),
        ({"arm": ARMS}, {}, [("arm real", "oracle"), ("arm usual", "standard")]),
        ({"arm": ARMS}, {"fixed": {"attacker": "few_shot+mimic"}}, [("arm real", "oracle"),
                                                                    ("arm usual", "few_shot+mimic")]),
    ],
)  # fmt: skip
def test_an_attack_has_the_name_that_its_cell_has(vary, parts, expected):
    plan = plan_of(vary, **parts)
    assert [target_and_attack(plan, *cell) for cell in plan.cells()] == expected


@pytest.mark.parametrize(
    ("vary", "names"),
    [
        ({"detector": ["coverage", "transitions"]}, "coverage, transitions"),
        ({"detector": [["coverage", "mmd"], ["mmd"]]}, "coverage, mmd"),
        ({"arm": {"one": {"detector": "prada"}, "all": {}}}, "prada, transitions, coverage, mmd"),
    ],
)
def test_detectors_that_differ_between_cells_are_refused(vary, names):
    with pytest.raises(UserError) as caught:
        check_detectors(plan_of(vary))
    assert str(caught.value) == (
        "detector: experiment own varies it, and figure detection compares detectors in each cell; give all cells the "
        f"same under `fixed`, such as detector: [{names}]"
    )


@pytest.mark.parametrize(
    "vary",
    [
        {"detector": ["coverage"]},
        {"arm": {"few": {"detector": "coverage, mmd"}, "many": {"detector": ["mmd", "coverage"]}}},
        {"attacker": ["oracle", "standard"]},
    ],
)
def test_cells_of_the_same_detectors_are_not_refused(vary):
    check_detectors(plan_of(vary))
