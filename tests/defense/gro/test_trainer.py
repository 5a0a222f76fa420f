import copy
import math
from unittest import mock

import pytest
import torch
from defense.cases import DefenseCases
from defense.gro.cases import KeepsStudent, with_student
from pipeline import same_weights, scalars, untrained, weights_of
from recbole.config import Config as RecBoleConfig
from recbole.data.interaction import Interaction
from recbole.trainer import Trainer

from recbole_gro import GROTrainer, UserError
from recbole_gro.defense.gro import swap_rules as swap_rule
from recbole_gro.defense.gro import trainer as gro
from recbole_gro.objective.extraction import extraction_loss, sample_negatives
from recbole_gro.objective.swap import swap_loss, swap_targets
from recbole_gro.scoring import picked_scores
from recbole_gro.scoring.causal import NEXT_ITEMS
from recbole_gro.trainer.base import TargetTrainer
from recbole_gro.utils.patching import replaced
from recbole_gro.utils.ranking import top_k


class TestGRO(DefenseCases):
    name = "gro"


class TestGROOnNARM(DefenseCases):
    name = "gro"
    target = "NARM"


def gradients(loss, model):
    """Return the largest gradient of a loss in each parameter of a model; 0 where it has none."""
    parameters = list(model.parameters())
    found = torch.autograd.grad(loss, parameters, retain_graph=True, allow_unused=True)
    return [0.0 if gradient is None else gradient.abs().max().item() for gradient in found]


def norm(model):
    return torch.cat([values.grad.flatten() for values in model.parameters() if values.grad is not None]).norm().item()


PAIRS = [("BERT4Rec", None), ("NARM", None), ("BERT4Rec", "NARM"), ("NARM", "BERT4Rec")]


@pytest.mark.parametrize(("target", "student_model"), PAIRS)
def test_no_gradient_crosses(make_trainer, target, student_model):
    trainer, train, _ = make_trainer(target, student_model=student_model)
    trainer, student, batch = with_student(trainer, train)
    target_loss, student_loss, swap = trainer.stage_loss(batch)
    assert max(gradients(student_loss, student)) > 0
    assert max(gradients(target_loss, trainer.model)) > 0
    assert max(gradients(swap, trainer.model)) > 0
    assert max(gradients(student_loss, trainer.model)) == 0
    assert max(gradients(target_loss + swap, student)) == 0


@pytest.mark.parametrize(("target", "student_model"), PAIRS)
def test_student_is_of_the_configured_architecture(make_trainer, target, student_model):
    trainer, train, _ = make_trainer(target, cls=KeepsStudent, student_model=student_model, gro_epochs=1)
    trainer.fit_gro(train)
    assert type(trainer.student).__name__ == (student_model or target)
    own = {name: values.shape for name, values in trainer.model.named_parameters()}
    as_target = {name: values.shape for name, values in trainer.student.named_parameters()} == own
    assert as_target == (student_model is None)


@pytest.mark.parametrize("student_model", ["NARM", "GRU4Rec", "BERT4Rec"])
def test_students_of_a_target_on_whole_sequences_score_the_prefixes_of_its_positions(make_trainer, student_model):
    trainer, _, batch = with_student(*make_trainer("NARM", student_model=student_model)[:2])
    trainer.model.eval()
    trainer.student_scorer.model.eval()
    histories = trainer.scorer.contexts(batch)
    _, target_scores = trainer._target_loss(batch)
    assert len(target_scores) == len(batch[NEXT_ITEMS]) > len(batch["user_id"])
    for scores, scorer in (
        (target_scores, trainer.scorer),
        (trainer._student_scores(batch), trainer.student_scorer),
    ):
        assert torch.allclose(scores, scorer.next_item_scores(*histories), rtol=1e-3, atol=1e-5)


def test_on_whole_sequences_lists_are_served_at_every_position(make_trainer, monkeypatch):
    trainer, student, batch = with_student(*make_trainer("GRU4Rec", train_batch_size=64)[:2])
    for model in (trainer.model, student):
        model.eval()
    seen = {}
    monkeypatch.setattr(
        gro,
        "sample_negatives",
        lambda served, *rest, **named: seen.update(served=served) or sample_negatives(served, *rest, **named),
    )
    target_loss, _, _ = trainer.stage_loss(batch)
    histories = trainer.scorer.contexts(batch)
    assert len(seen["served"]) == len(batch[NEXT_ITEMS]) > len(batch["user_id"])
    assert torch.equal(seen["served"], top_k(trainer.scorer.next_item_scores(*histories), trainer.served_k))
    assert torch.allclose(target_loss, trainer.scorer.loss(batch), rtol=1e-4)


def test_student_config_file_sets_its_size(make_trainer, tmp_path):
    (tmp_path / "student.yaml").write_text("hidden_size: 8\ninner_size: 12\n")
    trainer, train, _ = make_trainer(cls=KeepsStudent, student_config=str(tmp_path / "student.yaml"), gro_epochs=1)
    trainer.fit_gro(train)
    assert trainer.student.hidden_size == 8
    assert trainer.model.hidden_size == 16


def test_student_starts_from_weights_of_its_own(make_trainer):
    trainer, train, _ = make_trainer()
    _, student, _ = with_student(trainer, train)
    assert not torch.allclose(student.item_embedding.weight, trainer.model.item_embedding.weight)


def test_the_three_terms_are_logged(make_trainer, tmp_path):
    trainer, train, _ = make_trainer(gro_epochs=3)
    trainer.fit_gro(train)
    logged = scalars(tmp_path / "run" / "tensorboard" / "target-gro")
    terms = [logged[f"Loss/Train{i}"] for i in range(3)]
    assert [len(term) for term in terms] == [3, 3, 3]
    for epoch, total in trainer.train_loss_dict.items():
        assert sum(term[epoch] for term in terms) == pytest.approx(total, rel=1e-4)


def test_lambda_weighs_the_swap_loss_alone(make_trainer):
    losses = []
    for weight in (1.0, 3.0):
        trainer, student, batch = with_student(*make_trainer(gro_lambda=weight)[:2])
        student.load_state_dict(untrained(trainer.config, make_trainer()[1], seed=9).state_dict())
        torch.manual_seed(0)
        losses.append([loss.item() for loss in trainer.stage_loss(batch)])
    (target_1, student_1, swap_1), (target_3, student_3, swap_3) = losses
    assert (target_3, student_3) == (target_1, student_1)
    assert swap_3 == pytest.approx(3 * swap_1)
    assert swap_1 > 0


@pytest.mark.parametrize("model", ["BERT4Rec", "NARM"])
def test_without_lambda_the_target_trains_plainly(make_trainer, model):
    trainer, _, batch = with_student(*make_trainer(model, gro_lambda=0.0)[:2])
    weights = list(trainer.model.parameters())
    torch.manual_seed(3)
    joint = torch.autograd.grad(sum(trainer.stage_loss(batch)), weights)
    torch.manual_seed(3)
    plain = torch.autograd.grad(trainer.scorer.loss(batch), weights)
    for one, other in zip(joint, plain, strict=True):
        assert torch.allclose(one, other, atol=1e-7)


def test_from_scratch_the_weights_of_the_model_do_not_matter(make_trainer):
    outcomes, started = [], []
    for weights in (0, 9):
        trainer, train, valid = make_trainer(cls=KeepsStudent, gro_start="untrained")
        trainer.model.load_state_dict(untrained(trainer.config, train, seed=weights).state_dict())
        given = weights_of(trainer.model)
        torch.manual_seed(3)
        trainer.fit_gro(train, valid)
        assert not same_weights(trainer.target_at_start, given)
        started.append(trainer.target_at_start)
        outcomes.append(weights_of(trainer.model))
    assert same_weights(*started)
    assert same_weights(*outcomes)
    assert not same_weights(outcomes[0], started[0])


def test_from_scratch_there_is_no_plain_training(make_trainer, tmp_path):
    trainer, train, valid = make_trainer(gro_start="untrained", epochs=5)
    trainer.fit(train, valid)
    assert len(trainer.train_loss_dict) == 2  # gro_epochs
    assert [file.name for file in (tmp_path / "run").glob("*.pth")] == ["target-gro.pth"]


def test_without_lambda_the_third_loss_is_zero(make_trainer, tmp_path):
    trainer, train, _ = make_trainer(gro_lambda=0.0)
    trainer.fit_gro(train)
    assert scalars(tmp_path / "run" / "tensorboard" / "target-gro")["Loss/Train2"] == [0.0, 0.0]


@pytest.mark.parametrize("start", ["untrained", "converged"])
def test_without_lambda_the_student_steps_and_draws_are_those_of_any_lambda(make_trainer, start):
    outcomes = []
    for weight in (0.0, 1.0):
        trainer, train, valid = make_trainer(cls=KeepsStudent, gro_lambda=weight, gro_start=start)
        torch.manual_seed(3)
        trainer.fit_gro(train, valid)
        assert not same_weights(weights_of(trainer.student), trainer.student_at_start)
        steps = {int(state["step"]) for state in trainer.optimizer.state.values()}
        assert steps == {2 * len(train)}
        outcomes.append((trainer, torch.get_rng_state(), trainer.generator.get_state()))
    (without, *draws), (with_swap, *others) = outcomes
    assert all(torch.equal(one, other) for one, other in zip(draws, others, strict=True))
    assert same_weights(without.student_at_start, with_swap.student_at_start)
    assert same_weights(without.target_at_start, with_swap.target_at_start)
    assert not same_weights(weights_of(without.model), weights_of(with_swap.model))


def test_lambda_lowers_the_swap_loss(make_trainer, monkeypatch):
    def last_of(gro_lambda):
        seen = []
        monkeypatch.setattr(swap_rule, "swap_loss", lambda *args: seen.append(swap_loss(*args)) or seen[-1])
        trainer, train, _ = make_trainer(
            gro_lambda=gro_lambda, gro_epochs=25, gro_learning_rate=0.01, hidden_dropout_prob=0.0, attn_dropout_prob=0.0
        )
        torch.manual_seed(1)
        trainer.fit_gro(train)
        return sum(loss.item() for loss in seen[-10:]) / 10

    assert last_of(20.0) < 0.5 * last_of(0.0)


def test_paper_code_ties_takes_the_first_item_where_the_gradient_is_zero(make_trainer, monkeypatch):
    seen = []

    def recorded(scores, served, gradient, paper_code_ties):
        seen.append((swap_targets(scores, served, gradient, paper_code_ties), served, gradient))
        return seen[-1][0]

    monkeypatch.setattr(swap_rule, "swap_targets", recorded)
    for ties in (False, True):
        trainer, train, _ = make_trainer(paper_code_ties=ties, margin_rank=0.0, margin_negative=0.0)
        trainer, _, batch = with_student(trainer, train)
        assert all(math.isfinite(loss.item()) for loss in trainer.stage_loss(batch))
    (stays, served, gradient), (first, _, first_gradient) = seen
    assert (gradient == 0).any()
    assert torch.equal(stays[gradient == 0], served[gradient == 0])
    assert (first_gradient == 0).any()
    assert (first[first_gradient == 0] == 1).all()


@pytest.mark.parametrize(("key", "changed"), [("margin_swap", 2), ("margin_rank", 1), ("margin_negative", 1)])
def test_settings_of_the_losses_are_used(make_trainer, key, changed):
    losses = []
    for value in (0.1, 0.9):
        trainer, train, _ = make_trainer(**{key: value})
        trainer, student, batch = with_student(trainer, train)
        student.load_state_dict(untrained(trainer.config, train, seed=9).state_dict())
        torch.manual_seed(0)
        losses.append([loss.item() for loss in trainer.stage_loss(batch)])
    differs = [low != high for low, high in zip(*losses, strict=True)]
    assert differs[changed]
    assert not differs[0]


@pytest.mark.parametrize("ties", [False, True])
def test_paper_code_ties_takes_two_means(make_trainer, monkeypatch, ties):
    seen = []
    monkeypatch.setattr(gro, "extraction_loss", lambda *args: seen.append(args) or extraction_loss(*args))
    trainer, _, batch = with_student(*make_trainer(paper_code_ties=ties)[:2])
    student_loss = trainer.stage_loss(batch)[1]
    listed, negatives = seen[0][:2]
    assert torch.equal(student_loss, extraction_loss(listed, negatives, 0.5, 0.5, ties))
    assert not torch.equal(student_loss, extraction_loss(listed, negatives, 0.5, 0.5, not ties))


def test_negatives_come_from_the_trainers_own_generator(make_trainer):
    losses = []
    for seed in (1, 2):
        trainer, train, _ = make_trainer(hidden_dropout_prob=0.0, attn_dropout_prob=0.0)
        trainer, student, batch = with_student(trainer, train)
        student.load_state_dict(untrained(trainer.config, train, seed=9).state_dict())
        torch.manual_seed(seed)
        losses.append(trainer.stage_loss(batch)[1].item())
    assert losses[0] == losses[1]


def test_paper_code_ties_trains(make_trainer):
    trainer, train, valid = make_trainer(paper_code_ties=True)
    score, _ = trainer.fit_gro(train, valid)
    assert math.isfinite(score)


def test_lambda_stays_without_gro_min_quality(make_trainer):
    trainer, train, valid = make_trainer(gro_lambda=0.7)
    trainer.fit_gro(train, valid)
    assert trainer.gro_lambda == 0.7


@pytest.mark.parametrize("loss_type", ["CE", "BPR"])
def test_a_batch_without_a_masked_item_moves_nothing(make_trainer, loss_type):
    trainer, train, _ = make_trainer(train_rows="prefixes", loss_type=loss_type, mask_ratio=0.5)
    trainer, student, batch = with_student(trainer, train)
    batch.update(Interaction({"MASK_INDEX": torch.zeros_like(batch["MASK_INDEX"])}))
    losses = trainer.stage_loss(batch)
    sum(losses).backward()
    assert [loss.item() for loss in losses] == [0, 0, 0]
    weights = [*trainer.model.parameters(), *student.parameters()]
    assert not any(one.grad is not None and one.grad.any() for one in weights)


@pytest.mark.parametrize(
    "variant",
    [
        {"gro_target_loss": "hold"},
        {"gro_contexts": "mixed"},
        {"gro_contexts": "mixed", "gro_target_loss": "hold"},
        {"student_model": "GRU4Rec"},
        {"student_model": "STAMP", "gro_contexts": "mixed"},
    ],
    ids=" ".join,
)
def test_nor_does_it_with_variants_and_other_students(make_trainer, variant):
    trainer, train, _ = make_trainer(train_rows="prefixes", mask_ratio=0.5, **variant)
    trainer, _, batch = with_student(trainer, train)
    for callback in trainer.callbacks:
        callback.on_phase_start(trainer, train, None)
    batch.update(Interaction({"MASK_INDEX": torch.zeros_like(batch["MASK_INDEX"])}))
    losses = trainer.stage_loss(batch)
    sum(losses).backward()
    assert [loss.item() for loss in losses] == [0, 0, 0]


class LaterIsWorse:
    """Validation is worse after every epoch; records the weights of each."""

    def __init__(self, config, model, stage=None):
        super().__init__(config, model, stage)
        self.seen = []

    def _valid_epoch(self, valid_data, show_progress=False):
        super()._valid_epoch(valid_data, show_progress)
        self.seen.append(weights_of(self.model))
        self.last_valid = 1.0 / len(self.seen), {"ndcg@5": 1.0 / len(self.seen)}
        return self.last_valid


class LaterIsWorseGROTrainer(LaterIsWorse, KeepsStudent):
    pass


def saved_weights(trainer):
    return torch.load(trainer.saved_model_file, weights_only=True)["state_dict"]


@pytest.mark.parametrize("phase", ["fit", "fit_gro"])
def test_last_epoch_is_saved_and_kept(make_trainer, phase):
    trainer, train, valid = make_trainer(cls=LaterIsWorseGROTrainer, epochs=2, gro_epochs=3)
    score, result = getattr(trainer, phase)(train, valid)
    assert len(trainer.seen) == 3
    assert same_weights(saved_weights(trainer), trainer.seen[-1])
    assert not same_weights(saved_weights(trainer), trainer.seen[-3])
    assert same_weights(weights_of(trainer.model), trainer.seen[-1])
    assert score == trainer.best_valid_score == 1 / 3
    assert result == trainer.best_valid_result == {"ndcg@5": 1 / 3}


def test_early_stopping_does_not_end_gro(make_trainer):
    trainer, train, valid = make_trainer(cls=LaterIsWorseGROTrainer, gro_epochs=4, stopping_step=0)
    trainer.fit_gro(train, valid)
    assert len(trainer.seen) == 4


def test_gro_starts_from_the_best_plain_epoch(make_trainer):
    plain = []

    class Plain(LaterIsWorse, TargetTrainer):
        def __init__(self, config, model):
            super().__init__(config, model)
            plain.append(self)

    trainer, train, valid = make_trainer(cls=KeepsStudent, epochs=3)
    trainer.plain_trainer = Plain
    trainer.fit(train, valid)
    assert same_weights(trainer.target_at_start, plain[0].seen[0])


def test_epochs_count_on_from_plain_training(make_trainer, tmp_path):
    trainer, train, valid = make_trainer(epochs=2, gro_epochs=3)
    trainer.fit(train, valid)
    assert list(trainer.train_loss_dict) == [0, 1, 2, 3, 4]
    assert torch.load(trainer.saved_model_file, weights_only=True)["epoch"] == 4


@pytest.mark.parametrize("eval_step", [1, 2, 5])
def test_fine_tune_returns_the_validation_of_the_last_epoch(make_trainer, eval_step):
    trainer, train, valid = make_trainer(gro_epochs=3, eval_step=eval_step, epochs=5)
    score, result = trainer.fit_gro(train, valid)
    after = trainer.evaluate(valid, load_best_model=True)
    assert dict(result) == dict(after)
    assert score == after["ndcg@5"]


def test_without_validation_data_fit_returns_as_recbole_does(make_trainer):
    trainer, train, _ = make_trainer()
    assert trainer.fit(train) == (-1, None)


def test_callback_sees_every_epoch(make_trainer):
    trainer, train, valid = make_trainer(epochs=1, gro_epochs=2)
    seen = []
    trainer.fit(train, valid, callback_fn=lambda epoch, score: seen.append(epoch))
    assert seen == [0, 1, 2]


def test_checkpoint_holds_the_target_alone(make_trainer):
    trainer, train, valid = make_trainer(cls=KeepsStudent)
    trainer.fit_gro(train, valid)
    checkpoint = torch.load(trainer.saved_model_file, weights_only=True)
    assert trainer.student_scorer is None
    assert same_weights(checkpoint["state_dict"], weights_of(trainer.model))
    assert len(checkpoint["optimizer"]["param_groups"]) == 1
    assert len(checkpoint["optimizer"]["param_groups"][0]["params"]) == len(list(trainer.model.parameters()))


def test_plain_trainer_resumes_from_it(make_trainer, make_loaders, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    trainer, train, valid = make_trainer()
    trainer.fit_gro(train, valid)
    plain = Trainer(trainer.config, copy.deepcopy(trainer.model))
    plain.resume_checkpoint(trainer.saved_model_file)
    assert plain.start_epoch == 2
    assert same_weights(weights_of(plain.model), weights_of(trainer.model))
    assert len(plain.optimizer.state) == len(list(plain.model.parameters()))
    plain.epochs = 3
    plain.fit(train, valid)
    assert list(plain.train_loss_dict) == [2]


def test_saved_false_writes_no_checkpoint(make_trainer, tmp_path):
    trainer, train, valid = make_trainer(epochs=1)
    trainer.fit(train, valid, saved=False)
    assert not list(tmp_path.rglob("*.pth"))


def test_interrupted_gro_leaves_no_checkpoint_of_an_earlier_epoch(make_trainer, tmp_path):
    def interrupt(epoch, score):
        if epoch == 1:
            raise KeyboardInterrupt

    trainer, train, valid = make_trainer(cls=LaterIsWorseGROTrainer, gro_epochs=3)
    with pytest.raises(KeyboardInterrupt):
        trainer.fit_gro(train, valid, callback_fn=interrupt)
    assert not list(tmp_path.rglob("*.pth"))


@pytest.mark.parametrize("limit", [1e-3, None])
def test_gradients_of_both_models_are_clipped(make_trainer, limit):
    clipping = {"clip_grad_norm": {"max_norm": limit, "norm_type": 2}} if limit else {}
    trainer, train, _ = make_trainer(cls=KeepsStudent, gro_epochs=1, **clipping)
    trainer.fit_gro(train)
    for model in (trainer.student, trainer.model):
        assert (norm(model) <= 1.01e-3) == (limit is not None)


def test_both_models_are_trained(make_trainer):
    trainer, train, _ = make_trainer(cls=KeepsStudent, gro_epochs=1)
    trainer.fit_gro(train)
    assert not same_weights(trainer.target_at_start, weights_of(trainer.model))
    assert not same_weights(trainer.student_at_start, weights_of(trainer.student))
    assert trainer.student.training


def test_own_learning_rate(make_trainer):
    trainer, train, _ = make_trainer(gro_learning_rate=0.5)
    trainer.fit_gro(train)
    assert [group["lr"] for group in trainer.optimizer.param_groups] == [0.5, 0.5]


def test_same_seed_same_weights(make_trainer):
    outcomes = []
    for _ in range(2):
        trainer, train, _ = make_trainer(gro_epochs=1)
        torch.manual_seed(4)
        trainer.fit_gro(train)
        outcomes.append(weights_of(trainer.model))
    assert same_weights(*outcomes)


@pytest.mark.parametrize("model", ["BERT4Rec", "NARM", "GRU4Rec", "SASRec"])
def test_the_student_is_trained_by_the_scores_of_listed_items_and_negatives(make_trainer, model):
    outcomes = []
    brief = {"gro_epochs": 1, "served_k": 3, "topk": [3], "valid_metric": "NDCG@3", "learner": "sgd"}
    for few in (picked_scores.FEW, 31):  # 31: a gradient for the scores of all items
        trainer, train, _ = make_trainer(model, KeepsStudent, **brief)
        picks = mock.patch.object(picked_scores, "picked_by", side_effect=picked_scores.picked_by)
        with replaced(picked_scores, "FEW", few), picks as picked:
            torch.manual_seed(4)
            trainer.fit_gro(train)
        assert picked.called == (few != 31)
        outcomes.append((weights_of(trainer.model), weights_of(trainer.student)))
    for ours, reference in zip(*outcomes, strict=True):
        assert all(torch.allclose(ours[name], reference[name], atol=2e-5) for name in reference)


def test_more_processes_are_refused(make_loaders):
    config, train, *_ = make_loaders()
    config["nproc"] = 2
    with pytest.raises(UserError, match="nproc: 2 is not supported") as error:
        GROTrainer(config, untrained(config, train))
    assert "\n" not in str(error.value)


def test_list_must_leave_an_item_outside(make_loaders, tmp_path):
    config, train, *_ = make_loaders(output_dir=str(tmp_path))
    n_items = train._dataset.item_num - 1
    config["served_k"] = n_items - 1
    GROTrainer(config, untrained(config, train))
    config["served_k"] = n_items
    with pytest.raises(UserError, match=f"served_k: {n_items} is too long for a catalogue of {n_items} items"):
        GROTrainer(config, untrained(config, train))


def test_plain_recbole_config_takes_our_defaults(tiny_data_path, make_loaders, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.argv", ["script.py"])
    config = RecBoleConfig(
        "NARM", "tiny", config_dict={"data_path": str(tiny_data_path), "train_neg_sample_args": None}
    )
    config["served_k"] = 5
    _, train, *_ = make_loaders("NARM")
    trainer = GROTrainer(config, untrained(config, train))
    assert (trainer.gro_epochs, trainer.gro_lambda, trainer.margins) == (15, 1.0, (0.5, 0.5))
