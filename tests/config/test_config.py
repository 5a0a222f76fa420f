import copy

import pytest
from conftest import SMALL
from recbole.config import Config as RecBoleConfig
from recbole.model.abstract_recommender import SequentialRecommender
from recbole.model.general_recommender import BPR
from recbole.model.sequential_recommender import NARM

from recbole_gro import Config, UserError
from recbole_gro.config.config import derive, plain_settings, with_settings
from recbole_gro.config.reference import ORDER
from recbole_gro.config.settings import plugin_keys, sections, setting

OUT_OF_RANGE = {
    "defense": [[], ["none", "none"], 3],
    "served_k": [1, 2.5, "ten", True],
    "head_k": [0, 1.5, None],
    "random_keyed": [1, "always"],
    "defense_key": ["my own", None, 3],
    "gro_rows": ["head", None],
    "swap_candidates": ["outside", None],
    "gro_lambda": [-0.1, "x", float("nan"), float("inf")],
    "gro_epochs": [0, 1.5],
    "gro_learning_rate": [0, -1, "fast"],
    "student_model": ["Nobody", 3],
    "student_config": ["absent.yaml", 3],
    "workers": [0, 1.5, None],
    "margin_rank": [-1, None],
    "margin_negative": [-1, None],
    "margin_swap": [-1, None],
    "gro_decay": [0, "sometimes"],
    "target_epoch": ["first", None],
    "gro_start": ["trained", None],
    "gro_steps": [0, 1.5, "many"],
    "gro_swap": [3, None],
    "gro_head_k": [0, 1.5, None],
    "gro_target_loss": ["theirs", None],
    "gro_contexts": ["queries", None],
    "gro_min_quality": [-0.1, 1.1, "high"],
    "paper_code_ties": ["maybe", 1],
    "attack": ["maybe", 0],
    "references": [None, ["untrained", "untrained"], 3],
    "query_strategy": [3, None],
    "query_sequences": [1, 0, 2.5],
    "query_length": [0, -3],
    "access_log": ["maybe", 1],
    "exclude_seen": ["maybe", 1],
    "attacker": [3, None, ["head", "head"]],
    "attacker_suite": [3, None, []],
    "attacker_rounds": [0, 1.5, None],
    "attacker_reproduced": [-0.1, 1.1, None],
    "query_random_share": [-0.1, 1.1, None],
    "query_rank_decay": [-1, None],
    "query_coverage": [-0.1, 1.1, None],
    "query_choice": ["no colon", 3],
    "attacker_head_k": [0, 1.5, "all"],
    "attacker_repeats": [0, 1.5, None],
    "attacker_known_share": [-0.1, 1.1, None],
    "surrogate_model": ["Nobody", 3, ["NARM", "NARM"], ["NARM", "Nobody"]],
    "surrogate_config": ["absent.yaml", 3],
    "surrogate_knows_features": ["some", 1],
    "surrogate_averaging": [0, 1, "often"],
    "surrogate_ensemble": [0, 1.5, None],
    "surrogate_epochs": [0, "all"],
    "surrogate_learning_rate": [0, None],
    "surrogate_batch_size": [0, 1.5],
    "surrogate_min_steps": [0, 2.5],
    "surrogate_patience": [-1, None],
    "core_filter": ["twice", None],
    "train_rows": ["both", None],
    "mask_last": [-0.1, 1.1, None],
    "window_shift": [-0.1, 1.1, None],
    "output_dir": [3],
    "stages_dir": [3],
    "plugins": ["no_such_module"],
    "aow_sequences": [0, 1.5],
    "aow_length": [1, None],
    "aow_lowest": [1, "all"],
    "aow_epochs": [0, None],
    "aow_learning_rate": [0, -1, "fast"],
    "aow_weight": [0, -1, None],
    "injected_runs": [0, 1.5],
    "injected_length": [1, None],
    "injected_share": [-0.1, 1.1, None],
    "injected_pool": [2, "all"],
    "detector": [3, None],
    "mimic_listed_share": [-0.1, 1.1, None],
    "mimic_rank_decay": [-1, None],
    "false_positive_rate": [-0.1, 1.1, None],
    "detection_window": [7, None],
}


def one_line(error):
    return "\n" not in str(error)


@pytest.mark.parametrize("name", OUT_OF_RANGE)
def test_values_out_of_range_are_refused_by_name(make_config, name):
    for value in OUT_OF_RANGE[name]:
        with pytest.raises(UserError) as caught:
            make_config(**{name: value})
        assert one_line(caught.value)
        assert name in str(caught.value) or str(value) in str(caught.value)


def test_every_key_has_values_out_of_range():
    assert {name for name, key in plugin_keys().items() if key in sections_of_the_package()} == set(OUT_OF_RANGE)


def sections_of_the_package():
    return [key for section in ORDER for key in sections()[section]]


@pytest.mark.parametrize("name", plugin_keys())
def test_defaults_are_allowed(name):
    key = plugin_keys()[name]
    key.check(key.default)


def test_command_line_beats_dict_beats_file_beats_defaults(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a.yaml").write_text("epochs: 11\nstopping_step: 12\nseed: 13\n")
    (tmp_path / "b.yaml").write_text("seed: 14\n")
    config = Config(
        "NARM",
        config_file_list=["a.yaml", "b.yaml"],
        config_dict={"epochs": 21, "stopping_step": 22},
        command_line={"epochs": "31"},
    )
    assert (config["epochs"], config["stopping_step"], config["seed"]) == (31, 22, 14)
    assert config["valid_metric"] == "NDCG@10"  # ours, RecBole's is MRR@10
    assert config["hidden_size"] == 128  # RecBole's for NARM


def test_sys_argv_is_left_to_the_command(monkeypatch):
    monkeypatch.setattr("sys.argv", ["prog", "--epochs=3", "--model=Caser"])
    assert Config("NARM")["epochs"] != 3


@pytest.mark.parametrize(
    ("given", "hint"),
    [
        ("defence", "defense"),
        ("gro_lamda", "gro_lambda"),
        ("surogate_model", "surrogate_model"),
        ("learning-rate", "learning_rate"),
        ("epoch", "epochs"),
    ],
)
def test_near_misses_are_reported_with_the_key(make_config, given, hint):
    with pytest.raises(UserError, match=f"unknown key '{given}'; did you mean '{hint}'"):
        make_config(**{given: 1})


def test_keys_with_a_prefix_of_the_plugin_are_never_ignored(make_config):
    with pytest.raises(UserError, match="unknown key 'gro_something_else'"):
        make_config(gro_something_else=1)


class Own(NARM):
    """A model with settings of its own, named like others."""

    def __init__(self, config, dataset):
        super().__init__(config, dataset)
        self.widths = config["gro_width"], config.get("epoch"), config["lr"]


OWN = {"gro_width": 3, "epoch": 5, "lr": 0.5}


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("role", ["model", "student_model", "surrogate_model"])
def test_settings_that_a_custom_model_reads_are_accepted_under_any_name(make_config, role):
    config = make_config(**{"model": "NARM", role: Own}, **OWN)
    assert {name: config[name] for name in OWN} == OWN
    assert derive(config, Own, None)["gro_width"] == 3
    assert derive(config, "GRU4Rec", None)["gro_width"] is None
    assert Config(config_dict=config.plain())["epoch"] == 5


def test_a_setting_that_a_custom_model_does_not_read_is_a_warning(make_config):
    with pytest.warns(UserWarning, match="unknown key 'gro_lamda'; did you mean 'gro_lambda'.*config_keys"):
        config = make_config(Own, gro_lamda=3)
    assert config["gro_lamda"] == 3
    assert derive(config, "NARM", None)["gro_lamda"] is None


def test_a_config_of_recboles_may_hold_settings_that_nothing_reads(monkeypatch):
    monkeypatch.setattr("sys.argv", ["script.py"])
    given = {"note": "own", "hidden_size": 24, "gro_lambda": 0.5, "train_neg_sample_args": None}
    config = RecBoleConfig("GRU4Rec", "ml-100k", config_dict=given)
    assert Config(config_dict=plain_settings(config))["hidden_size"] == 24
    assert derive(config, None, None)["gro_lambda"] == 0.5
    kept = {"hidden_size", "gro_lambda", "train_neg_sample_args", "model", "dataset"}
    assert plain_settings(config).keys() == kept | {"train_batch_size"}  # RecBole's, where a packaged file has another
    assert Config(config_dict=plain_settings(config))["train_batch_size"] == config["train_batch_size"] == 2048


@pytest.mark.parametrize("name", ["gro_width", "k", "dropout"])
def test_a_setting_that_nothing_reads_is_refused(make_config, name):
    with pytest.raises(UserError, match=f"unknown key '{name}'"):
        make_config("NARM", **{name: 1})


def test_settings_of_another_models_architecture_are_refused(make_config):
    with pytest.raises(UserError, match=r"^hidden_dropout_prob: not read by NARM; did you mean 'dropout_probs'"):
        make_config("NARM", hidden_dropout_prob=0.5)
    with pytest.raises(UserError, match=r"^inner_size: not read by NARM or GRU4Rec; "):
        make_config("NARM", surrogate_model="GRU4Rec", inner_size=32)
    with pytest.warns(UserWarning, match=r"^n_heads: not read by Own; .*config_keys"):
        make_config(Own, n_heads=2)


@pytest.mark.parametrize("role", ["student_model", "surrogate_model"])
def test_an_architecture_key_that_the_target_does_not_read_is_the_other_models(make_config, role):
    config = make_config("NARM", **{role: "BERT4Rec", "inner_size": 48, "hidden_size": 24})
    other = derive(config, "BERT4Rec", None)
    assert other["inner_size"] == 48
    assert other["hidden_size"] == Config("BERT4Rec")["hidden_size"]  # NARM reads it, so it is the target's alone
    assert config["hidden_size"] == 24


@pytest.mark.parametrize(
    ("model", "reason"),
    [
        ("Bert4Rek", r"unknown model 'Bert4Rek'\. Did you mean 'BERT4Rec'\?"),
        ("BPR", "BPR is a general model; queries are item sequences"),
        ("DeepFM", "DeepFM is a context-aware model"),
        ("lightgbm", "lightgbm is an? external-library model"),
        ("xgboost", "xgboost is an? external-library model"),
        (BPR, "BPR is not a sequential model"),
    ],
)
def test_models_that_read_no_sequences_are_refused(make_config, model, reason):
    for name in ("model", "surrogate_model", "student_model"):
        message = f"unknown {name}{reason[13:]}" if reason.startswith("unknown model") else f"{name}: {reason}"
        with pytest.raises(UserError, match=f"^{message}") as caught:
            make_config(**{name: model})
        assert one_line(caught.value)
    with pytest.raises(UserError, match=reason):
        derive(make_config(), model, None)


def test_a_custom_model_class_is_accepted(make_config):
    class Custom(NARM):
        pass

    config = make_config(Custom, embedding_size=8, hidden_size=8, dropout_probs=[0.1, 0.1], loss_type="CE")
    assert config["model"] == "Custom"
    assert config.model_class is Custom
    assert derive(config, None, None).model_class is Custom
    assert config.plain()["model"] == f"{__name__}:Custom"


def test_a_custom_class_has_the_defaults_of_its_base_class(make_config):
    class Custom(NARM):
        pass

    config = make_config(Custom, embedding_size=8)
    assert config["hidden_size"] == Config("NARM")["hidden_size"]
    assert config["embedding_size"] == 8
    assert config["model"] == "Custom"


def test_a_class_without_an_input_type_has_no_sampled_negatives(make_config):
    class Custom(SequentialRecommender):
        pass

    config = make_config(Custom)
    assert (config["loss_type"], config["train_neg_sample_args"]["distribution"]) == ("CE", "none")


def test_item_features_that_a_model_reads_are_loaded():
    for model, settings in (
        ("FDSA", {}),
        ("NARM", {"surrogate_model": "GRU4RecF"}),
        ("NARM", {"student_model": "FDSA"}),
    ):
        assert Config(model, "tiny", config_dict=settings)["load_col"]["item"] == ["item_id", "class"]
    own = Config("FDSA", "tiny", config_dict={"selected_features": ["colour", "size"]})
    assert own["load_col"]["item"] == ["item_id", "colour", "size"]
    assert "item" not in Config("NARM", "tiny")["load_col"]
    packaged = Config("GRU4RecF", "ml-1m")
    assert packaged["load_col"] == {"inter": ["user_id", "item_id", "timestamp"], "item": ["item_id", "class"]}


def test_packaged_settings_of_a_dataset_are_known_by_file():
    found = Config("BERT4Rec", "ml-1m").packaged_settings
    assert list(found) == ["properties/dataset/ml-1m.yaml", "properties/dataset/ml-1m.BERT4Rec.yaml"]
    assert found["properties/dataset/ml-1m.yaml"]["core_filter"] == "once"
    assert Config("NARM", "tiny").packaged_settings == {}


@pytest.mark.parametrize("processes", [2, 0, "all"])
def test_a_run_is_one_process(make_config, processes):
    with pytest.raises(UserError, match=r"nproc: .* is not supported"):
        make_config(nproc=processes)
    assert make_config(nproc=1)["nproc"] == 1


@pytest.mark.parametrize(
    "settings",
    [
        {"topk": []},
        {"topk": "ten"},
        {"topk": [0]},
        {"topk": ["a"]},
        {"metrics": []},
        {"metrics": ["Hits"]},
        {"metrics": [3]},
        {"valid_metric": 3},
        {"valid_metric": "GAUC@5"},
        {"valid_metric_bigger": False},
        {"local_rank": 0},
        {"eval_args": None},
        {"repeatable": False},
        {"train_neg_sample_args": {"distribution": "uniform"}},
    ],
    ids=str,
)
def test_what_recbole_refuses_ends_in_one_line(make_config, settings):
    with pytest.raises(UserError) as caught:
        make_config("NARM", **settings)
    assert one_line(caught.value)


def test_settings_given_as_a_dict_are_left_as_they_were(make_config):
    given = {"topk": [1, 5], "seed": "3", "load_col": {"inter": ["user_id", "item_id", "timestamp"]}}
    before = copy.deepcopy(given)
    assert make_config(**given)["seed"] == 3
    assert given == before


def test_a_missing_model_is_reported():
    with pytest.raises(UserError, match="model: not set"):
        Config()


def test_evaluation_that_a_list_cannot_have_is_refused(make_config):
    with pytest.raises(UserError, match="ranked over all items"):
        make_config(eval_args={"split": {"LS": "valid_and_test"}, "order": "TO", "mode": "uni100"})
    with pytest.raises(UserError, match="valid_metric: NDCG@4 is not measured"):
        make_config(valid_metric="NDCG@4")
    with pytest.raises(UserError, match="topk: position 9 is beyond"):
        make_config(topk=[5, 9])


def test_cross_entropy_needs_no_negatives_and_bpr_has_them(make_config):
    assert make_config("NARM")["train_neg_sample_args"]["distribution"] == "none"
    assert make_config("NARM", loss_type="BPR")["train_neg_sample_args"]["distribution"] == "uniform"


@pytest.mark.parametrize(
    ("model", "settings", "sampled"),
    [
        ("GRU4Rec", {"loss_type": "BPR", "train_neg_sample_args": None}, "uniform"),
        ("GRU4Rec", {"loss_type": "bpr"}, "uniform"),
        ("GRU4Rec", {"loss_type": "ce", "train_neg_sample_args": None}, "none"),
        ("FPMC", {"train_neg_sample_args": None}, "uniform"),
        ("FPMC", {"loss_type": "CE"}, "uniform"),  # which it does not read
        ("TransRec", {}, "uniform"),
        ("TransRec", {"train_neg_sample_args": {"distribution": "popularity"}}, "popularity"),
    ],
    ids=str,
)
def test_a_loss_of_pairs_has_negatives_and_no_other(make_config, model, settings, sampled):
    config = make_config(model, **settings)
    assert config["train_neg_sample_args"]["distribution"] == sampled
    assert Config(config_dict=config.plain())["train_neg_sample_args"] == config["train_neg_sample_args"]
    for other, theirs in {"NARM": "none", "FPMC": "uniform"}.items():
        if other != model:
            assert derive(config, other, None)["train_neg_sample_args"]["distribution"] == theirs


@pytest.mark.parametrize(
    ("settings", "metrics", "topk", "watched", "bigger"),
    [
        ({}, ["Hit", "NDCG"], [5, 10, 20], "NDCG@10", True),
        ({"metrics": ["Recall", "MRR"]}, ["Recall", "MRR"], [5, 10, 20], "Recall@20", True),
        ({"metrics": "ndcg"}, ["ndcg"], [5, 10, 20], "NDCG@10", True),
        ({"topk": [1, 5]}, ["Hit", "NDCG"], [1, 5], "NDCG@5", True),
        ({"topk": 7}, ["Hit", "NDCG"], [7], "NDCG@7", True),
        ({"valid_metric": "MRR@10"}, ["Hit", "NDCG", "MRR"], [5, 10, 20], "MRR@10", True),
        ({"valid_metric": "mrr@7"}, ["Hit", "NDCG", "mrr"], [5, 7, 10, 20], "mrr@7", True),
        ({"valid_metric": "MRR@1", "metrics": ["MRR"]}, ["MRR"], [1, 5, 10, 20], "MRR@1", True),
        ({"valid_metric": "MRR@3", "topk": 3}, ["Hit", "NDCG", "MRR"], [3], "MRR@3", True),
        ({"valid_metric": "GiniIndex@5"}, ["Hit", "NDCG", "GiniIndex"], [5, 10, 20], "GiniIndex@5", False),
        ({"metrics": "GiniIndex"}, ["GiniIndex"], [5, 10, 20], "GiniIndex@20", False),
        ({"valid_metric": "AveragePopularity@5", "valid_metric_bigger": False},
         ["Hit", "NDCG", "AveragePopularity"], [5, 10, 20], "AveragePopularity@5", False),
    ],
    ids=str,
)  # fmt: skip
def test_what_is_measured_and_what_is_watched_follow_from_each_other(settings, metrics, topk, watched, bigger):
    for config in (Config("NARM", config_dict=settings), Config("NARM", command_line=texts(settings))):
        assert (config["metrics"], config["topk"]) == (metrics, topk)
        assert (config["valid_metric"], config["valid_metric_bigger"]) == (watched, bigger)


def texts(settings):
    return {name: str(value) for name, value in settings.items()}


def test_what_was_set_rebuilds_the_config(make_config):
    config = make_config("NARM", gro_lambda=0.25)
    again = Config(config_dict=config.plain())
    for name in (*SMALL, *plugin_keys(), "model", "dataset", "data_path", "hidden_size"):
        assert again[name] == config[name], name


def test_a_copy_with_other_settings_leaves_the_config_as_it_was(make_config):
    config = make_config(seed=7, served_k=5)
    before = config.plain()
    other = with_settings(config, seed=8)
    other["device"] = "elsewhere"
    assert (other["seed"], other["served_k"]) == (8, 5)
    assert other.plain() == before | {"seed": 8}
    assert (config["seed"], str(config["device"]), config.plain()) == (7, "cpu", before)


def test_same_class_keeps_the_targets_architecture(make_config):
    config = make_config("NARM", hidden_size=24)
    assert derive(config, None, None)["hidden_size"] == 24
    assert derive(config, "NARM", None)["hidden_size"] == 24


def test_a_derived_config_reads_no_command_line(make_config, monkeypatch):
    monkeypatch.setattr("sys.argv", ["prog", "--hidden_size=99", "--epochs=3"])
    config = make_config("NARM")
    for name in (None, "GRU4Rec"):
        derived = derive(config, name, None)
        assert derived["epochs"] == config["epochs"]
        assert derived["hidden_size"] != 99


def test_deriving_leaves_the_targets_config_alone(make_config, tmp_path):
    (tmp_path / "student.yaml").write_text("hidden_size: 48\n")
    config = make_config("NARM", hidden_size=24)
    before, given = copy.deepcopy(config.final_config_dict), config.plain()
    derive(config, "BERT4Rec", str(tmp_path / "student.yaml"))
    derive(config, None, str(tmp_path / "student.yaml"))
    assert config.final_config_dict == before
    assert config.plain() == given


def test_another_class_does_not(make_config):
    derived = derive(make_config("BERT4Rec", hidden_size=24, seed=3), "NARM", None)
    assert derived["hidden_size"] == 128
    assert derived["transform"] is None
    assert derived["seed"] == 3
    assert derived["MAX_ITEM_LIST_LENGTH"] == SMALL["MAX_ITEM_LIST_LENGTH"]


@pytest.mark.parametrize("model", ["NARM", "BERT4Rec", None])
def test_a_models_own_file_wins(make_config, tmp_path, model):
    (tmp_path / "student.yaml").write_text("hidden_size: 48\n")
    derived = derive(make_config("BERT4Rec", hidden_size=24), model, str(tmp_path / "student.yaml"))
    assert derived["hidden_size"] == 48


def test_the_config_of_a_derived_masked_model_has_its_fields(make_config):
    assert derive(make_config("NARM"), "BERT4Rec", None)["MASK_ITEM_SEQ"] == "Mask_item_id_list"


def test_setting_falls_back_to_the_packaged_default(make_config):
    config = make_config()
    del config.final_config_dict["gro_lambda"]
    assert setting(config, "gro_lambda") == 1.0


def test_what_orders_a_sequence_is_loaded_unless_load_col_was_set(make_config, tiny_data_path):
    config = Config("NARM", "tiny", config_dict={"data_path": str(tiny_data_path), "TIME_FIELD": "when"})
    assert {"user_id", "item_id", "when"} <= set(config["load_col"]["inter"])
    assert make_config(load_col={"inter": ["user_id", "item_id"]})["load_col"] == {"inter": ["user_id", "item_id"]}
    assert "rating" in Config("NARM")["load_col"]["inter"]


def test_a_packaged_file_serves_models_that_do_not_read_all_of_it(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert Config("BERT4Rec", config_file_list=["gro.yaml"])["attn_dropout_prob"] == 0
    narm = Config("NARM", config_file_list=["gro.yaml"])
    assert narm["attn_dropout_prob"] is None
    assert narm["query_sequences"] == 300
    refused = pytest.raises(UserError, match="attn_dropout_prob: not read by NARM")
    with refused:
        Config("NARM", config_file_list=["gro.yaml"], config_dict={"attn_dropout_prob": 0.1})
    with refused:
        Config("NARM", config_file_list=["gro.yaml"], command_line={"attn_dropout_prob": "0.1"})
    (tmp_path / "own.yaml").write_text("attn_dropout_prob: 0.1\n")
    with refused:
        Config("NARM", config_file_list=["gro.yaml", "own.yaml"])


@pytest.mark.parametrize(
    ("key", "value"), [("served_kk", 3), ("served_k", 0), ("train_batch_size", "many"), ("hidden_size", "wide")]
)
def test_an_invalid_value_names_the_file_that_sets_it(key, value, tmp_path):
    file, valid = tmp_path / "own.yaml", tmp_path / "valid.yaml"
    file.write_text(f"{key}: {value}\n")
    valid.write_text("epochs: 3\n")
    with pytest.raises(UserError) as failed:
        Config("BERT4Rec", config_file_list=[str(file), str(valid)])
    assert str(failed.value).endswith(f"(in {file})")
    for given in ({"config_dict": {key: value}}, {"command_line": {key: value}}):
        with pytest.raises(UserError) as failed:
            Config("BERT4Rec", config_file_list=[str(file)], **given)
        assert str(file) not in str(failed.value)
