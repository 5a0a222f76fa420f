import copy
import os
import threading

import pytest
import torch
from conftest import read_by
from pipeline import files_below, same_weights, scalars, untrained, weights_of
from recbole.trainer import S3RecTrainer, Trainer
from recbole.utils import ModelType

from recbole_gro import Config, ExtractionTrainer, GROTrainer, UserError, get_trainer, register_trainer
from recbole_gro.trainer import base as trainer_module
from recbole_gro.trainer.base import TargetTrainer


@pytest.fixture
def make_trainer(make_loaders, tmp_path):
    """Make a trainer of plain training with its data: `trainer, train, valid, test = make_trainer("NARM")`."""

    def make(model="NARM", cls=TargetTrainer, **settings):
        brief = {"epochs": 2, "eval_step": 1, "output_dir": str(tmp_path / "run"), **read_by(model, n_layers=1)}
        settings = {**brief, **settings}
        config, *loaders = make_loaders(model, **settings)
        return cls(config, untrained(config, loaders[0])), *loaders

    return make


def test_trainers_of_the_same_second_have_files_of_their_own(make_trainer, tmp_path):
    settings = {"output_dir": None, "checkpoint_dir": str(tmp_path / "saved")}
    files = {make_trainer(**settings)[0].saved_model_file for _ in range(3)}
    assert len(files) == 3
    assert {name[: len("NARM-")] for name in map(os.path.basename, files)} == {"NARM-"}


def test_trainers_of_two_processes_of_the_same_second_have_files_of_their_own(make_trainer, tmp_path, monkeypatch):
    monkeypatch.setattr("recbole.trainer.trainer.get_local_time", lambda: "now")
    files = set()
    for process in (1, 2):
        monkeypatch.setattr("recbole_gro.trainer.base._files", set())
        monkeypatch.setattr(os, "getpid", lambda process=process: process)
        files.add(make_trainer(output_dir=None, checkpoint_dir=str(tmp_path / "saved"))[0].saved_model_file)
    assert len(files) == 2


@pytest.mark.parametrize(
    ("call", "expected"),
    [
        (("gro",), GROTrainer),
        (("extraction",), ExtractionTrainer),
        (("target",), TargetTrainer),
        ((ModelType.SEQUENTIAL, "gro"), GROTrainer),
        ((ModelType.SEQUENTIAL, "extraction"), ExtractionTrainer),
        ((ModelType.SEQUENTIAL, "BERT4Rec"), Trainer),
        ((ModelType.SEQUENTIAL, "S3Rec"), S3RecTrainer),
        (("S3Rec",), S3RecTrainer),
        (("NARM",), Trainer),
    ],
)
def test_get_trainer(call, expected):
    assert get_trainer(*call) is expected


@pytest.mark.parametrize(("name", "meant"), [("GRO", "gro"), ("gro_decoy", "gro_decoys"), ("Narm", "NARM")])
def test_a_name_of_no_trainer_and_no_model_is_refused(name, meant):
    with pytest.raises(UserError, match=rf"unknown trainer or sequential model '{name}'\. Did you mean '{meant}'\?"):
        get_trainer(name)


def test_a_registered_trainer_is_found(monkeypatch):
    monkeypatch.setattr(trainer_module._trainers, "_entries", dict(trainer_module._trainers._entries))

    @register_trainer("own")
    class Own(Trainer): ...

    assert get_trainer(ModelType.SEQUENTIAL, "own") is Own


def test_a_name_is_registered_once():
    with pytest.raises(ValueError, match="'gro' is registered already"):
        register_trainer("gro")(Trainer)
    assert get_trainer("gro") is GROTrainer


def test_checkpoint_is_plain_data(make_trainer):
    trainer, train, valid, _ = make_trainer()
    trainer.fit(train, valid)
    checkpoint = torch.load(trainer.saved_model_file, weights_only=True)
    assert checkpoint["config"]["model"] == "NARM"
    assert checkpoint["config"]["dataset"] == "tiny"
    assert type(checkpoint["best_valid_score"]) is float
    assert Config(config_dict=checkpoint["config"])["hidden_size"] == trainer.config["hidden_size"]


@pytest.mark.parametrize("model", ["NARM", "BERT4Rec"])
def test_best_weights_are_loaded_by_recboles_evaluate(make_trainer, model):
    trainer, train, valid, test = make_trainer(model)
    trainer.fit(train, valid)
    trainer.load_saved()
    expected = trainer.evaluate(test, load_best_model=False)
    with torch.no_grad():
        for weights in trainer.model.parameters():
            weights.add_(torch.randn_like(weights))
    assert trainer.evaluate(test, load_best_model=False) != expected
    assert trainer.evaluate(test, load_best_model=True) == expected
    assert trainer.evaluate(test, load_best_model=True, model_file=trainer.saved_model_file) == expected


@pytest.mark.parametrize("model", ["BERT4Rec", "GRU4Rec", "SASRec", "NARM", "CORE", "FPMC"])
def test_metrics_are_those_of_recboles_evaluation(make_trainer, model):
    trainer, train, valid, test = make_trainer(model, topk=[1, 3, 5], epochs=4)
    trainer.fit(train, valid)
    recboles = Trainer(trainer.config, trainer.model)
    expected = [recboles.evaluate(rows, load_best_model=False) for rows in (valid, test)]
    assert [trainer.evaluate(rows, load_best_model=False) for rows in (valid, test)] == expected
    assert any(value for metrics in expected for value in metrics.values())


@pytest.mark.parametrize("cls", [TargetTrainer, Trainer])
def test_training_resumes(make_trainer, cls, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    trainer, train, valid, _ = make_trainer(epochs=1)
    trainer.fit(train, valid)
    resumed = cls(copy.copy(trainer.config), untrained(trainer.config, train, seed=6))
    resumed.resume_checkpoint(trainer.saved_model_file)
    assert resumed.start_epoch == 1
    assert resumed.best_valid_score == trainer.best_valid_score
    assert same_weights(weights_of(resumed.model), weights_of(trainer.model))
    states = resumed.optimizer.state_dict()["state"], trainer.optimizer.state_dict()["state"]
    assert states[0].keys() == states[1].keys()
    assert all(torch.equal(states[0][i]["exp_avg"], states[1][i]["exp_avg"]) for i in states[0])
    resumed.epochs = 2
    resumed.fit(train, valid)
    assert list(resumed.train_loss_dict) == [1]


def test_best_epoch_is_saved(make_trainer, monkeypatch):
    scores = iter([0.2, 0.9, 0.4])
    seen = []
    trainer, train, valid, _ = make_trainer(epochs=3)

    def scored(self, data, show_progress=False):
        seen.append(weights_of(self.model))
        return next(scores), {}

    monkeypatch.setattr(Trainer, "_valid_epoch", scored)
    trainer.fit(train, valid)
    trainer.load_saved()
    assert same_weights(weights_of(trainer.model), seen[1])
    assert not same_weights(seen[1], seen[2])


def test_all_files_are_in_the_output_folder(make_trainer, tmp_path, monkeypatch):
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    trainer, train, valid, _ = make_trainer(cls=lambda *args: TargetTrainer(*args, stage="first"))
    trainer.fit(train, valid)
    assert files_below(".") == []
    assert (tmp_path / "run" / "first.pth").is_file()
    assert len(scalars(tmp_path / "run" / "tensorboard" / "first")["Loss/Train"]) == 2


def test_without_an_output_folder_files_are_where_recbole_puts_them(make_trainer, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    trainer, train, valid, _ = make_trainer(output_dir=None, checkpoint_dir="checkpoints")
    trainer.fit(train, valid)
    assert [name.split("-")[0] for name in files_below("checkpoints")] == ["NARM"]
    assert files_below("log_tensorboard")


@pytest.mark.parametrize("settings", [{}, {"output_dir": None}])
def test_no_thread_outlives_a_fit(make_trainer, tmp_path, monkeypatch, settings):
    monkeypatch.chdir(tmp_path)
    before = threading.enumerate()
    trainer, train, valid, _ = make_trainer(**settings)
    assert threading.enumerate() == before
    trainer.fit(train, valid)
    trainer.epochs = 3
    trainer.fit(train, valid)  # once more, as GRO does after plain training
    assert threading.enumerate() == before
    trainer, train, valid, _ = make_trainer(cls=diverging(TargetTrainer, float("nan"), epoch=0, batch=1), **settings)
    with pytest.raises(UserError):
        trainer.fit(train, valid)
    assert threading.enumerate() == before


@pytest.mark.parametrize(
    ("scores", "improving"),
    [([1, 2, 3, 4], True), ([4, 3, 2], True), ([4, 3, 2, 1], False), ([1, 2, 1, 1], True), ([2, 1, 1, 1, 5], False)],
)
def test_a_target_is_still_improving_until_early_stopping(make_trainer, monkeypatch, scores, improving):
    given = iter(scores)
    monkeypatch.setattr(Trainer, "_valid_epoch", lambda *_, **__: (next(given), {}))
    trainer, train, valid, _ = make_trainer(epochs=len(scores), stopping_step=2)
    assert not trainer.still_improving
    trainer.fit(train, valid)
    assert trainer.still_improving is improving


def test_without_validation_no_target_is_still_improving(make_trainer):
    trainer, train, *_ = make_trainer()
    trainer.fit(train)
    assert not trainer.still_improving


def test_a_checkpoint_holds_the_tokens_in_the_order_of_the_embeddings(make_trainer):
    trainer, train, valid, _ = make_trainer("FPMC")
    trainer.fit(train, valid)
    stored, dataset = torch.load(trainer.saved_model_file, weights_only=True)["catalogue"], train._dataset
    for tokens, field in (("item_tokens", "item_id"), ("user_tokens", "user_id")):
        assert stored[tokens][0] == "[PAD]"
        assert stored[tokens][1:] == dataset.id2token(field, range(1, dataset.num(field))).tolist()
    assert (stored["n_items"], stored["n_users"]) == (31, 41)
    assert stored["features"] == {}


def test_progress_bar_counts_every_batch(make_trainer, monkeypatch, on_terminal):
    on_terminal(80)
    totals = []
    trainer, train, valid, _ = make_trainer(epochs=2)
    shown = trainer_module.progress_bar

    def kept(stage, total, unit, visible, **options):
        bar = shown(stage, total, unit, visible, **options)
        totals.append((stage, total, bar))
        return bar

    monkeypatch.setattr(trainer_module, "progress_bar", kept)
    trainer.fit(train, valid, show_progress=True)
    [(stage, total, bar)] = totals
    assert stage == "target: trains"
    assert bar.n == total == 2 * len(train)


def diverging(cls, value, epoch, batch):
    """Return a trainer whose loss is `value` in one batch (from 1) of one epoch."""

    class Diverging(cls):
        def stage_loss(self, interaction):
            loss = super().stage_loss(interaction)
            if (self.epoch, self.batch) != (epoch, batch):
                return loss
            return (*loss[:-1], loss[-1] * value) if isinstance(loss, tuple) else loss * value

    return Diverging


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_loss_that_is_nan_or_infinite_stops_training_and_leaves_the_best_epoch(make_trainer, value):
    trainer, train, valid, _ = make_trainer(cls=diverging(TargetTrainer, value, epoch=1, batch=2), epochs=3)
    said = rf"^target: epoch 1, batch 2: the loss is {value}, so it stopped; .*target\.pth keeps the best epoch"
    with pytest.raises(UserError, match=said) as caught:
        trainer.fit(train, valid)
    assert "\n" not in str(caught.value)
    kept = torch.load(trainer.saved_model_file)
    assert kept["epoch"] == 0
    assert all(bool(weights.isfinite().all()) for weights in kept["state_dict"].values())


def test_a_loss_of_gro_that_is_nan_stops_training(make_trainer):
    trainer, train, valid, _ = make_trainer(cls=diverging(GROTrainer, float("nan"), epoch=1, batch=1), gro_epochs=3)
    with pytest.raises(UserError, match=r"^target-gro: epoch 1, batch 1: the loss is nan, so it stopped; try a small"):
        trainer.fit_gro(train, valid)


def test_weights_that_are_nan_or_infinite_are_not_saved(make_trainer):
    trainer, *_ = make_trainer()
    trainer._save_checkpoint(0, verbose=False)
    with torch.no_grad():
        next(trainer.model.parameters()).view(-1)[0] = torch.inf
    with pytest.raises(UserError, match=r"^target: epoch 4: its last step left weights that are NaN or infinite"):
        trainer._save_checkpoint(4, verbose=False)
    assert torch.load(trainer.saved_model_file)["epoch"] == 0


def test_several_processes_are_refused(make_config):
    with pytest.raises(UserError, match="nproc: 2 is not supported") as error:
        make_config(nproc=2)
    assert "\n" not in str(error.value)
