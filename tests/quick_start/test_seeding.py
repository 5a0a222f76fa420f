"""Seeds of stages, and their log lines."""

import time

import torch

from recbole_gro.quick_start.seeding import on_test, start_stage, timed
from recbole_gro.utils.random_state import generators_of, global_state_kept

CONFIG = {"seed": 7, "reproducibility": True}


@global_state_kept()
def draw(stage, seed=7, train=None):
    start_stage({**CONFIG, "seed": seed}, stage, train)
    return torch.rand(3).tolist()


def test_a_stage_draws_the_same_whatever_ran_before():
    first = draw("target")
    torch.rand(5)
    assert draw("target") == first
    assert first not in (draw("surrogate"), draw("target", seed=8))


def test_a_stage_starts_the_loaders_draws_anew(make_loaders):
    _, train, *_ = make_loaders("BERT4Rec")
    draw("target", train=train)
    before = [batch["Mask_item_id_list"] for batch in train]
    draw("target", train=train)
    assert all(torch.equal(a, b["Mask_item_id_list"]) for a, b in zip(before, train, strict=True))
    assert set(generators_of(train)) == {"order", "windows", "masks"}


def test_a_line_shows_each_metric_in_its_unit():
    line = on_test({"valid": {}, "test": {"hit@10": 0.2091, "averagepopularity@10": 28.45}})
    assert line == "HR@10 20.91 %, averagepopularity@10 28.45 interactions"


def test_the_time_of_a_block_is_noted(monkeypatch):
    seconds, clock = {}, iter([1.0, 3.456])
    monkeypatch.setattr(time, "perf_counter", lambda: next(clock))
    with timed(seconds, "target"):
        assert seconds == {}
    assert seconds == {"target": 2.46}
