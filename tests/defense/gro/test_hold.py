import copy

import pytest
import torch
from defense.gro.cases import KeepsStudent, with_student
from pipeline import weights_of
from torch import nn

from recbole_gro import DecoyGROTrainer, GROTrainer, create_scorer
from recbole_gro.defense.gro import hold
from recbole_gro.objective.extensions import hold_loss


@pytest.mark.parametrize("model", ["BERT4Rec", "NARM"])
def test_hold_measures_the_distance_from_the_converged_target(make_trainer, monkeypatch, model):
    seen = []
    monkeypatch.setattr(hold, "hold_loss", lambda *args: seen.append(args) or hold_loss(*args))
    trainer, train, _ = make_trainer(model, cls=KeepsStudent, gro_target_loss="hold", gro_epochs=1)
    converged = create_scorer(copy.deepcopy(trainer.model).eval())
    trainer.fit_gro(train)
    first_own, first_converged, left_out = seen[0]
    assert torch.allclose(first_own, first_converged, atol=1e-5)  # no dropout on either side
    assert not torch.allclose(seen[-1][0], seen[-1][1], atol=1e-5)
    assert left_out is None
    assert not seen[-1][1].requires_grad
    batch = next(iter(train))
    with_student(trainer, train)
    trainer.callbacks[0].converged = converged
    trainer.stage_loss(batch)
    assert torch.allclose(seen[-1][1], converged.position_scores(batch), atol=1e-6)


def test_hold_keeps_the_target_without_a_swap_loss(make_trainer):
    trainer, train, _ = make_trainer(cls=KeepsStudent, gro_target_loss="hold", gro_lambda=0.0, gro_epochs=2)
    trainer.fit_gro(train)
    for name, values in weights_of(trainer.model).items():
        assert torch.allclose(values, trainer.target_at_start[name], atol=0.02), name
    assert trainer.callbacks[0].converged is None


class RecurrentModel(nn.Module):
    """All layers that act differently in training: dropout inside and outside a GRU, and batch normalization."""

    def __init__(self):
        super().__init__()
        self.gru = nn.GRU(3, 4, num_layers=2, dropout=0.5, batch_first=True)
        self.dropout, self.norm, self.frozen = nn.Dropout(0.5), nn.BatchNorm1d(4), nn.Dropout(0.5).eval()

    def forward(self, inputs):
        return self.frozen(self.norm(self.dropout(self.gru(inputs)[0][:, -1])))


def modes_of(model):
    return [module.training for module in model.modules()], model.gru.dropout


def test_a_recurrent_model_scores_as_it_is_served_and_keeps_a_backward_pass():
    model, inputs = RecurrentModel(), torch.randn(5, 6, 3)
    model.train(), model.frozen.eval()
    before, mean = modes_of(model), model.norm.running_mean.clone()
    with hold.as_served(model):
        scores = model(inputs)
        assert model.gru.training  # required by cuDNN for a backward pass
        assert not any(module.training for module in (model, model.dropout, model.norm, model.frozen))
    assert modes_of(model) == before
    scores.sum().backward()
    assert model.gru.weight_ih_l0.grad.abs().max() > 0
    assert torch.equal(model.norm.running_mean, mean)
    assert torch.equal(scores, copy.deepcopy(model).eval()(inputs))


def test_modes_are_restored_after_an_error():
    model = RecurrentModel()
    before = modes_of(model)
    with pytest.raises(RuntimeError), hold.as_served(model):
        raise RuntimeError
    assert modes_of(model) == before


@pytest.mark.parametrize("cls", [GROTrainer, DecoyGROTrainer])
@pytest.mark.parametrize(("target", "student"), [("NARM", None), ("GRU4Rec", None), ("SASRec", "GRU4Rec")])
def test_no_recurrent_layer_runs_in_eval_mode_before_a_backward_pass(make_trainer, monkeypatch, cls, target, student):
    forward, seen = nn.GRU.forward, set()

    def recorded(self, *args):
        seen.add((self.training, torch.is_grad_enabled()))
        return forward(self, *args)

    monkeypatch.setattr(nn.GRU, "forward", recorded)
    settings = {"gro_target_loss": "hold", "gro_min_quality": 0.5, "gro_head_k": 3}
    trainer, train, valid = make_trainer(target, cls=cls, student_model=student, gro_steps=1, **settings)
    trainer.fit_gro(train, valid)
    assert (True, True) in seen
    assert (False, True) not in seen
