import pytest
import torch
from defense.gro.cases import with_student
from pipeline import untrained

from recbole_gro import DecoyGROTrainer, GROTrainer, Service
from recbole_gro.defense.gro import hold
from recbole_gro.defense.gro.mixed_contexts import MixedContexts
from recbole_gro.objective.extensions import hold_loss
from recbole_gro.objective.extraction import BatchPart, extraction_loss

NO_DROPOUT = {"hidden_dropout_prob": 0.0, "attn_dropout_prob": 0.0}


@pytest.fixture
def in_phase(make_trainer):
    """Make a trainer in its GRO phase and a batch: `trainer, batch = in_phase("NARM")`."""

    def make(model="BERT4Rec", cls=GROTrainer, **settings):
        trainer, train, _ = make_trainer(model, cls=cls, **{"gro_contexts": "mixed", "served_k": 6, **settings})
        trainer, _, batch = with_student(trainer, train)
        for callback in trainer.callbacks:
            callback.on_phase_start(trainer, train, None)
        return trainer, batch

    return make


def contexts_of(trainer):
    return next(callback for callback in trainer.callbacks if isinstance(callback, MixedContexts))


@pytest.mark.parametrize(("share", "listed_alone"), [(0.0, True), (1.0, False)])
def test_sequences_follow_the_lists_of_the_target_and_leave_them_at_random(in_phase, share, listed_alone):
    trainer, batch = in_phase(query_random_share=share)
    _, lengths = contexts_of(trainer).contexts(trainer, batch)
    assert trainer.model.training  # as before
    sequences, service = contexts_of(trainer).sequences, Service(trainer.model, 6)
    assert sequences.shape[1] == 8
    for t in range(1, 8):
        listed = service.recommend(sequences[:, :t])
        assert bool((listed == sequences[:, t : t + 1]).any(1).all()) is listed_alone
    assert (int(lengths.min()), int(lengths.max())) == (1, 8)


@pytest.mark.parametrize("model", ["BERT4Rec", "SASRec", "GRU4Rec", "NARM", "STAMP"])
def test_hold_and_swap_loss_read_as_many_mixed_contexts_as_training_positions(in_phase, monkeypatch, model):
    held, swapped = [], []
    monkeypatch.setattr(hold, "hold_loss", lambda *scores: held.append(scores) or hold_loss(*scores))
    trainer, batch = in_phase(model, gro_target_loss="hold")
    term = trainer.swap_rule.term
    monkeypatch.setattr(trainer.swap_rule, "term", lambda *args: swapped.append(args) or term(*args))
    trainer.stage_loss(batch)
    [(own, converged, _)], [(target, served, student, gradient)] = held, swapped
    sequences, lengths = trainer._contexts
    n = int(trainer.scorer.positions_of_rows(batch).sum())
    assert {len(rows) for rows in (own, converged, target, served, student, gradient)} == {2 * n}
    pairs = [(row, length) for row, of_row in zip(sequences, lengths, strict=True) for length in of_row]
    prefixes = torch.stack([row * (torch.arange(8) < length) for row, length in pairs])
    expected = next(callback.converged for callback in trainer.callbacks if isinstance(callback, hold.Hold))
    with torch.no_grad():
        alone = expected.next_item_scores(prefixes, (prefixes != 0).sum(1))[:n]
        assert torch.allclose(converged, torch.cat([expected.position_scores(batch), alone]), atol=1e-5)
    assert torch.allclose(own, converged, atol=1e-5)  # the target has not moved yet


def test_the_targets_own_loss_reads_the_training_positions_alone(in_phase):
    losses = {}
    for contexts in ("training", "mixed"):
        trainer, batch = in_phase(gro_contexts=contexts, **NO_DROPOUT)
        losses[contexts] = trainer.stage_loss(batch)
    assert losses["mixed"][0].item() == pytest.approx(losses["training"][0].item())
    assert losses["mixed"][1].item() != pytest.approx(losses["training"][1].item())


def test_sequences_are_renewed_in_every_epoch_alone(in_phase):
    trainer, batch = in_phase()
    callback, seen = contexts_of(trainer), []
    for trainer.epoch in (0, 0, 1):
        callback.contexts(trainer, batch)
        seen.append(callback.sequences)
    assert torch.equal(seen[0], seen[1])
    assert not torch.equal(seen[1], seen[2])


def test_negatives_are_those_of_all_processes(in_phase, monkeypatch):
    outside = []

    def recorded(listed, negatives, *args, **keywords):
        outside.append(negatives)
        return extraction_loss(listed, negatives, *args, **keywords)

    monkeypatch.setattr("recbole_gro.defense.gro.trainer.extraction_loss", recorded)
    for whole in (False, True):
        trainer, batch = in_phase(**NO_DROPOUT)
        trainer.epoch = 0
        torch.manual_seed(2)
        n = int(trainer.scorer.positions_of_rows(batch).sum())
        trainer.batch_part = BatchPart(0, n) if whole else None
        trainer.stage_loss(batch)
    assert torch.equal(*outside)


@pytest.mark.parametrize("cls", [GROTrainer, DecoyGROTrainer])
def test_training_with_mixed_contexts_moves_the_target_elsewhere(make_loaders, tmp_path, cls):
    scores = []
    for contexts in ("training", "mixed"):
        settings = {"gro_head_k": 2, "gro_epochs": 3, "gro_steps": 1, "output_dir": str(tmp_path)}
        config, train, *_ = make_loaders("NARM", gro_contexts=contexts, gro_lambda=1.0, **settings)
        trainer = cls(config, untrained(config, train))
        trainer.fit_gro(train, saved=False)
        scores.append(trainer.model.item_embedding.weight.detach().clone())
        assert all(callback.sequences is None for callback in trainer.callbacks if isinstance(callback, MixedContexts))
    assert not torch.allclose(*scores)
