import contextlib
import os
import pickle

import pytest
import torch
from pipeline import untrained
from recbole.model.sequential_recommender import NARM, BERT4Rec

from recbole_gro import BlackBox, Service, UserError, load_target
from recbole_gro.data import build_loaders
from recbole_gro.evaluator import evaluate_service
from recbole_gro.trainer.base import TargetTrainer


class Trap:
    """Unpickling this makes a folder."""

    def __init__(self, folder):
        self.folder = folder

    def __reduce__(self):
        return os.mkdir, (str(self.folder),)


@pytest.fixture(params=["BERT4Rec", "NARM"])
def saved(request, make_loaders, tmp_path, monkeypatch):
    """A saved target and the model it holds."""
    monkeypatch.chdir(tmp_path)
    config, train, _, _ = make_loaders(request.param, output_dir=str(tmp_path))
    trainer = TargetTrainer(config, untrained(config, train))
    trainer._save_checkpoint(0, verbose=False)
    return trainer.saved_model_file, trainer.model


def test_loaded_target_answers_as_the_saved_one(saved):
    file, model = saved
    queries = [[1, 2, 3], [7], [9, 8, 7, 6, 5, 4, 3, 2, 1]]
    assert torch.equal(load_target(file).recommend(queries, k=5), BlackBox(model, k=5).query(queries))


class OwnModel(NARM):
    """A model outside RecBole."""


def test_a_model_of_ones_own_is_loaded_with_its_class_alone(make_loaders, tmp_path):
    config, train, _, _ = make_loaders(OwnModel, embedding_size=16, output_dir=str(tmp_path), student_model=OwnModel)
    trainer = TargetTrainer(config, untrained(config, train))
    trainer._save_checkpoint(0, verbose=False)
    with pytest.raises(
        UserError, match=r"made by .*:OwnModel, a model outside RecBole; .*load_target\(file, model=Own"
    ):
        load_target(trainer.saved_model_file)
    loaded = load_target(trainer.saved_model_file, OwnModel)
    assert torch.equal(loaded.recommend([[1, 2]], k=5), BlackBox(trainer.model, k=5).query([[1, 2]]))


class OwnWidth(NARM):
    """A model with a setting of its own."""

    def __init__(self, config, dataset):
        super().__init__(config, dataset)
        self.width = config["own_width"]


def test_settings_of_the_other_models_of_the_run_are_left_out(make_loaders, tmp_path):
    config, train, _, _ = make_loaders(
        "NARM", embedding_size=16, output_dir=str(tmp_path), student_model=OwnWidth, own_width=3
    )
    trainer = TargetTrainer(config, untrained(config, train))
    trainer._save_checkpoint(0, verbose=False)
    assert load_target(trainer.saved_model_file).config["own_width"] is None


def test_a_checkpoint_of_another_model_is_told_by_the_models(saved):
    file, model = saved
    trained, given = (BERT4Rec, NARM) if isinstance(model, BERT4Rec) else (NARM, BERT4Rec)
    with pytest.raises(UserError) as caught:
        load_target(file, given)
    assert f"holds a {trained.__name__}, which does not fit the model {given.__name__} that" in str(caught.value)
    assert "dataset" not in str(caught.value)


def test_a_checkpoint_cannot_have_a_module_imported(make_loaders, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "trap.py").write_text("import pathlib\npathlib.Path('sprung').touch()\n")
    config, train, _, _ = make_loaders("NARM", output_dir=str(tmp_path))
    trainer = TargetTrainer(config, untrained(config, train))
    trainer._save_checkpoint(0, verbose=False)
    checkpoint = torch.load(trainer.saved_model_file)
    for settings in ({"surrogate_model": "trap:X"}, {"student_model": "trap:X"}, {"model": "trap:X"}):
        torch.save({**checkpoint, "config": {**checkpoint["config"], **settings}}, "crafted.pth")
        with contextlib.suppress(UserError):
            load_target("crafted.pth")
        assert not (tmp_path / "sprung").exists()


def test_loaded_target_can_be_evaluated_and_trained_on(saved):
    target = load_target(saved[0])
    assert not target.model.training
    assert target.config["output_dir"] is None
    train, _, test = build_loaders(target.config, target.dataset)
    _, lists = evaluate_service(target.config, Service(target.model, 5), train, test, test)
    assert len(lists["test"]) == len(test._dataset)
    assert target.model.calculate_loss(next(iter(train))).isfinite()


def test_a_target_trained_on_a_gpu_is_loaded_where_there_is_none(saved):
    file, model = saved
    checkpoint = torch.load(file)
    del checkpoint["config"]["use_gpu"]
    torch.save({**checkpoint, "config": {**checkpoint["config"], "gpu_id": "63"}}, file)
    assert torch.equal(load_target(file).recommend([[1, 2]], k=5), BlackBox(model, k=5).query([[1, 2]]))


def test_tokens_in_tokens_out(saved):
    target = load_target(saved[0])
    [row] = target.recommend([["i3", "i4"]], k=4)
    ids = target.dataset.token2id("item_id", ["i3", "i4"])
    [expected] = target.recommend([ids.tolist()], k=4)
    assert target.dataset.token2id("item_id", row).tolist() == expected.tolist()


def test_unknown_token_is_named(saved):
    with pytest.raises(UserError, match="'nobody'"):
        load_target(saved[0]).recommend([["i3", "nobody"]])


def test_missing_file_is_named(tmp_path):
    with pytest.raises(UserError, match=r"absent\.pth: no such file"):
        load_target(tmp_path / "absent.pth")


@pytest.mark.parametrize("content", [[1, 2], {"state_dict": {}}, torch.ones(3), {"config": 5, "state_dict": {}}])
def test_other_plain_data_is_refused_in_one_line(tmp_path, content):
    torch.save(content, tmp_path / "other.pth")
    with pytest.raises(UserError, match=r"other\.pth: not a checkpoint") as error:
        load_target(tmp_path / "other.pth")
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("writer", [torch.save, lambda trap, file: file.write_bytes(pickle.dumps(trap))])
def test_crafted_file_is_refused_and_not_executed(tmp_path, writer):
    file, made = tmp_path / "trap.pth", tmp_path / "made"
    writer({"config": Trap(made), "state_dict": {}} if writer is torch.save else Trap(made), file)
    with pytest.raises(UserError, match=r"trap\.pth: not a checkpoint"):
        load_target(file)
    assert not made.exists()


def test_truncated_file_is_refused(saved, tmp_path):
    cut = tmp_path / "cut.pth"
    with open(saved[0], "rb") as whole:
        cut.write_bytes(whole.read()[:5000])
    with pytest.raises(UserError, match=r"cut\.pth"):
        load_target(cut)


def test_other_data_under_the_same_name_is_refused(saved, tiny_data_path, tmp_path):
    checkpoint = torch.load(saved[0])
    fewer = tmp_path / "other" / "tiny"
    fewer.mkdir(parents=True)
    lines = (tiny_data_path / "tiny" / "tiny.inter").read_text().splitlines()
    (fewer / "tiny.inter").write_text("\n".join(lines[:21]) + "\n")
    checkpoint["config"]["data_path"] = str(fewer.parent)
    file = tmp_path / "moved.pth"
    torch.save(checkpoint, file)
    with pytest.raises(UserError, match="does not fit dataset tiny"):
        load_target(file)


def test_brackets_forgotten_are_noticed(saved):
    target = load_target(saved[0])
    for query in (["i3", "i4"], "i3"):
        with pytest.raises(UserError, match="a list of sequences is wanted"):
            target.recommend(query)


def test_data_named_by_a_relative_path_is_found_from_another_folder(
    make_loaders, tiny_data_path, tmp_path, monkeypatch
):
    monkeypatch.chdir(tiny_data_path.parent)
    config, train, _, _ = make_loaders("NARM", data_path=tiny_data_path.name)
    config["output_dir"] = str(tmp_path)
    trainer = TargetTrainer(config, untrained(config, train))
    trainer._save_checkpoint(0, verbose=False)
    monkeypatch.chdir(tmp_path)
    assert load_target(trainer.saved_model_file).recommend([[1]], k=2).shape == (1, 2)
