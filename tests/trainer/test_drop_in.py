"""RecBole's own script with one line changed."""

import warnings

import pytest
import torch
from conftest import SMALL, WIDTHS
from recbole.config import Config
from recbole.data import create_dataset, data_preparation
from recbole.trainer import HyperTuning, Trainer
from recbole.utils import get_model, init_seed

from recbole_gro import (
    BlackBox,
    ExtractionTrainer,
    GROTrainer,
    UserError,
    create_query_strategy,
    create_surrogate,
    load_target,
)
from recbole_gro.data import build_dataset, build_loaders
from recbole_gro.defense.gro.trainer import create_student

PLUGIN_KEYS = {"gro_epochs": 2, "served_k": 6}


def own_loaders(config):
    return data_preparation(config, create_dataset(config))


@pytest.fixture
def script(tiny_data_path, tmp_path, monkeypatch):
    """RecBole's quick start, step by step: `config, loaders, model = script("NARM")`."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.argv", ["script.py"])

    def run(name="BERT4Rec", read=own_loaders, left_out=(), **settings):
        given = {key: value for key, value in SMALL.items() if key not in ("served_k", *left_out)}
        config = Config(
            model=name,
            dataset=settings.pop("dataset", "tiny"),
            config_dict={
                **given, **WIDTHS[name], "data_path": str(tiny_data_path), "checkpoint_dir": str(tmp_path / "saved"),
                "train_neg_sample_args": None, "metrics": ["Hit", "NDCG"], **settings,
            },
        )  # fmt: skip
        init_seed(config["seed"], True)
        loaders = read(config)
        return config, loaders, get_model(name)(config, loaders[0].dataset).to(config["device"])

    return run


@pytest.mark.parametrize("name", ["BERT4Rec", "NARM"])
def test_one_changed_line_trains_defends_and_evaluates(script, name):
    config, (train, valid, test), model = script(name, **PLUGIN_KEYS)
    before = torch.get_rng_state().shape
    trainer = GROTrainer(config, model)
    score, result = trainer.fit(train, valid)
    assert set(result) == {"hit@1", "hit@5", "ndcg@1", "ndcg@5"}
    assert score == result["ndcg@5"]
    # RecBole loads the saved epoch before it evaluates: the last of GRO, which the model holds already
    held = {key: value.clone() for key, value in model.state_dict().items()}
    assert trainer.evaluate(test) == Trainer(config, model).evaluate(test, load_best_model=False)
    assert all(torch.equal(held[key], value) for key, value in model.state_dict().items())
    assert torch.get_rng_state().shape == before
    # what it saves serves by tokens
    [ids], dataset = BlackBox(model, 3).query([[4]]).tolist(), train._dataset
    [tokens] = load_target(trainer.saved_model_file).recommend([[dataset.id2token("item_id", 4)]], k=3)
    assert tokens == dataset.id2token("item_id", ids).tolist()


def data_of(config):
    """The user's own rows behind RecBole's loaders, as the warning of rounded times says."""
    return data_preparation(config, build_dataset(config))


@pytest.mark.parametrize("name", ["BERT4Rec", "NARM"])
def test_our_dataset_has_recboles_rows_in_recboles_loaders(script, name):
    _, theirs, _ = script(name)
    _, ours, _ = script(name, data_of)
    for mine, its in zip(ours, theirs, strict=True):
        rows = [next(iter(loader)) for loader in (mine, its)]
        histories = [
            {tuple(row) for row in (b[0] if isinstance(b, tuple) else b)["item_id_list"].tolist()} for b in rows
        ]
        assert len(mine._dataset) == len(its._dataset)
        if mine is not ours[0]:
            assert histories[0] == histories[1]


def test_rows_that_recboles_loaders_cannot_read_are_refused(script):
    with pytest.raises(UserError, match=r"train_rows: sequences need recbole_gro.data.build_loaders"):
        script("NARM", data_of, train_rows="sequences")
    with pytest.raises(UserError, match=r"train_rows: windows need recbole_gro.data.build_loaders"):
        script("BERT4Rec", data_of, train_rows="windows")
    assert len(script("NARM", data_of, train_rows="prefixes")[1][0]._dataset) > 0


@pytest.mark.parametrize("name", ["BERT4Rec", "NARM"])
def test_our_loaders_take_recboles_config(script, name):
    config, (train, valid, test), model = script(
        name, lambda config: build_loaders(config, build_dataset(config)), **PLUGIN_KEYS
    )
    assert len(train._dataset) < len(script(name)[1][0]._dataset)  # whole histories
    trainer = GROTrainer(config, model)
    trainer.fit(train, valid)
    assert trainer.evaluate(test)["hit@5"] >= 0
    with pytest.raises(UserError, match="served_k: 100 is too long"):  # the default, which RecBole's Config lacks
        script(name, lambda config: build_loaders(config, build_dataset(config)))


def test_training_shows_no_warning_that_recbole_causes(script):
    config, (train, valid, _), model = script("NARM", **PLUGIN_KEYS)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        GROTrainer(config, model).fit(train, valid)
        Trainer(config, model).fit(train, verbose=False, saved=False)
    assert len([warning for warning in caught if "GradScaler" in str(warning.message)]) == 1  # RecBole's own trainer


def test_plain_training_comes_first_then_gro(script):
    config, (train, valid, _), model = script(epochs=3, **PLUGIN_KEYS)
    trainer = GROTrainer(config, model)
    trainer.fit(train, valid)
    assert sorted(trainer.train_loss_dict) == [0, 1, 2, 3, 4]


@pytest.mark.parametrize("fit", ["fit", "fit_gro"])
def test_a_fit_without_validation_has_no_score_of_the_fit_before(script, fit):
    config, (train, valid, _), model = script("NARM", **PLUGIN_KEYS)
    trainer = GROTrainer(config, model)
    assert getattr(trainer, fit)(train, valid)[0] >= 0
    assert getattr(trainer, fit)(train) == (-1, None)


@pytest.mark.parametrize(
    "settings",
    [
        {"eval_args": {"split": {"LS": "valid_and_test"}, "order": "TO", "group_by": "user", "mode": "uni10"}},
        {"metrics": ["Hit", "NDCG", "GAUC"]},
        {"eval_step": 0},
        {"topk": [5, 20], "valid_metric": "NDCG@20"},
        {"left_out": ("topk",), "valid_metric": "NDCG@10"},  # RecBole's default is [10], and ours beyond the list
    ],
    ids=str,
)
def test_how_a_script_evaluates_is_no_obstacle_to_student_surrogate_and_service(script, settings):
    others = {"student_model": "GRU4Rec", "surrogate_model": "GRU4Rec"}
    config, (train, valid, _), model = script("NARM", **PLUGIN_KEYS, **others, **settings)
    trainer = GROTrainer(config, model)
    trainer.fit(train, valid)
    dataset = train._dataset
    assert type(create_surrogate(config, dataset.item_num)[0]).__name__ == "GRU4Rec"
    [tokens] = load_target(trainer.saved_model_file).recommend([[dataset.id2token("item_id", 4)]], k=3)
    assert tokens == dataset.id2token("item_id", BlackBox(model, 3).query([[4]])[0]).tolist()


def test_absent_keys_take_the_packaged_defaults(script):
    config, _, model = script(served_k=6)
    assert config["gro_lambda"] is None
    trainer = GROTrainer(config, model)
    assert (trainer.gro_lambda, trainer.margins, trainer.swap_rule.margin) == (1.0, (0.5, 0.5), 0.0)


def test_default_list_length_is_checked_against_the_catalogue(script):
    config, _, model = script()
    with pytest.raises(UserError, match="served_k: 100 is too long for a catalogue of 30 items"):
        GROTrainer(config, model)


def test_several_processes_are_refused(script):
    config, _, model = script(**PLUGIN_KEYS)
    config["nproc"] = 2
    with pytest.raises(UserError, match="nproc"):
        GROTrainer(config, model)


def test_student_of_another_class(script):
    config, (train, valid, _), model = script("NARM", student_model="BERT4Rec", hidden_size=16, **PLUGIN_KEYS)
    score, _ = GROTrainer(config, model).fit(train, valid)
    assert 0 <= score <= 1


@pytest.mark.parametrize("name", ["BERT4Rec", "GRU4Rec"])
def test_a_checkpoint_keeps_settings_that_a_packaged_file_of_its_dataset_has_too(
    script, tiny_data_path, tmp_path, name
):
    folder = tmp_path / "data" / "ml-1m"  # whose packaged file sets MAX_ITEM_LIST_LENGTH to 200, and dropout
    folder.mkdir(parents=True)
    (folder / "ml-1m.inter").write_text((tiny_data_path / "tiny" / "tiny.inter").read_text())
    own = {"dataset": "ml-1m", "data_path": str(tmp_path / "data"), **PLUGIN_KEYS, "epochs": 1}
    config, (train, valid, _), model = script(name, left_out=["MAX_ITEM_LIST_LENGTH"], **own)
    trainer = GROTrainer(config, model)
    trainer.fit(train, valid)
    loaded = load_target(trainer.saved_model_file)
    assert loaded.model.max_seq_length == model.max_seq_length == 50  # RecBole's
    assert loaded.config["gro_epochs"] == 2
    assert loaded.config["gro_start"] == "converged"  # the default, by which the script trained
    student = create_student(config, type(model), train.dataset)
    assert [weight.shape for weight in student.parameters()] == [weight.shape for weight in model.parameters()]


def test_any_recbole_model_can_be_attacked_in_a_few_lines(script):
    config, _, model = script("NARM", surrogate_epochs=1, surrogate_batch_size=16)
    black_box = BlackBox(model, k=6, budget=20)
    log = create_query_strategy("autoregressive").query(black_box, 5, 4, torch.Generator().manual_seed(1))
    surrogate, surrogate_config = create_surrogate(config, black_box.n_items)
    surrogate_trainer = ExtractionTrainer(surrogate_config, surrogate)
    loss, _ = surrogate_trainer.fit(*surrogate_trainer.loaders(log))
    assert loss > 0
    assert black_box.lists_returned == 20


def test_under_recboles_hyper_tuning(script):
    pytest.importorskip("hyperopt", reason="RecBole's HyperTuning needs hyperopt, which the test extra installs")
    seen = []

    def objective(config_dict=None, config_file_list=None):
        config, (train, valid, test), model = script("NARM", **PLUGIN_KEYS, **config_dict)
        trainer = GROTrainer(config, model)
        seen.append(trainer.gro_lambda)
        score, result = trainer.fit(train, valid)
        return {
            "model": "NARM",
            "best_valid_score": score,
            "valid_score_bigger": True,
            "best_valid_result": result,
            "test_result": trainer.evaluate(test),
        }

    tuning = HyperTuning(objective, algo="exhaustive", params_dict={"choice": {"gro_lambda": [0.0, 5.0]}})
    tuning.run()
    assert sorted(seen) == [0.0, 5.0]
    assert set(tuning.params2result) == {"gro_lambda:0.0", "gro_lambda:5.0"}
    assert tuning.best_params["gro_lambda"] in (0.0, 5.0)
