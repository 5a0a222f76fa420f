import contextlib
import os
import pickle
import random
import shutil
import sys

import numpy as np
import pytest
import torch
from pipeline import untrained
from recbole.evaluator.register import metric_information, metric_types
from recbole.model.sequential_recommender import NARM, BERT4Rec
from recbole.utils import EvaluatorType

from recbole_gro import (
    BlackBox,
    ExtractionTrainer,
    QueryLog,
    Service,
    UserError,
    create_scorer,
    create_surrogate,
    load_target,
)
from recbole_gro.config.models import copied_model
from recbole_gro.data import build_loaders
from recbole_gro.evaluator import evaluate_service
from recbole_gro.trainer.base import TargetTrainer


class Harmful:
    """Make a folder when it is unpickled."""

    def __init__(self, folder):
        self.folder = folder

    def __reduce__(self):
        return os.mkdir, (str(self.folder),)


@pytest.fixture(params=["BERT4Rec", "NARM"])
def saved(request, make_loaders, tmp_path, monkeypatch):
    """Return the checkpoint of a target and the model that it holds."""
    monkeypatch.chdir(tmp_path)
    return trained(make_loaders, request.param, output_dir=str(tmp_path))


def trained(make_loaders, model, **settings):
    """Train a target for one epoch; return its checkpoint and model."""
    config, train, valid, _ = make_loaders(model, **settings)
    trainer = TargetTrainer(config, untrained(config, train))
    trainer.fit(train, valid, verbose=False)
    return trainer.saved_model_file, trainer.model


def served(target):
    """Return the list that a target serves for each item of the tiny data, in tokens."""
    items = [f"i{item}" for item in range(30)]
    return dict(zip(items, target.recommend([[item] for item in items], k=10), strict=True))


def of_an_earlier_version(file):
    """Remove the tokens from a checkpoint, and return it."""
    checkpoint = torch.load(file)
    del checkpoint["catalogue"]
    torch.save(checkpoint, file)
    return file


def test_loaded_target_serves_the_lists_of_the_saved_one(saved):
    file, model = saved
    queries = [[1, 2, 3], [7], [9, 8, 7, 6, 5, 4, 3, 2, 1]]
    assert torch.equal(load_target(file).recommend(queries, k=5), BlackBox(model, k=5).query(queries))


class OwnModel(NARM):
    """A model outside RecBole."""


def test_a_model_outside_recbole_is_loaded_with_its_class_alone(make_loaders, tmp_path, monkeypatch):
    config, train, _, _ = make_loaders(OwnModel, embedding_size=16, output_dir=str(tmp_path), student_model=OwnModel)
    trainer = TargetTrainer(config, untrained(config, train))
    trainer.fit(train, verbose=False)
    served = BlackBox(trainer.model, k=5).query([[1, 2]])
    assert torch.equal(load_target(trainer.saved_model_file).recommend([[1, 2]], k=5), served)  # its module is imported
    monkeypatch.delitem(sys.modules, __name__)
    needed = rf"made by {__name__}:OwnModel, .* RecBole; give --plugins={__name__}, .*load_target\(file, model=OwnM"
    with pytest.raises(UserError, match=needed):
        load_target(trainer.saved_model_file)
    loaded = load_target(trainer.saved_model_file, OwnModel)
    assert torch.equal(loaded.recommend([[1, 2]], k=5), served)


def test_a_subclass_is_loaded_as_itself_where_the_config_names_its_base(make_loaders, tmp_path):
    config, train, _, _ = make_loaders("NARM", output_dir=str(tmp_path))
    trainer = TargetTrainer(config, OwnModel(config, train._dataset))
    trainer._save_checkpoint(0, verbose=False)
    loaded = load_target(trainer.saved_model_file)
    assert type(loaded.model) is OwnModel
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


def test_a_checkpoint_of_another_model_names_both_models(saved):
    file, model = saved
    trained, given = (BERT4Rec, NARM) if isinstance(model, BERT4Rec) else (NARM, BERT4Rec)
    with pytest.raises(UserError) as caught:
        load_target(file, given)
    assert f"holds a {trained.__name__}, which does not fit the model {given.__name__} that" in str(caught.value)
    assert "dataset" not in str(caught.value)


def test_a_checkpoint_cannot_have_a_module_imported(make_loaders, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "trap.py").write_text("import pathlib\npathlib.Path('imported').touch()\n")
    config, train, _, _ = make_loaders("NARM", output_dir=str(tmp_path))
    trainer = TargetTrainer(config, untrained(config, train))
    trainer._save_checkpoint(0, verbose=False)
    checkpoint = torch.load(trainer.saved_model_file)
    for settings in ({"surrogate_model": "trap:X"}, {"student_model": "trap:X"}, {"model": "trap:X"}):
        torch.save({**checkpoint, "config": {**checkpoint["config"], **settings}}, "crafted.pth")
        with contextlib.suppress(UserError):
            load_target("crafted.pth")
        assert not (tmp_path / "imported").exists()


def test_a_plugin_that_its_settings_need_is_named(saved, monkeypatch):
    file, _ = saved
    checkpoint = torch.load(file)
    checkpoint["config"] |= {"plugins": ["my_metrics"], "metrics": ["Hit", "NDCG", "Novelty"]}
    torch.save(checkpoint, file)
    with pytest.raises(UserError, match=r"made with the plugins my_metrics; give --plugins=\[my_metrics\], .* \("):
        load_target(file)
    monkeypatch.setitem(metric_types, "novelty", EvaluatorType.RANKING)
    monkeypatch.setitem(metric_information, "novelty", ["rec.topk"])
    assert load_target(file).recommend([[1, 2]], k=5).shape == (1, 5)


def test_k_beyond_the_catalogue_is_named_as_the_caller_named_it(saved):
    with pytest.raises(UserError, match=r"^k: 500 is no number of items between 1 and the 30 of the catalogue"):
        load_target(saved[0]).recommend([[1, 2]], k=500)


def test_loaded_target_can_be_evaluated_and_trained_further(saved, tiny_data_path):
    target = load_target(saved[0], data_path=tiny_data_path)
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


def test_tokens_in_tokens_out(saved, tiny_data_path):
    target = load_target(saved[0], data_path=tiny_data_path)
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
    with pytest.raises(UserError, match=r"other\.pth is (damaged or )?not a checkpoint") as error:
        load_target(tmp_path / "other.pth")
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            lambda stored: stored["catalogue"].pop("n_items"),
            "is damaged: its catalogue is to have features, item_tokens,",
        ),
        (lambda stored: stored.update(catalogue=5), "is damaged: its catalogue is to have"),
        (lambda stored: stored["catalogue"].update(n_items="x"), r"\w+ cannot be built from it: TypeError "),
        (lambda stored: stored.update(other_parameter=5), r"\w+ cannot be built from it: AttributeError 'int' object"),
    ],
)
def test_a_damaged_checkpoint_is_refused_in_words(saved, tmp_path, change, message):
    stored = torch.load(saved[0])
    change(stored)
    torch.save(stored, tmp_path / "damaged.pth")
    with pytest.raises(UserError, match=rf"damaged\.pth:? {message}"):
        load_target(tmp_path / "damaged.pth")


def test_a_folder_that_lacks_the_data_is_refused(saved, tmp_path):
    with pytest.raises(UserError, match=f"data_path: there is no folder {tmp_path}/nowhere/tiny"):
        load_target(saved[0], data_path=tmp_path / "nowhere")


@pytest.mark.parametrize("writer", [torch.save, lambda trap, file: file.write_bytes(pickle.dumps(trap))])
def test_crafted_file_is_refused_and_not_executed(tmp_path, writer):
    file, made = tmp_path / "trap.pth", tmp_path / "made"
    writer({"config": Harmful(made), "state_dict": {}} if writer is torch.save else Harmful(made), file)
    with pytest.raises(UserError, match=r"trap\.pth is damaged or not a checkpoint"):
        load_target(file)
    assert not made.exists()


def test_truncated_file_is_refused(saved, tmp_path):
    cut = tmp_path / "cut.pth"
    with open(saved[0], "rb") as whole:
        cut.write_bytes(whole.read()[:5000])
    with pytest.raises(UserError, match=r"cut\.pth"):
        load_target(cut)


def test_other_data_of_the_same_name_are_refused(saved, tiny_data_path, tmp_path):
    checkpoint = torch.load(saved[0])
    fewer = tmp_path / "other" / "tiny"
    fewer.mkdir(parents=True)
    lines = (tiny_data_path / "tiny" / "tiny.inter").read_text().splitlines()
    (fewer / "tiny.inter").write_text("\n".join(lines[:21]) + "\n")
    del checkpoint["catalogue"]
    file = tmp_path / "moved.pth"
    torch.save(checkpoint, file)
    with pytest.raises(UserError, match="does not fit dataset tiny"):
        load_target(file, data_path=fewer.parent)


def test_a_sequence_in_place_of_a_list_of_sequences_is_refused(saved):
    target = load_target(saved[0])
    for query in (["i3", "i4"], "i3", [3, 4], None, 3, [[3], None], [{"i3", "i4"}], [{"i3": 5}]):
        with pytest.raises(UserError, match="expected a list of sequences"):
            target.recommend(query)


def test_sequences_may_come_from_a_generator(saved):
    target = load_target(saved[0])
    rows = [["i3", "i4"], ["i5"]]
    assert target.recommend(row for row in rows) == target.recommend(rows)
    assert torch.equal(target.recommend(iter([[3, 4], [5]])), target.recommend([[3, 4], [5]]))


def test_a_checkpoint_of_an_earlier_version_is_loaded_with_its_data(
    make_loaders, tiny_data_path, tmp_path, monkeypatch
):
    monkeypatch.chdir(tiny_data_path.parent)
    file, _ = trained(make_loaders, "NARM", data_path=tiny_data_path.name, output_dir=str(tmp_path))
    monkeypatch.chdir(tmp_path)
    expected = served(load_target(file))
    target = load_target(of_an_earlier_version(file))
    assert served(target) == expected
    assert target.dataset.item_num == 31
    shutil.copy(file, "moved.pth")
    checkpoint = torch.load("moved.pth")
    checkpoint["config"]["data_path"] = "nowhere"
    torch.save(checkpoint, "moved.pth")
    with pytest.raises(UserError, match=r"moved\.pth: made by an earlier version, it holds no item tokens; give"):
        load_target("moved.pth")
    assert served(load_target("moved.pth", data_path=tiny_data_path)) == expected


def changed_data(folder, source, change):
    """Write the tiny data with changed lines into another folder, and return it."""
    head, *lines = (source / "tiny" / "tiny.inter").read_text().splitlines()
    (folder / "tiny").mkdir(parents=True)
    (folder / "tiny" / "tiny.inter").write_text("\n".join([head, *change(lines)]) + "\n")
    return folder


CHANGES = {
    "sorted by time": lambda lines: sorted(lines, key=lambda line: int(line.split("\t")[2])),
    "backwards": lambda lines: lines[::-1],
    "a user in front": lambda lines: [f"new\ti{item}\t{clock}" for clock, item in enumerate((17, 3, 9, 1))] + lines,
    "an item less": lambda lines: [line for line in lines if "\ti4\t" not in line],
}


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("model", ["NARM", "FPMC"])
def test_data_with_another_numbering_take_the_ids_of_the_model(make_loaders, tiny_data_path, tmp_path, model, change):
    file, _ = trained(make_loaders, model, output_dir=str(tmp_path / "run"))
    before = load_target(file, data_path=tiny_data_path)
    moved = load_target(file, data_path=changed_data(tmp_path / "moved", tiny_data_path, CHANGES[change]))
    assert served(moved) == served(before) == served(load_target(file))
    assert moved.recommend([[5, 6]], k=9).tolist() == before.recommend([[5, 6]], k=9).tolist()
    for field in ("item_id", "user_id"):
        known = before.dataset.field2id_token[field].tolist()
        assert moved.dataset.field2id_token[field].tolist()[: len(known)] == known
    # every user's history is that of the file
    built, *_ = moved.dataset.build()
    users, items = (moved.dataset.id2token(field, built.history[field]) for field in ("user_id", "item_id"))
    histories = {}
    for user, item in zip(users.tolist(), items.tolist(), strict=True):
        histories.setdefault(user, []).append(item)
    lines = CHANGES[change]((tiny_data_path / "tiny" / "tiny.inter").read_text().splitlines()[1:])
    expected = {}
    for user, item, _ in sorted((line.split("\t") for line in lines), key=lambda row: int(row[2])):
        expected.setdefault(user, []).append(item)
    assert histories == expected


def test_data_with_an_unknown_item_are_refused(saved, tiny_data_path, tmp_path):
    data = changed_data(tmp_path / "moved", tiny_data_path, lambda lines: ["u1\tunheard\t99", *lines])
    with pytest.raises(
        UserError, match=r"^data_path: tiny in .*moved.*: item 'unheard' is unknown to the model \(1 of"
    ) as error:
        load_target(saved[0], data_path=data)
    assert "\n" not in str(error.value)


def test_it_serves_without_the_data(make_loaders, tiny_data_path, tmp_path, monkeypatch):
    data = tmp_path / "data"
    shutil.copytree(tiny_data_path, data)
    file, _ = trained(make_loaders, "BERT4Rec", data_path=str(data), output_dir=str(tmp_path / "run"))
    expected = served(load_target(file, data_path=data))
    shutil.rmtree(data)
    monkeypatch.chdir(tmp_path / "run")
    target = load_target("target.pth")
    assert target.dataset is None
    assert served(target) == expected
    with pytest.raises(UserError, match="tiny"):
        load_target("target.pth", data_path=data)


FEATURES = {"load_col": {"inter": ["user_id", "item_id", "timestamp"], "item": ["item_id", "class", "size"]}}


@pytest.mark.parametrize("model", ["GRU4RecF", "SASRecF", "FDSA"])
def test_a_model_of_item_features_serves_without_the_data(make_loaders, tiny_data_path, tmp_path, model):
    data = tmp_path / "data"
    shutil.copytree(tiny_data_path, data)
    rows = [f"i{item}\tkind{item % 4} all\t{item / 2}" for item in range(30)]
    table = data / "tiny" / "tiny.item"
    table.write_text("\n".join(["item_id:token\tclass:token_seq\tsize:float", *rows]) + "\n")
    given = {"data_path": str(data), "selected_features": ["class", "size"], "numerical_features": ["size"], **FEATURES}
    file, trained_model = trained(make_loaders, model, output_dir=str(tmp_path / "run"), **given)
    expected = BlackBox(trained_model, k=5).query([[1, 2, 3], [30]])
    assert torch.equal(load_target(file).recommend([[1, 2, 3], [30]], k=5), expected)
    # classes and items in another order
    table.write_text("\n".join(["item_id:token\tclass:token_seq\tsize:float", *rows[::-1]]) + "\n")
    target = load_target(file, data_path=data)
    assert torch.equal(target.recommend([[1, 2, 3], [30]], k=5), expected)
    item = target.item_tokens.index("i29")
    assert target.dataset.item_feat["item_id"].tolist() == list(range(31))
    assert target.dataset.id2token("class", target.dataset.item_feat["class"][item][0]) == "kind1"


def test_a_model_that_reads_rows_in_training_can_be_trained_further(make_loaders, tiny_data_path, tmp_path):
    file, _ = trained(make_loaders, "FEARec", n_layers=2, n_heads=2, hidden_size=16, output_dir=str(tmp_path))
    target = load_target(file, data_path=tiny_data_path)
    train, *_ = build_loaders(target.config, target.dataset)
    losses = create_scorer(copied_model(target.model)).loss(next(iter(train)))
    assert all(loss.isfinite() for loss in (losses if isinstance(losses, tuple) else (losses,)))


class NeedsCounts(NARM):
    """A model outside RecBole that reads what no checkpoint holds."""

    def __init__(self, config, dataset):
        super().__init__(config, dataset)
        self.popular = len(dataset.item_counter) + len(dataset.inter_feat)


def test_a_model_that_reads_more_of_the_data_needs_data_path(make_loaders, tiny_data_path, tmp_path):
    file, model = trained(make_loaders, NeedsCounts, embedding_size=16, output_dir=str(tmp_path))
    with pytest.raises(UserError, match="data_path: NeedsCounts reads item_counter of the data, which no checkpoint"):
        load_target(file, NeedsCounts)
    assert load_target(file, NeedsCounts, data_path=tiny_data_path).model.popular == model.popular


def test_a_surrogate_serves_ids_and_no_tokens(make_config, tmp_path, tiny_data_path):
    config = make_config("NARM", output_dir=str(tmp_path), surrogate_epochs=1)
    surrogate, its_config = create_surrogate(config, 31)
    trainer = ExtractionTrainer(its_config, surrogate)
    lists = torch.rand(20, 6, 30, generator=torch.Generator().manual_seed(2)).argsort(2)[:, :, :5] + 1
    trainer.fit(*trainer.loaders(QueryLog(torch.randint(1, 31, (20, 6)), lists)))
    target = load_target(trainer.saved_model_file)
    assert torch.equal(target.recommend([[1, 2]], k=5), BlackBox(trainer.model, k=5).query([[1, 2]]))
    with pytest.raises(UserError, match="holds no item tokens; give item ids"):
        target.recommend([["i3"]])
    with pytest.raises(UserError, match=r"data_path: .* holds no item tokens, so no data can be matched to it"):
        load_target(trainer.saved_model_file, data_path=tiny_data_path)
    target.item_tokens = ["[PAD]", *(f"i{30 - item}" for item in range(30))]  # item 1 is i30
    assert target.recommend([["i30", "i29"]], k=5) == [
        [f"i{31 - item}" for item in target.recommend([[1, 2]], k=5)[0].tolist()]
    ]


def test_item_tokens_that_are_set_again_are_those_of_items_from_then_on(saved):
    target = load_target(saved[0])
    lists, padding, own = target.recommend([["i3", "i4"]], k=5), target.item_tokens[0], target.item_tokens[1:]
    target.item_tokens = [padding, *(token.upper() for token in own)]
    assert target.recommend([["I3", "I4"]], k=5) == [[token.upper() for token in lists[0]]]
    for other in (own, [padding, *own, "I30"]):
        target.item_tokens = other
        with pytest.raises(UserError, match=f"item_tokens: {len(other)} with padding, but the model has 31"):
            target.recommend([["i3", "i4"]], k=5)


def test_the_state_of_the_process_stays_unchanged(saved, tiny_data_path, monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "5,6")
    torch.manual_seed(1), random.seed(1), np.random.seed(1)
    expected = torch.rand(2).tolist(), random.random(), np.random.rand()
    torch.manual_seed(1), random.seed(1), np.random.seed(1)
    load_target(saved[0])
    load_target(saved[0], data_path=tiny_data_path)
    assert (torch.rand(2).tolist(), random.random(), np.random.rand()) == expected
    assert os.environ["CUDA_VISIBLE_DEVICES"] == "5,6"


def test_the_device_is_chosen(saved):
    target = load_target(saved[0], device="cpu")
    assert target.config["device"] == next(target.model.parameters()).device == torch.device("cpu")
    assert target.config["use_gpu"] is False
    for device in ("gpu", "cuda:99", "meta"):
        with pytest.raises(UserError, match=f"device: torch has no '{device}' here"):
            load_target(saved[0], device=device)
