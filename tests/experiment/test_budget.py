"""Budget curves and the lists that a surrogate needs."""

import itertools
import math

import numpy as np
import pytest
from experiment.synthetic import cell, experiment_of

from recbole_gro.experiment.budget import budget_blocks, curves, in_lists, needed, over_seeds, picture
from recbole_gro.experiment.summary import Setting, gather
from recbole_gro.utils.errors import UserError

BUDGETS = (10, 100, 1000)


def setting(sequences, quality, defense="none", attacker="standard", seeds=(1, 2, 3)):
    """Return a setting whose surrogates find the test item first for a share of the users, the target always."""
    cells = []
    for seed in seeds:
        made = cell({"query_sequences": sequences, "defense": defense, "attacker": attacker}, seed, users=100)
        made.target_ranks = np.ones(100, dtype=int)
        made.surrogate_ranks = (np.arange(100) < 100 * quality).astype(int)
        made.facts["lists_returned"] = 50 * sequences
        cells.append(made)
    return Setting(cells[0].values, cells)


def test_interval_over_seeds_is_that_of_the_logarithms():
    interval = over_seeds([100.0, 10_000.0])
    assert interval.value == pytest.approx(1000)
    # two seeds: t with one degree of freedom, 12.7, times the standard error ln(10)
    assert math.log(interval.high / interval.value) == pytest.approx(12.706 * math.log(10), rel=1e-3)
    assert math.log(interval.value / interval.low) == pytest.approx(12.706 * math.log(10), rel=1e-3)
    assert math.isnan(over_seeds([100.0]).low)


@pytest.mark.parametrize(
    ("per_seed", "expected"),
    [
        ([132.0, math.inf], "> 291 (1 of 2 seeds > 640)"),
        ([40.0, 222.0], "<= 94 (1 of 2 seeds <= 40)"),
        ([40.0, 222.0, math.inf], "1 of 3 seeds <= 40, 1 of 3 seeds > 640"),
        ([math.inf, math.inf], "> 640"),
        ([40.0, 40.0], "<= 40"),
        ([100.0], "100"),
        ([], ""),
    ],
)
def test_seeds_beyond_the_budgets_give_a_bound(per_seed, expected):
    assert in_lists(per_seed, 40, 640) == expected


def test_curves_have_one_line_per_defense_and_attack_in_the_order_of_budgets():
    settings = [
        setting(n, 0.1, defense, attacker)
        for n in reversed(BUDGETS)
        for defense in ("none", "gro")
        for attacker in ("standard", "rounds")
    ]
    found = curves(settings)
    assert set(found) == {(d, a) for d in ("none", "gro") for a in ("standard", "rounds")}
    assert all([one.values["query_sequences"] for one in own] == list(BUDGETS) for own in found.values())
    axes = picture(found, 10).axes
    assert [len(panel.containers) for panel in axes] == [4, 4]
    assert axes[0].get_xscale() == "log"


def test_lists_for_a_share_of_the_target():
    own = [setting(n, share) for n, share in zip(BUDGETS, (0.2, 0.4, 0.6), strict=True)]
    assert needed(own, 0.5, 10) == pytest.approx([500 * 10**1.5] * 3, rel=1e-6)
    table, image = budget_blocks(own, 10)
    assert table.rows == [["none", "standard", "15,811 [15,811, 15,811]", "> 50,000", "> 50,000", "3"]]
    assert image.png.startswith(b"\x89PNG")


def test_seeds_are_those_that_have_all_budgets():
    own = [setting(10, 0.2, seeds=(1, 2)), setting(100, 0.4), setting(1000, 0.6, seeds=(2, 3))]
    table, _ = budget_blocks(own, 10)
    assert table.rows == [["none", "standard", "15,811", "> 50,000", "> 50,000", "1"]]


def test_a_seed_whose_target_has_no_hit_has_no_number():
    own = [setting(n, share) for n, share in zip(BUDGETS, (0.2, 0.4, 0.6), strict=True)]
    for of_budget in own:
        of_budget.cells[1].target_ranks = np.zeros(100, dtype=int)
    assert needed(own, 0.5, 10) == pytest.approx([500 * 10**1.5] * 2, rel=1e-6)
    left, right = picture(curves(own), 10).axes
    assert left.get_xscale() == right.get_xscale() == "log"
    line = left.containers[0].lines[0]
    assert line.get_ydata() == pytest.approx([0.2, 0.4, 0.6])


def test_a_curve_without_a_finite_number_leaves_its_axis_empty():
    own = [setting(n, 0.5) for n in BUDGETS]
    for of_seed in (each for of_budget in own for each in of_budget.cells):
        of_seed.agreement = {10: math.nan}
    left, right = picture(curves(own), 10).axes
    assert (len(left.containers), len(right.containers)) == (1, 0)
    assert len([*budget_blocks(own, 10)]) == 2


def test_the_report_of_a_budget_experiment_needs_its_key(tmp_path):
    from recbole_gro.experiment.plan import read_experiment

    own = tmp_path / "own.yaml"
    own.write_text("title: T\nfigure: budget\nvary: {defense: [none]}\nseeds: [1]\nfixed: {model: BERT4Rec}\n")
    with pytest.raises(UserError, match="figure budget needs query_sequences"):
        read_experiment(str(own))


def test_the_packaged_experiment_has_logarithmic_budgets():
    from recbole_gro.experiment.plan import read_experiment

    plan = read_experiment("budget")
    assert [50 * n for n in plan.vary["query_sequences"]] == [100, 250, 500, 1500, 5000, 15_000, 50_000, 150_000]
    plan = experiment_of({"query_sequences": [10, 100]}, figure="budget")
    cells = [cell({"query_sequences": n}, 1) for n in (10, 100)]
    assert len(gather(plan, cells)) == 2


def test_a_target_without_a_hit_has_no_share_and_lists_below_ten_have_their_own_agreement():
    settings = [setting(n, 0.5) for n in BUDGETS]
    for of_budget in settings:
        for of_seed in of_budget.cells:
            of_seed.target_ranks = np.zeros(100, dtype=int)
            of_seed.agreement = {1: 0.5}
    assert needed(settings, 0.5, 5) == []
    table, image = budget_blocks(settings, 5)
    assert table.rows == [["none", "standard", "", "", "", "0"]]
    assert image.png.startswith(b"\x89PNG")
    assert picture(curves(settings), 5).axes[1].get_ylabel() == "agreement@1"


def test_a_curve_without_the_cells_of_a_budget_of_the_plan_has_no_number_of_lists():
    """Else the share is interpolated over a gap, or a bound is that of another budget."""
    grid = [setting(budget, share, attack) for attack in ("none", "gro")
            for budget, share in zip(BUDGETS, (0.3, 0.6, 0.9), strict=True)]  # fmt: skip
    planned = [one.values for one in grid]
    note, table, _ = budget_blocks([one for one in grid if one.values != planned[1]], 10, planned)
    assert note.text.endswith("(query_sequences): none, standard: 100.")
    rows = {row[0]: row[2:] for row in table.rows}
    assert rows["none"] == ["", "", "", "0"]
    assert [*rows["gro"]][-1] == "3"
    assert all(rows["gro"])
    table, _ = budget_blocks(grid, 10, planned)
    assert {row[-1] for row in table.rows} == {"3"}


def test_close_budgets_have_labels_that_do_not_run_into_one_another():
    own = [setting(n, 0.5) for n in (5, 10, 30, 100, 101)]
    for panel in picture(curves(own), 10).axes:
        panel.figure.draw_without_rendering()
        labels = [label for label in panel.get_xticklabels(which="both") if label.get_text()]
        assert [label.get_text() for label in labels] == ["250", "500", "1.5k", "5k"]
        ends = [label.get_window_extent() for label in labels]
        assert all(left.x1 < right.x0 for left, right in itertools.pairwise(ends))
