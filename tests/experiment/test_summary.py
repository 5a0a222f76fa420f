from dataclasses import replace

import numpy as np
import pytest
from experiment.synthetic import cell, experiment_of, grid

from recbole_gro.evaluator.ranks import ndcg
from recbole_gro.experiment.statistics import paired_p, sign_test
from recbole_gro.experiment.summary import BOTH, agreement_k, comparisons, gather, headline_k

DEFENSES = ["none", "random", "gro"]


def test_settings_come_in_the_order_of_the_experiment():
    plan = experiment_of({"gro_lambda": [1.0, 0.1], "defense": ["none", "gro"]})
    settings = gather(plan, grid(plan)[::-1][:-2])
    assert [str(setting) for setting in settings] == [
        "gro_lambda 1.0, defense none",
        "gro_lambda 1.0, defense gro",
        "gro_lambda 0.1, defense none",
        "gro_lambda 0.1, defense gro",
    ]
    assert [setting.seeds for setting in settings] == [[3], [1, 2, 3], [1, 2, 3], [1, 2, 3]]


def test_cells_of_another_experiment_are_refused():
    plan = experiment_of({"defense": DEFENSES})
    cells = grid(plan)
    with pytest.raises(ValueError, match="two cells of seed 1"):
        gather(plan, [*cells, cells[0]])
    with pytest.raises(ValueError, match="experiment synthetic has no setting"):
        gather(plan, [cell({"defense": "reverse"}, 1)])
    (mixed,) = gather(plan, [cells[0], cell({"defense": "none"}, 2, users=7)])
    with pytest.raises(ValueError, match="differ in their test users"):
        mixed.spread("hit", "target", 10)


@pytest.mark.parametrize(("served_k", "k", "agreement"), [(100, 10, 10), (10, 10, 10), (5, 5, 1)])
def test_the_cut_off_of_tables_is_ten_or_the_length_of_the_lists(served_k, k, agreement):
    plan = experiment_of({"defense": DEFENSES})
    settings = gather(plan, grid(plan, served_k=served_k))
    assert headline_k(settings) == k
    assert agreement_k(settings, k) == agreement
    settings[0].cells[0].agreement.clear()
    assert agreement_k(settings, k) is None


def test_the_interval_of_the_ratio_covers_its_true_value():
    plan = experiment_of({"defense": ["none"]}, seeds=[1, 2])
    draw = np.random.default_rng(0)
    cells = grid(plan, users=4000)
    for one in cells:
        one.target_ranks = np.where(draw.random(4000) < 0.6, draw.integers(1, 11, 4000), 0)
        one.surrogate_ranks = np.where(draw.random(4000) < 0.5, one.target_ranks, 0)
    (setting,) = gather(plan, cells)
    ratio = setting.ratio(10)
    assert ratio.low < 0.5 < ratio.high
    assert ratio.high - ratio.low < 0.1


def test_a_comparison_uses_the_seeds_of_both_settings():
    plan = experiment_of({"defense": DEFENSES, "query_sequences": [100, 300]})
    cells = [
        one for one in grid(plan) if not (one.values == {"defense": "gro", "query_sequences": 300} and one.seed == 2)
    ]
    settings = gather(plan, cells)
    compared = comparisons(settings, plan.against, 10)
    assert len(compared) == 2 * 2 * 3
    *_, last, beyond = compared
    assert last.side == "surrogate"
    assert last.setting.seeds == [1, 3]
    none = next(setting for setting in settings if setting.values == {"defense": "none", "query_sequences": 300})
    both = [
        np.stack([ndcg(one.surrogate_ranks, 10) for one in of.cells if one.seed != 2]) for of in (settings[-1], none)
    ]
    assert last.p_values["ndcg"] == pytest.approx(paired_p(*both))
    assert last.differences["ndcg"].value == pytest.approx((both[0] - both[1]).mean())
    assert last.ratios["ndcg"].value == pytest.approx(both[0].mean() / both[1].mean())
    kept = compared[-3].ratios["ndcg"].value
    assert (compared[-3].side, beyond.side) == ("target", BOTH)
    assert beyond.ratios["ndcg"].value == pytest.approx(last.ratios["ndcg"].value / kept)


def test_every_arm_is_compared_with_the_baselines_and_these_with_those_before_them():
    plan = experiment_of(
        {"arm": {name: {} for name in "abcd"}, "adversary": {"x": {}, "y": {}}}, against={"arm": ["a", "c"]}
    )
    compared = comparisons(gather(plan, grid(plan, users=50)), plan.against, 10)
    pairs = [(one.setting.values["arm"], one.baseline, one.setting.values["adversary"]) for one in compared]
    assert pairs[::3] == pairs[1::3] == pairs[2::3] == [
        (arm, baseline, adversary)
        for arm, baselines in {"b": "ac", "c": "a", "d": "ac"}.items()
        for adversary in "xy"
        for baseline in baselines
    ]  # fmt: skip
    assert [one.side for one in compared[:3]] == ["target", "surrogate", BOTH]


def test_settings_with_other_test_rows_are_not_compared():
    plan = experiment_of({"defense": ["none", "gro"], "dataset": ["a", "b", "c"]}, against={"dataset": ["a"]})
    cells = [
        replace(one, test_rows={"a": "1", "b": "2", "c": "1"}[one.values["dataset"]]) for one in grid(plan, users=50)
    ]
    compared = comparisons(gather(plan, cells), plan.against, 10)
    assert {one.setting.values["dataset"] for one in compared} == {"c"}
    fewer = [one if one.values["dataset"] == "a" else cell(one.values, one.seed, users=49) for one in cells]
    assert comparisons(gather(plan, fewer), plan.against, 10) == []


def test_a_users_test_items_count_together():
    plan = experiment_of({"defense": ["none"]}, seeds=[1])
    [one] = grid(plan, users=3)
    one = replace(one, target_ranks=np.array([1, 0, 3]), row_users=np.array([7, 3, 7]), test_rows="rows")
    [setting] = gather(plan, [one])
    assert (setting.users, setting.rows) == (2, 3)
    assert setting.measured("ndcg", "target", 10).tolist() == [[0.0, 1.0]]  # 3 has 0, 7 has (1 + 0.5) 2 / 3
    assert setting.spread("ndcg", "target", 10).mean == 0.5


def test_hits_of_several_test_rows_per_user_are_tested_by_their_mean():
    """Equal means of rows, where most users gain and few with many rows lose: no difference of what the tables show."""
    plan = experiment_of({"defense": ["none", "gro"]}, seeds=[1])
    owners = np.concatenate([np.arange(400), np.repeat(np.arange(400, 420), 40)])
    alone = owners < 400
    draw = np.random.default_rng(2)
    rejected, by_sign = [], []
    for _ in range(40):
        cells = []
        for one, chances in zip(grid(plan, users=len(owners)), ((0.2, 0.3), (0.3, 0.25)), strict=True):
            hit = draw.random(len(owners)) < np.where(alone, *chances)
            cells.append(replace(one, target_ranks=hit.astype(int), row_users=owners, test_rows="rows"))
        [compared] = [one for one in comparisons(gather(plan, cells), plan.against, 10) if one.side == "target"]
        rejected.append(compared.p_values["hit"] < 0.05)
        values, others = (setting.measured("hit", "target", 10)[0] for setting in gather(plan, cells))
        by_sign.append(sign_test(values, others) < 0.05)
    assert np.mean(rejected) < 0.2
    assert np.mean(by_sign) > 0.5
