"""Interrupted trainings and queries resume: the numbers are the same, and nothing is computed twice."""

import contextlib
import os
import re
from unittest import mock

import pytest
import torch
from conftest import read_by
from pipeline import same_weights, untrained, weights_of
from recbole.trainer import Trainer
from recbole.utils import init_seed

from recbole_gro import (
    DecoyGROTrainer,
    ExtractionTrainer,
    GROTrainer,
    QueryLog,
    Service,
    UserError,
    create_defense,
    create_query_strategy,
)
from recbole_gro.attack.cached_black_box import CachedBlackBox
from recbole_gro.data import reseed
from recbole_gro.defense.marks.aow import AOWTrainer
from recbole_gro.defense.marks.marks import Marks
from recbole_gro.trainer.base import StageTrainer, TargetTrainer
from recbole_gro.utils.patching import replaced

GRO = {"served_k": 10, "gro_head_k": 4, "gro_epochs": 4, "gro_steps": 1, "gro_decay": True}


class CutOffError(Exception):
    """An interruption."""


@contextlib.contextmanager
def cut_off_in_epoch(epoch):
    """Let trainings of a stage fail in the second batch of an epoch inside the block, and expect it."""
    original = StageTrainer._train_epoch

    def train_epoch(trainer, train_data, epoch_idx, *args, **kwargs):
        if epoch_idx == epoch:
            trainer.stage_loss = fail_at_second(trainer.stage_loss)
        return original(trainer, train_data, epoch_idx, *args, **kwargs)

    with replaced(StageTrainer, "_train_epoch", train_epoch), pytest.raises(CutOffError):
        yield


def fail_at_second(loss):
    calls = []

    def failing(interaction):
        calls.append(1)
        if len(calls) == 2:
            raise CutOffError
        return loss(interaction)

    return failing


def queries(n_items=31, n=30, length=6, k=10):
    """Return a log of random lists."""
    generator = torch.Generator().manual_seed(2)
    lists = torch.rand(n, length, n_items - 1, generator=generator).argsort(2)[:, :, :k] + 1
    return QueryLog(torch.randint(1, n_items, (n, length), generator=generator), lists)


def target(model, **settings):
    """Plain training of a model; early stopping, gradient clipping and validation every other epoch among it."""

    def prepare(make_loaders, folder):
        given = {"epochs": 4, "eval_step": 1, "train_batch_size": 16, **read_by(model, n_layers=1), **settings}
        config, train, valid, _ = make_loaders(model, output_dir=str(folder), **given)
        config["resume_dir"] = str(folder / "resume")
        trainer = TargetTrainer(config, untrained(config, train))
        reseed(train, 3)
        return trainer, lambda: trainer.fit(train, valid)

    return prepare


def gro(cls, model="BERT4Rec", phases="fit_gro", **settings):
    """The GRO phase alone, as a defense runs it; with `fit` plain training before it."""

    def prepare(make_loaders, folder):
        given = {**GRO, "eval_step": 1, "train_batch_size": 16, "n_layers": 1, **settings}
        config, train, valid, _ = make_loaders(model, output_dir=str(folder), **given)
        config["resume_dir"] = str(folder / "resume")
        trainer = cls(config, untrained(config, train))
        reseed(train, 3)
        return trainer, lambda: getattr(trainer, phases)(train, valid)

    return prepare


def aow(make_loaders, folder):
    """Fine-tuning on two marks, one in each step."""
    given = {"aow_epochs": 4, "eval_step": 1, "train_batch_size": 16, "n_layers": 1}
    config, train, valid, _ = make_loaders("BERT4Rec", output_dir=str(folder), **given)
    config["resume_dir"] = str(folder / "resume")
    marks = Marks("aow", torch.arange(1, 7).view(2, 3), torch.arange(7, 15).view(2, 2, 2))
    trainer = AOWTrainer(config, untrained(config, train), marks)
    reseed(train, 3)
    return trainer, lambda: trainer.fit(train, valid)


def extraction(model, **settings):
    """Train a surrogate on random lists."""

    def prepare(make_loaders, folder):
        given = {"surrogate_epochs": 4, "surrogate_batch_size": 32, "n_layers": 1, **settings}
        config, train, _, _ = make_loaders(model, output_dir=str(folder), **given)
        config["resume_dir"] = str(folder / "resume")
        trainer = ExtractionTrainer(config, untrained(config, train))
        batches = trainer.loaders(queries())
        return trainer, lambda: trainer.fit(*batches)

    return prepare


TRAININGS = {
    "BERT4Rec": target("BERT4Rec"),
    "BERT4Rec, BPR": target("BERT4Rec", loss_type="BPR", clip_grad_norm={"max_norm": 1}),
    "BERT4Rec, RecBole's masks": target("BERT4Rec", train_rows="prefixes", train_batch_size=128, eval_step=2),
    "NARM": target("NARM", train_batch_size=128),
    "NARM on prefixes": target("NARM", train_rows="prefixes", train_batch_size=128),
    "GRU4Rec, BPR": target("GRU4Rec", loss_type="BPR", train_batch_size=128),
    "gro": gro(GROTrainer),
    "gro, hold, other student": gro(GROTrainer, gro_target_loss="hold", student_model="NARM", eval_step=3),
    "gro, gro_min_quality": gro(GROTrainer, gro_min_quality=0.8),
    "plain, then gro": gro(GROTrainer, phases="fit", epochs=2, gro_epochs=2),
    "gro_decoys": gro(DecoyGROTrainer),
    "gro_decoys, mixed contexts": gro(DecoyGROTrainer, gro_contexts="mixed"),
    "gro_decoys of NARM": gro(DecoyGROTrainer, "NARM", train_batch_size=128),
    "aow": aow,
    "surrogate BERT4Rec": extraction("BERT4Rec"),
    "surrogate NARM": extraction("NARM"),
    "surrogate NARM, averaged": extraction("NARM", surrogate_averaging=0.9),
}
# the epoch that the quick tests cut it off in, and which they do not
EPOCH = {name: 1 for name in TRAININGS if "BPR" not in name and " of " not in name} | {"plain, then gro": 3, "gro": 3}


def started(prepare, make_loaders, folder, seed):
    """Return a trainer as a new process makes it, whose initial draws depend on the seed."""
    init_seed(seed, True)
    return prepare(make_loaders, folder)


@pytest.mark.parametrize(
    ("name", "epoch"),
    [
        pytest.param(name, epoch, marks=[] if epoch == EPOCH.get(name) else pytest.mark.every)
        for name in TRAININGS
        for epoch in (1, 3)
    ],
)
def test_an_interrupted_training_ends_with_the_same_weights(make_loaders, tmp_path, caplog, name, epoch):
    prepare = TRAININGS[name]
    whole, fit = started(prepare, make_loaders, tmp_path / "whole", 1)
    init_seed(2, True)
    uninterrupted = fit()
    after = torch.rand(3)

    _, fit = started(prepare, make_loaders, tmp_path / "cut", 1)
    init_seed(2, True)
    with cut_off_in_epoch(epoch):
        fit()
    caplog.set_level("INFO")
    caplog.clear()  # an earlier test may have left the log open
    resumed, fit = started(prepare, make_loaders, tmp_path / "cut", 1)
    init_seed(4, True)
    assert fit() == uninterrupted
    assert same_weights(weights_of(resumed.model), weights_of(whole.model))
    assert torch.equal(torch.rand(3), after)
    assert resumed.train_loss_dict == whole.train_loss_dict
    saved = [torch.load(trainer.saved_model_file)["state_dict"] for trainer in (whole, resumed)]
    assert same_weights(*saved)
    assert f"resumes from epoch {epoch}" in caplog.text
    trained = [int(number) for number in re.findall(r"epoch (\d+) training", caplog.text)]
    assert trained == list(range(epoch, 4))

    caplog.clear()
    again, fit = started(prepare, make_loaders, tmp_path / "cut", 1)
    assert fit() == uninterrupted
    assert same_weights(weights_of(again.model), weights_of(whole.model))
    assert "training had finished after epoch 3; its result is loaded" in caplog.text
    assert not re.search(r"epoch \d+ training", caplog.text)


@pytest.mark.parametrize("name", ["gro", "surrogate NARM"])
def test_a_training_resumes_from_a_checkpoint_of_another_device(make_loaders, tmp_path, name):
    weights = []
    for folder in (tmp_path / "a", tmp_path / "b"):
        _, fit = started(TRAININGS[name], make_loaders, folder, 1)
        with cut_off_in_epoch(2):
            fit()
        [file] = (folder / "resume").glob("*.pth")
        saved = torch.load(file, weights_only=True)
        gpu_state = torch.arange(16, dtype=torch.uint8)
        saved["process"]["cuda"] = [gpu_state]
        saved["generators"] = dict.fromkeys(saved["generators"], gpu_state)
        torch.save(saved, file)
        resumed, fit = started(TRAININGS[name], make_loaders, folder, 1)
        fit()
        assert list(resumed.train_loss_dict) == [0, 1, 2, 3]
        weights.append(weights_of(resumed.model))
    assert same_weights(*weights)


def test_patience_does_not_start_again(make_loaders, tmp_path, monkeypatch):
    # it gets worse from the first epoch on: three more are waited for
    def worse(trainer, *_, **__):
        score = 1 / len(trainer.train_loss_dict)
        return score, {"ndcg@5": score}

    monkeypatch.setattr(Trainer, "_valid_epoch", worse)
    prepare = target("NARM", epochs=20, stopping_step=2, train_batch_size=128)
    cut, fit = started(prepare, make_loaders, tmp_path, 1)
    with cut_off_in_epoch(2):
        fit()
    first = torch.load(cut.saved_model_file)["state_dict"]
    resumed, fit = started(prepare, make_loaders, tmp_path, 1)
    assert fit() == (1, {"ndcg@5": 1})
    assert list(resumed.train_loss_dict) == [0, 1, 2, 3]
    assert same_weights(torch.load(resumed.saved_model_file)["state_dict"], first)


@pytest.mark.parametrize("name", ["NARM", "surrogate NARM"])
def test_a_training_whose_best_checkpoint_was_removed_starts_anew(make_loaders, tmp_path, monkeypatch, caplog, name):
    """As where the output folder of a run was removed, and the folder of stages was not."""
    trainer, fit = started(TRAININGS[name], make_loaders, tmp_path / "whole", 1)
    fit()
    whole = torch.load(trainer.saved_model_file)["state_dict"]
    cut, fit = started(TRAININGS[name], make_loaders, tmp_path / "cut", 1)
    with cut_off_in_epoch(2):
        fit()
    os.remove(cut.saved_model_file)
    again, fit = started(TRAININGS[name], make_loaders, tmp_path / "cut", 1)
    fit()
    assert "which had the best epoch so far, is gone; the training starts anew" in caplog.text
    assert len(again.train_loss_dict) == 4
    assert same_weights(torch.load(again.saved_model_file)["state_dict"], whole)


class CountingService(Service):
    """Count the lists; fail at one query."""

    def __init__(self, model, output, fail_at=None):
        super().__init__(model, 10, output)
        self.fail_at, self.queries, self.lists = fail_at, 0, 0

    def recommend(self, sequences):
        if self.queries == self.fail_at:
            raise CutOffError
        self.queries += 1
        self.lists += len(sequences)
        return super().recommend(sequences)


@pytest.fixture
def attack(make_model, make_config, tmp_path):
    """Query a service behind a defense: `log, box, service = attack("random", "folder")`."""

    def start(name, folder, model="NARM", strategy="autoregressive", fail_at=None):
        defense = create_defense(name, make_config(model, served_k=10, head_k=4))
        service = CountingService(make_model(model), defense.answer, fail_at)
        box = CachedBlackBox(service, tmp_path / folder, defense)
        init_seed(5, True)
        log = create_query_strategy(strategy).query(box, 12, 7, torch.Generator().manual_seed(1), False)
        return log, box, service

    return start


@pytest.mark.parametrize(
    ("name", "model", "strategy"),
    [
        ("none", "NARM", "autoregressive"),
        ("random", "BERT4Rec", "autoregressive"),
        ("tail_random+random", "NARM", "autoregressive"),
        ("none", "NARM", "random"),
    ],
)
def test_interrupted_queries_end_with_the_same_log(attack, caplog, name, model, strategy):
    caplog.set_level("INFO")
    caplog.clear()  # an earlier test may have left the log open
    whole, box, _ = attack(name, "whole", model, strategy)
    assert len(re.findall(r"query \d answered", caplog.text)) == 7
    with pytest.raises(CutOffError):
        attack(name, "cut", model, strategy, fail_at=2)
    with pytest.raises(CutOffError):
        attack(name, "cut", model, strategy, fail_at=3)
    log, resumed, service = attack(name, "cut", model, strategy)
    assert torch.equal(log.sequences, whole.sequences)
    assert torch.equal(log.lists, whole.lists)
    assert service.queries == 2
    assert (resumed.lists_returned, resumed.queries_answered) == (box.lists_returned, box.queries_answered) == (84, 7)
    again, _, service = attack(name, "cut", model, strategy)
    assert torch.equal(again.lists, whole.lists)
    assert service.queries == 0


def test_a_service_with_sessions_resumes_after_cached_responses(make_model):
    sequences = torch.randint(1, 31, (40, 8), generator=torch.Generator().manual_seed(4))
    seen = {"whole": [], "resumed": []}
    for name, scores in seen.items():

        def recorded(ranked, query, scores=scores):
            scores.append(query.scores)
            return ranked

        service = Service(make_model("GRU4Rec"), 10, recorded)
        with mock.patch.object(service.scorer.gru, "forward", wraps=service.scorer.gru.forward) as read:
            for t in range(1, 9):
                (service.follow if name == "resumed" and t < 5 else service.recommend)(sequences[:, :t])
        # one item per query: whole histories could give scores that differ in the last bits
        assert [call.args[0].shape[1] for call in read.call_args_list] == [1] * 8
    assert len(seen["resumed"]) == 4
    assert all(map(torch.equal, seen["whole"][4:], seen["resumed"]))


def test_cached_responses_to_other_queries_are_refused(attack):
    attack("none", "folder")
    with pytest.raises(UserError, match="holds the response to another query"):
        attack("none", "folder", strategy="random")


def test_a_file_that_was_being_written_is_not_read(attack, make_loaders, tmp_path):
    whole, _, _ = attack("none", "whole")
    with pytest.raises(CutOffError):
        attack("none", "cut", fail_at=3)
    (tmp_path / "cut" / "000003.pth.part").write_bytes(b"half a file")
    log, _, _ = attack("none", "cut")
    assert torch.equal(log.lists, whole.lists)

    _, fit = started(TRAININGS["NARM"], make_loaders, tmp_path / "run", 1)
    with cut_off_in_epoch(2):
        fit()
    kept = tmp_path / "run" / "resume" / "target.pth"
    (tmp_path / "run" / "resume" / "target.pth.part").write_bytes(kept.read_bytes()[:1000])
    resumed, fit = started(TRAININGS["NARM"], make_loaders, tmp_path / "run", 1)
    fit()
    assert resumed.start_epoch == 2


def test_a_part_whose_state_cannot_be_saved_is_named(make_loaders, tmp_path):
    trainer, train_with = gro(GROTrainer)(make_loaders, tmp_path)
    rule = type("OwnRule", (type(trainer.swap_rule),), {"state_dict": lambda self: {"f": lambda: 0}})
    trainer.swap_rule.__class__ = rule
    with pytest.raises(UserError, match=r"^state_dict of OwnRule holds other than plain values and tensors"):
        train_with()
    assert not [*(tmp_path / "resume").glob("*")]
