"""The step of GRO in blocks of positions, against the one that reads tables of all scores."""

import contextlib
from unittest import mock

import pytest
import torch
from defense.gro.cases import KeepsStudent, with_student
from pipeline import same_weights, weights_of
from recbole.model.sequential_recommender import SASRec

from recbole_gro import GROTrainer
from recbole_gro.defense.gro.step_in_blocks import StepInBlocks
from recbole_gro.defense.gro.swap_rules import PaperSwap
from recbole_gro.objective.extraction import BatchPart
from recbole_gro.scoring import score_blocks
from recbole_gro.utils.patching import replaced

BRIEF = {"gro_epochs": 1, "served_k": 3, "topk": [3], "valid_metric": "NDCG@3"}
MODELS = ["BERT4Rec", "NARM", "GRU4Rec", "SASRec"]


@contextlib.contextmanager
def blocks_of(positions):
    """Take blocks of so many positions for any catalogue inside the block."""
    with replaced(score_blocks, "LARGE", 1), replaced(score_blocks, "AT_ONCE", positions):
        yield


def taken():
    """Count the steps that are taken in blocks, inside a block."""
    return mock.patch.object(StepInBlocks, "_terms", autospec=True, side_effect=StepInBlocks._terms)


def trained(make_trainer, model, block, **settings):
    """Return the losses of an epoch, and the weights of target, student and generator after it."""
    trainer, train, _ = make_trainer(model, KeepsStudent, **BRIEF, **settings)
    with block, taken() as blocks:
        torch.manual_seed(4)
        trainer.fit_gro(train)
    losses = torch.tensor([*trainer.train_loss_dict.values()])
    weights = weights_of(trainer.model), weights_of(trainer.student)
    return losses, *weights, trainer.generator.get_state(), blocks.called


@pytest.mark.parametrize("student_model", [None, "NARM", "BERT4Rec"])
@pytest.mark.parametrize("model", MODELS)
def test_an_epoch_is_the_same_but_for_rounding(make_trainer, model, student_model):
    settings = {"learner": "sgd", "student_model": student_model, "gro_lambda": 0.5, "margin_swap": 0.1}
    losses, *ours, drawn, in_blocks = trained(make_trainer, model, blocks_of(3), **settings)
    expected, *theirs, also_drawn, not_in_blocks = trained(make_trainer, model, contextlib.nullcontext(), **settings)
    assert torch.allclose(losses, expected, rtol=1e-4)
    assert torch.equal(drawn, also_drawn)
    for one, other in zip(ours, theirs, strict=True):
        assert all(torch.allclose(one[name], other[name], atol=1e-4) for name in other)
    in_groups = (model, student_model) == ("BERT4Rec", "NARM")  # which reads prefixes of similar lengths together
    assert (in_blocks, not_in_blocks) == (not in_groups, False)


@pytest.mark.parametrize("model", MODELS)
def test_each_term_has_the_gradient_that_it_has_without_blocks(make_trainer, model):
    found = []
    for block in (blocks_of(3), contextlib.nullcontext()):
        trainer, train, _ = make_trainer(model, served_k=3, topk=[3], valid_metric="NDCG@3")
        torch.manual_seed(4)
        trainer, student, batch = with_student(trainer, train)
        parameters = [*trainer.model.parameters(), *student.parameters()]
        with block, taken() as blocks:
            trainer.stage_loss(batch)  # whose probes draw random numbers too
            torch.manual_seed(5)
            trainer.generator.manual_seed(5)
            terms = trainer.stage_loss(batch)
        gradients = [torch.autograd.grad(term, parameters, retain_graph=True, allow_unused=True) for term in terms]
        found.append((torch.stack([*terms]).detach(), gradients, blocks.called))
    (ours, our_gradients, in_blocks), (theirs, their_gradients, not_in_blocks) = found
    assert (in_blocks, not_in_blocks) == (True, False)
    assert torch.allclose(ours, theirs, rtol=1e-4)
    zero = torch.zeros(())
    for one, other in zip(our_gradients, their_gradients, strict=True):
        for mine, its in zip(one, other, strict=True):
            assert torch.allclose(zero if mine is None else mine, zero if its is None else its, atol=1e-5)


class OtherLists(GROTrainer):
    def served_lists(self, interaction, target_scores):
        return super().served_lists(interaction, target_scores).flip(1)


@pytest.mark.parametrize(
    ("cls", "settings"),
    [
        (GROTrainer, {"paper_code_ties": True}),
        (GROTrainer, {"gro_swap": "assigned"}),
        (GROTrainer, {"gro_swap": "decoys", "gro_epochs": 2, "gro_head_k": 1}),
        (GROTrainer, {"gro_target_loss": "hold"}),
        (GROTrainer, {"gro_contexts": "mixed"}),
        (GROTrainer, {"served_k": 5, "topk": [5], "valid_metric": "NDCG@5"}),  # too many of the items
        (OtherLists, {}),
    ],
)
def test_what_reads_all_scores_takes_no_blocks(make_trainer, cls, settings):
    trainer, train, _ = make_trainer("SASRec", cls, **(BRIEF | settings))
    with blocks_of(3), mock.patch.object(StepInBlocks, "_terms") as taken:
        trainer.fit_gro(train)
    assert not taken.called


class OwnRule(PaperSwap):
    pass


def with_rule(trainer, **attributes):
    for name, value in attributes.items():
        setattr(trainer.swap_rule, name, value)


@pytest.mark.parametrize(
    "change",
    [
        lambda trainer: setattr(trainer, "swap_rule", OwnRule(trainer.config)),
        lambda trainer: setattr(trainer, "paper_code_ties", True),
        lambda trainer: with_rule(trainer, paper_code_ties=True),
        lambda trainer: with_rule(trainer, left_out=torch.zeros(31, dtype=torch.bool)),
        lambda trainer: setattr(trainer, "batch_part", BatchPart(0, 100)),
    ],
)
def test_a_change_between_steps_counts(make_trainer, change):
    trainer, train, _ = make_trainer("SASRec", **BRIEF)
    trainer, _, batch = with_student(trainer, train)
    with blocks_of(3):
        assert trainer._in_blocks.losses(batch) is not None
        change(trainer)
        assert trainer._in_blocks.losses(batch) is None


@pytest.mark.parametrize("rows", [1, 40])
def test_whether_blocks_are_taken_does_not_depend_on_the_first_batch(make_trainer, rows):
    """Rows of one prefix each are read in groups of similar length; a batch may happen to have one group."""
    trainer, train, _ = make_trainer("SASRec", train_rows="prefixes", **BRIEF)
    trainer, _, batch = with_student(trainer, train)
    with blocks_of(3):
        assert trainer._in_blocks.losses(batch[:rows]) is None


class OwnModel(SASRec):
    pass


@pytest.mark.parametrize("of_own", ["scorer", "student_scorer"])
def test_models_of_a_users_own_take_no_blocks(make_trainer, of_own):
    trainer, train, _ = make_trainer("SASRec", **BRIEF)
    trainer, _, batch = with_student(trainer, train)
    getattr(trainer, of_own).model.__class__ = OwnModel
    with blocks_of(3):
        assert trainer._in_blocks.losses(batch) is None


def test_scores_that_are_no_plain_product_take_no_blocks(make_trainer):
    trainer, train, _ = make_trainer("SASRec", KeepsStudent, **BRIEF)
    score = type(trainer.model).full_sort_predict
    outcomes = []
    for block in (blocks_of(3), contextlib.nullcontext()):
        trainer, train, _ = make_trainer("SASRec", KeepsStudent, **BRIEF)
        cooler = mock.patch.object(type(trainer.model), "full_sort_predict", lambda *args: score(*args) / 2)
        with block, cooler, mock.patch.object(StepInBlocks, "_terms") as taken:
            torch.manual_seed(4)
            trainer.fit_gro(train)
        assert not taken.called
        outcomes.append(weights_of(trainer.student))
    assert same_weights(*outcomes)


def test_a_batch_whose_scores_are_no_product_draws_nothing_twice(make_trainer):
    trainer, train, _ = make_trainer("SASRec", **BRIEF)
    trainer, _, batch = with_student(trainer, train)
    with blocks_of(3):
        trainer.stage_loss(batch)
        state = torch.get_rng_state()
        with mock.patch.object(StepInBlocks, "_products", side_effect=lambda *_, **__: [torch.rand(()), None]):
            assert trainer._in_blocks.losses(batch) is None
    assert torch.equal(torch.get_rng_state(), state)


def test_a_batch_without_a_masked_item_takes_no_blocks(make_trainer):
    trainer, train, _ = make_trainer("BERT4Rec", **BRIEF)
    trainer, _, batch = with_student(trainer, train)
    batch.interaction["MASK_INDEX"] = torch.zeros_like(batch["MASK_INDEX"])
    batch.interaction.pop("masked_slots", None)
    with blocks_of(3):
        assert trainer._in_blocks.losses(batch) is None
