"""What detectors see of attacks."""

import pytest
import torch

from recbole_gro.experiment.detection import area, random_windows, so_far
from recbole_gro.experiment.plan import read_experiment


def test_the_packaged_experiment_has_every_strategy():
    plan = read_experiment("detection")
    strategies = {name.partition("+")[2] for name in plan.vary["attacker"]}
    assert strategies >= {"autoregressive", "random", "coverage", "mixed", "mimic"}
    assert len(plan.cells()) == 72


def test_area_is_the_probability_of_the_right_order():
    draw = torch.Generator().manual_seed(1)
    attack, real = (
        torch.randint(0, 9, (50,), generator=draw).float(),
        torch.randint(0, 7, (40,), generator=draw).float(),
    )
    pairs = attack[:, None] - real[None]
    assert area(attack, real) == pytest.approx(float((pairs > 0).float().mean() + (pairs == 0).float().mean() / 2))


def test_shares_flagged_so_far():
    assert so_far(torch.tensor([1, 3, 3, 0]), 4) == [0.25, 0.25, 0.75, 0.75]


def test_the_users_of_a_window_are_different_where_there_are_as_many():
    generator = torch.Generator().manual_seed(1)
    drawn = random_windows(30, 400, 20, generator).view(400, 20).sort(1).values
    assert bool((drawn[:, 1:] > drawn[:, :-1]).all())
    assert drawn.flatten().bincount(minlength=30).sub(400 * 20 / 30).abs().max() < 60  # 6 deviations or so
    few = random_windows(8, 5, 20, generator).view(5, 20)
    assert all({2, 3} >= {*row.bincount(minlength=8).tolist()} for row in few)
