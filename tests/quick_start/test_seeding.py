"""Seeds of stages."""

import torch

from recbole_gro.quick_start.seeding import start_stage
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


def test_a_stage_seeds_the_draws_of_the_loader(make_loaders):
    _, train, *_ = make_loaders("BERT4Rec")
    draw("target", train=train)
    before = [batch["Mask_item_id_list"] for batch in train]
    draw("target", train=train)
    assert all(torch.equal(a, b["Mask_item_id_list"]) for a, b in zip(before, train, strict=True))
    assert set(generators_of(train)) == {"order", "windows", "masks"}
