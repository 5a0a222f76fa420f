"""A loss whose scores wait: read by cross-entropy in blocks, and by anything else as without blocks."""

from unittest import mock

import pytest
import torch
from recbole.model.sequential_recommender import SASRec
from torch import nn
from torch.nn import functional

from recbole_gro import create_scorer
from recbole_gro.scoring import loss_in_blocks, score_blocks
from recbole_gro.scoring.loss_in_blocks import LossInBlocks
from recbole_gro.utils.patching import replaced

N, M, H = 7, 30, 5


@pytest.fixture(autouse=True)
def small_blocks():
    with replaced(score_blocks, "LARGE", 1), replaced(score_blocks, "AT_ONCE", 3):
        yield


@pytest.fixture
def in_blocks():
    """Count the losses that are computed in blocks."""
    ours = loss_in_blocks.cross_entropy_in_blocks
    with mock.patch.object(loss_in_blocks, "cross_entropy_in_blocks", side_effect=ours) as counted:
        yield counted


def leaves():
    draws = torch.Generator().manual_seed(1)
    return [torch.randn(size, generator=draws, requires_grad=True) for size in ((N, H), (M, H), (M,))]


POSITIVES = torch.randint(1, M, (N,), generator=torch.Generator().manual_seed(2))

PLAIN = {
    "matmul": lambda o, w, b: nn.CrossEntropyLoss()(torch.matmul(o, w.transpose(0, 1)), POSITIVES),
    "linear": lambda o, w, b: functional.cross_entropy(functional.linear(o, w, b), POSITIVES),
    "half of two": lambda o, w, b: 0.5 * functional.cross_entropy(o @ w.t(), POSITIVES) + o.square().sum(),
    "by name": lambda o, w, b: functional.cross_entropy(input=o @ w.t(), target=POSITIVES),
}
OTHERS = {
    "temperature": lambda o, w, b: functional.cross_entropy(o @ w.t() / 0.1, POSITIVES),
    "a bias of its own": lambda o, w, b: functional.cross_entropy(o @ w.t() + b, POSITIVES),
    "smoothing": lambda o, w, b: functional.cross_entropy(o @ w.t(), POSITIVES, label_smoothing=0.1),
    "weights": lambda o, w, b: functional.cross_entropy(o @ w.t(), POSITIVES, weight=b.detach().abs()),
    "a loss per row": lambda o, w, b: functional.cross_entropy(o @ w.t(), POSITIVES, reduction="none").square().sum(),
    "shares": lambda o, w, b: functional.cross_entropy(o @ w.t(), functional.one_hot(POSITIVES, M).float()),
    "left out": lambda o, w, b: functional.cross_entropy(o @ w.t(), torch.where(POSITIVES > 9, POSITIVES, -100)),
    "gathered": lambda o, w, b: (o @ w.t()).gather(1, POSITIVES.unsqueeze(1)).sin().sum(),
    "in a list": lambda o, w, b: torch.cat([o @ w.t(), functional.linear(o, w, b)]).sin().sum(),
    "a method": lambda o, w, b: (o @ w.t()).softmax(1).square().sum(),
}


def value_and_gradients(loss_of, block):
    parts = leaves()
    with block:
        loss = loss_of(*parts)
    found = torch.autograd.grad(loss, parts, allow_unused=True)
    return [loss.detach(), *(torch.zeros(()) if part is None else part for part in found)]


@pytest.mark.parametrize("name", [*PLAIN, *OTHERS])
def test_loss_and_gradients_are_those_without_blocks(name, in_blocks):
    loss_of = (PLAIN | OTHERS)[name]
    expected = value_and_gradients(loss_of, replaced(score_blocks, "AT_ONCE", 3))
    found = value_and_gradients(loss_of, LossInBlocks(M))
    assert all(torch.allclose(one, other, atol=1e-5) for one, other in zip(found, expected, strict=True))
    assert in_blocks.called == (name in PLAIN)


def test_a_loss_may_read_its_scores_twice(in_blocks):
    def twice(outputs, weights, bias):
        scores = outputs @ weights.t()
        return functional.cross_entropy(scores, POSITIVES) + scores.sin().sum()

    expected = value_and_gradients(twice, replaced(score_blocks, "AT_ONCE", 3))
    found = value_and_gradients(twice, LossInBlocks(M))
    assert all(torch.allclose(one, other, atol=1e-5) for one, other in zip(found, expected, strict=True))


def test_scores_that_the_loss_wrote_to_are_read_as_it_left_them(in_blocks):
    def colder(outputs, weights, bias):
        scores = outputs @ weights.t()
        scores[:, 0] = -1e4
        return functional.cross_entropy(scores.div_(0.1), POSITIVES)

    expected = value_and_gradients(colder, replaced(score_blocks, "AT_ONCE", 3))
    found = value_and_gradients(colder, LossInBlocks(M))
    assert all(torch.allclose(one, other, atol=1e-5) for one, other in zip(found, expected, strict=True))
    assert not in_blocks.called


def test_a_product_without_gradient_has_none():
    def taught(outputs, weights, bias):
        with torch.no_grad():
            teacher = outputs @ weights.t()
        return (teacher.softmax(1) * (outputs @ weights.t())).sum()

    expected = value_and_gradients(taught, replaced(score_blocks, "AT_ONCE", 3))
    found = value_and_gradients(taught, LossInBlocks(M))
    assert all(torch.allclose(one, other, atol=1e-5) for one, other in zip(found, expected, strict=True))


def test_products_of_other_widths_are_computed_at_once():
    outputs, weights, _ = leaves()
    with LossInBlocks(M + 1):
        assert (outputs @ weights.t()).stride() == (M, 1)


def test_wrong_positives_fail_as_without_blocks():
    outputs, weights, _ = leaves()
    with pytest.raises(ValueError, match="batch_size"), LossInBlocks(M):
        functional.cross_entropy(outputs @ weights.t(), POSITIVES[:-1])


def test_double_precision_is_not_computed_in_blocks(in_blocks):
    outputs, weights, _ = (leaf.double() for leaf in leaves())
    with LossInBlocks(M):
        functional.cross_entropy(outputs @ weights.t(), POSITIVES)
    assert not in_blocks.called


@pytest.mark.parametrize("model", ["SASRec", "GRU4Rec", "NARM", "BERT4Rec", "STAMP"])
def test_losses_of_recbole_take_blocks(model, make_model, make_loaders, in_blocks):
    train = make_loaders(model)[1]
    counted = mock.patch.object(LossInBlocks, "_table", autospec=True, side_effect=LossInBlocks._table)
    with counted as tables:
        create_scorer(make_model(model)).loss(next(iter(train)))
        assert in_blocks.called
    assert not tables.called  # BERT4Rec reads the number of its scores too


@pytest.mark.parametrize(("setting", "value"), [("LARGE", 10**6), ("AT_ONCE", 3)])
def test_losses_over_small_catalogues_take_no_blocks(setting, value, make_model, make_loaders, in_blocks):
    with replaced(score_blocks, setting, value):
        create_scorer(make_model("SASRec")).loss(next(iter(make_loaders("SASRec")[1])))
    assert in_blocks.called == (setting != "LARGE")


class OwnLoss(nn.Module):
    def forward(self, scores, positives):
        self.scores = scores
        return functional.cross_entropy(scores, positives)


def own_loss(scores, positives):
    return functional.cross_entropy(scores, positives)


@pytest.mark.parametrize("loss", [OwnLoss(), own_loss, torch.jit.script(own_loss)])
def test_a_loss_function_of_a_users_own_reads_all_scores(loss, make_model, make_loaders, in_blocks):
    model = make_model("GRU4Rec")
    del model.loss_fct
    model.loss_fct = loss
    found = create_scorer(model).loss(next(iter(make_loaders("GRU4Rec")[1])))
    assert found.requires_grad
    assert not in_blocks.called


def test_a_loss_of_a_users_own_does_not(make_model, make_loaders, in_blocks):
    class KeepsItsScores(SASRec):
        def calculate_loss(self, interaction):
            self.scores = self.forward(interaction["item_id_list"], interaction["item_length"]) @ (
                self.item_embedding.weight.t()
            )
            return functional.cross_entropy(self.scores, interaction["item_id"])

    model = make_model("SASRec", train_rows="prefixes")
    model.__class__ = KeepsItsScores
    create_scorer(model).loss(next(iter(make_loaders("SASRec", train_rows="prefixes")[1])))
    assert not in_blocks.called
    assert model.scores.std() > 0
