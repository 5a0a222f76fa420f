"""A step of each stage on another device: no tensor is made on the CPU, and no step waits for a value.

torch's meta device stands in for a GPU: its tensors have shapes only, so whatever needs a value (item(), nonzero())
fails, and `AllOnMeta` checks the result of every operation.
"""

import pytest
import torch
from pipeline import AllOnMeta, untrained
from recbole.data.interaction import Interaction

from recbole_gro import DecoyGROTrainer, ExtractionTrainer, GROTrainer, Service, create_defense, create_scorer
from recbole_gro.attack.query_log import LISTED, LISTED_LENGTH
from recbole_gro.serving import service as service_module
from recbole_gro.trainer.base import TargetTrainer


def on_meta(trainer):
    trainer.model.to("meta")
    trainer.generator = None  # meta has no generators
    return trainer


MODELS = ["BERT4Rec", "NARM", "GRU4Rec", "SASRec"]


@pytest.mark.parametrize("model", MODELS)
def test_a_step_of_the_target(make_loaders, tmp_path, model):
    config, train, *_ = make_loaders(model, output_dir=str(tmp_path))
    trainer = on_meta(TargetTrainer(config, untrained(config, train)))
    batch = next(iter(train)).to("meta")
    with AllOnMeta():
        trainer.stage_loss(batch).backward()


@pytest.mark.parametrize("student", [None, "NARM"])
@pytest.mark.parametrize(("rows", "candidates"), [("all", "all"), ("tail", "outside_head")])
@pytest.mark.parametrize("ties", [False, True])
@pytest.mark.parametrize("model", MODELS)
def test_a_step_of_gro(make_loaders, tmp_path, model, ties, rows, candidates, student):
    keeps_head = {"gro_rows": rows, "swap_candidates": candidates, "gro_head_k": 3}
    clipped = {"clip_grad_norm": {"max_norm": 5}}
    config, train, *_ = make_loaders(
        model, output_dir=str(tmp_path), paper_code_ties=ties, student_model=student, **keeps_head, **clipped
    )
    trainer = GROTrainer(config, untrained(config, train))
    batch = next(iter(train))
    trainer.scorer.loss_and_scores(batch)  # determines the kind of loss, once
    trainer.student_scorer = create_scorer(trainer._new_student(train._dataset).to("meta"))
    on_meta(trainer)._start_gro_phase(1)
    batch = batch.to("meta")
    with AllOnMeta():
        sum(trainer.stage_loss(batch)).backward()
    trainer.optimizer.step()


@pytest.mark.parametrize("rule", ["assigned", "assigned_tail", "decoys"])
@pytest.mark.parametrize("model", MODELS)
def test_a_step_of_the_other_swap_rules(make_loaders, tmp_path, model, rule):
    config, train, *_ = make_loaders(
        model, output_dir=str(tmp_path), gro_swap=rule, gro_target_loss="hold", served_k=10, gro_head_k=4
    )
    trainer = GROTrainer(config, untrained(config, train))
    trainer.student_scorer = create_scorer(trainer._new_student(train._dataset).to("meta"))
    on_meta(trainer)
    trainer.callbacks[0].on_phase_start(trainer, train, None)
    batch = next(iter(train)).to("meta")
    with AllOnMeta():
        for _ in range(2):
            sum(trainer.stage_loss(batch)).backward()
            trainer.swap_rule.epoch_ended()


@pytest.mark.parametrize("ties", [False, True])
@pytest.mark.parametrize("padded", [False, True])
@pytest.mark.parametrize("model", MODELS)
def test_a_step_of_the_surrogate(make_config, make_model, tmp_path, model, padded, ties):
    config = make_config(model, output_dir=str(tmp_path), paper_code_ties=ties)
    trainer = on_meta(ExtractionTrainer(config, make_model(model)))
    batch = Interaction(
        {
            config["ITEM_ID_FIELD"] + config["LIST_SUFFIX"]: torch.ones(5, 6, dtype=torch.long),
            config["ITEM_LIST_LENGTH_FIELD"]: torch.tensor([[2, 6, 3]] * 5),
            LISTED: torch.ones(15, 4, dtype=torch.long),
            **({LISTED_LENGTH: torch.full((15,), 3)} if padded else {}),
        }
    ).to("meta")
    with AllOnMeta():
        trainer.stage_loss(batch).backward()


@pytest.mark.parametrize("model", ["BERT4Rec", "SASRec"])
def test_a_query(make_model, monkeypatch, model):
    monkeypatch.setattr(service_module, "refuse_nan", lambda *_: None)  # it reads values, after the computation
    service = Service(make_model(model).to("meta"), 5)
    assert service.recommend(torch.ones(7, 4, dtype=torch.long)).is_meta


@pytest.mark.parametrize("name", ["tail_shuffle", "tail_random", "tail_decoy", "truncate", "random"])
def test_a_query_through_a_defense(make_model, monkeypatch, name):
    monkeypatch.setattr(service_module, "refuse_nan", lambda *_: None)
    defense = create_defense(name, {"seed": 7, "served_k": 5, "head_k": 2, "random_keyed": True})
    service = Service(make_model("SASRec").to("meta"), 5, defense.answer)
    assert service.recommend(torch.ones(7, 4, dtype=torch.long)).is_meta


@pytest.mark.parametrize("trainer_class", [GROTrainer, DecoyGROTrainer])
@pytest.mark.parametrize("model", MODELS)
def test_losses_are_in_full_precision_with_mixed_precision(make_loaders, tmp_path, model, trainer_class):
    config, train, valid, _ = make_loaders(
        model, output_dir=str(tmp_path), enable_amp=True, epochs=1, gro_epochs=2, gro_steps=1, gro_head_k=3
    )
    trainer = trainer_class(config, untrained(config, train))
    seen = []
    original = trainer.stage_loss
    trainer.stage_loss = lambda interaction: seen.append(original(interaction)) or seen[-1]
    trainer.fit(train, valid)
    assert seen
    assert all(loss.dtype == torch.float32 and bool(loss.isfinite()) for losses in seen for loss in losses)
    scores = trainer.scorer.loss_and_scores(next(iter(train)))[1]
    assert bool(scores.isfinite().all())


def test_mixed_precision_reaches_the_model(make_loaders, tmp_path):
    config, train, *_ = make_loaders("BERT4Rec", output_dir=str(tmp_path), enable_amp=True)
    trainer = TargetTrainer(config, untrained(config, train))
    dtypes = set()
    trainer.model.output_ffn.register_forward_hook(lambda _, __, output: dtypes.add(output.dtype))
    trainer._train_epoch(train, 0)
    assert dtypes == {torch.bfloat16}
