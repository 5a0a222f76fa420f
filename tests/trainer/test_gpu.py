"""A short pass of every trainer and a query on a CUDA device: `pytest -m gpu`."""

import pytest
import torch
from pipeline import untrained

from recbole_gro import (
    BlackBox,
    DecoyGROTrainer,
    ExtractionTrainer,
    GROTrainer,
    create_query_strategy,
    create_scorer,
    create_surrogate,
    load_target,
)
from recbole_gro.trainer.base import TargetTrainer

pytestmark = pytest.mark.gpu

GRO = {"gro_epochs": 2, "gro_steps": 1, "gro_head_k": 3, "clip_grad_norm": {"max_norm": 5}}
TRAINERS = {
    "target": (TargetTrainer, {}),
    "gro": (GROTrainer, GRO),
    "gro from scratch": (GROTrainer, {**GRO, "gro_start": "untrained"}),
    "gro, another student": (GROTrainer, {**GRO, "student_model": "GRU4Rec"}),
    "gro_decoys": (DecoyGROTrainer, GRO),
}


@pytest.fixture(params=["BERT4Rec", "SASRec", "GRU4Rec", "NARM"])
def on_gpu(request, make_loaders, tmp_path, monkeypatch):
    """Make a trainer of a model on the GPU with its data: `trainer, train, valid = on_gpu(TargetTrainer)`."""
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0")  # RecBole's Config sets it; afterwards it is what it was

    def make(trainer_class, **settings):
        given = {"use_gpu": True, "gpu_id": "0", "output_dir": str(tmp_path), "epochs": 2, "eval_step": 1, **settings}
        config, train, valid, _ = make_loaders(request.param, **given)
        config["resume_dir"] = str(tmp_path / "resume")
        assert config["device"].type == ("cuda" if given["use_gpu"] else "cpu")
        return trainer_class(config, untrained(config, train).to(config["device"])), train, valid

    return make


def is_sound(model):
    """Whether all weights are finite and on the GPU."""
    return all(weights.is_cuda and bool(weights.isfinite().all()) for weights in model.parameters())


@pytest.mark.parametrize("name", TRAINERS)
def test_a_trainer_trains_saves_and_resumes(on_gpu, name):
    trainer_class, settings = TRAINERS[name]
    trainer, train, valid = on_gpu(trainer_class, **settings)
    before = [weights.clone() for weights in trainer.model.parameters()]
    result = trainer.fit(train, valid)
    assert is_sound(trainer.model)
    assert not all(map(torch.equal, before, trainer.model.parameters()))
    finished, train, valid = on_gpu(trainer_class, **settings)
    assert finished.fit(train, valid) == result
    finished.load_saved()
    assert is_sound(finished.model)


@pytest.mark.parametrize("first", ["cuda", "cpu"])
def test_a_training_resumes_on_another_device(on_gpu, tmp_path, first):
    on_cpu = {"use_gpu": False, "gpu_id": None}
    for epochs, here in ((2, first == "cpu"), (3, first == "cuda")):
        trainer, train, _ = on_gpu(GROTrainer, **{**GRO, "gro_epochs": epochs}, **(on_cpu if here else {}))
        trainer.fit_gro(train)
        [file] = (tmp_path / "resume").glob("*.pth")
        torch.save({**torch.load(file, weights_only=True), "finished": False}, file)  # as if it had been cut off
    assert trainer.start_epoch == 2
    assert list(trainer.train_loss_dict) == [0, 1, 2]
    assert all(bool(weights.isfinite().all()) for weights in trainer.model.parameters())


def test_a_surrogate_is_extracted_from_a_service(on_gpu):
    trainer, *_ = on_gpu(TargetTrainer, surrogate_epochs=2, surrogate_batch_size=16)
    box = BlackBox(trainer.model, 5)
    log = create_query_strategy("autoregressive").query(box, 20, 6, torch.Generator().manual_seed(1))
    surrogate, config = create_surrogate(trainer.config, box.n_items)
    extraction = ExtractionTrainer(config, surrogate)
    loss, figures = extraction.fit(*extraction.loaders(log))
    assert is_sound(surrogate)
    assert loss == figures["loss"] > 0


def test_a_saved_target_serves_on_either_device(on_gpu):
    trainer, train, valid = on_gpu(TargetTrainer)
    trainer.fit(train, valid)
    sequences, lengths = torch.tensor([[1, 2, 3], [7, 0, 0], [9, 8, 0]]), torch.tensor([3, 1, 2])
    scores = {}
    for device in ("cuda:0", "cpu"):
        target = load_target(trainer.saved_model_file, device=device)
        assert next(target.model.parameters()).device == torch.device(device)
        assert target.recommend(sequences, k=5).shape == (3, 5)
        with torch.no_grad():
            scores[device] = create_scorer(target.model).next_item_scores(sequences.to(device), lengths.to(device))
    assert scores["cuda:0"].is_cuda
    # a GPU rounds otherwise
    assert torch.allclose(scores["cuda:0"].cpu(), scores["cpu"], atol=0.02)
