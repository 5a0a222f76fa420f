from types import SimpleNamespace

import pytest
import torch
from defense.cases import DefenseCases
from pipeline import untrained

from recbole_gro.config.models import copied_model
from recbole_gro.defense import MisinformationTrainer
from recbole_gro.defense.misinformation import KINDS, query_sequences

ITEMS = 30


class TestMisinformation(DefenseCases):
    name = "misinformation"


class TestMisinformationOnNARM(TestMisinformation):
    target = "NARM"


@pytest.fixture
def make_trainer(make_loaders, tmp_path):
    def make(model="BERT4Rec", **settings):
        config, train, *_ = make_loaders(model, output_dir=str(tmp_path), served_k=10, **settings)
        target = untrained(config, train)
        return MisinformationTrainer(config, copied_model(target), target), train

    return make


def test_sequences_leave_the_lists_as_often_as_their_kind_says():
    # every list is 1 .. 4 of 1000 items
    lists = SimpleNamespace(n_items=1001, k=4, recommend=lambda queried: torch.arange(1, 5).expand(len(queried), 4))
    sequences = query_sequences(lists, 800, 21, torch.Generator().manual_seed(1))
    assert sequences.shape == (800, 21)
    next_items = sequences[:, 1:].unflatten(0, (-1, len(KINDS)))
    outside = (next_items > 4).float().mean((0, 2))
    assert torch.allclose(outside, KINDS[:, 0] * 0.996, atol=0.03)
    # rank 1 has 1 of 4 without a decay, 12 of 25 with the decay 1
    first = (next_items == 1).float().mean((0, 2)) / (1 - outside)
    assert torch.allclose(first[:6], torch.where(KINDS[:6, 1] == 0, 0.25, 0.48), atol=0.03)


def test_wrong_scores_are_the_right_ones_rotated(make_trainer):
    trainer, _ = make_trainer()
    scores = torch.randn(40, ITEMS + 1)
    right, wrong = scores[:, 1:] - trainer.mean, trainer.wrong(scores)[:, 1:]
    # 30 directions are all there are, so lengths and angles stay
    assert torch.allclose(wrong @ wrong.T, right @ right.T, atol=1e-3)
    assert torch.nn.functional.cosine_similarity(wrong, right).abs().mean() < 0.3


def test_another_seed_is_another_rotation(make_trainer):
    one, same, other = (make_trainer(seed=seed)[0].rotation for seed in (7, 7, 8))
    assert torch.equal(one, same)
    assert not torch.allclose(one, other, atol=0.1)


@pytest.mark.parametrize("model", ["BERT4Rec", "NARM"])
def test_training_starts_with_right_lists_everywhere_and_ends_with_wrong_ones_for_queries(make_trainer, model):
    trainer, train = make_trainer(model, gro_steps=60, learning_rate=0.01)
    batch = next(iter(train))
    for_users, for_queries = trainer.stage_loss(batch)
    assert for_users.item() == pytest.approx(0, abs=1e-5)
    trainer.fit(train, saved=False)
    assert trainer.stage_loss(batch)[1] < for_queries / 2
    assert trainer.optimizer.param_groups[0]["lr"] == 0


@pytest.mark.parametrize(("given", "steps"), [({}, 1520), ({"gro_steps": 7}, 7)])
def test_it_takes_as_many_steps_as_gro_steps_says_in_whole_epochs(make_trainer, given, steps):
    trainer, _ = make_trainer(**given)
    assert trainer.steps == steps


def test_scores_of_the_converged_target_get_no_gradient(make_trainer):
    trainer, train = make_trainer()
    sum(trainer.stage_loss(next(iter(train)))).backward()
    assert all(weights.grad is None for weights in trainer.converged.model.parameters())
    assert all(weights.grad is not None for name, weights in trainer.model.named_parameters() if "embedding" in name)
