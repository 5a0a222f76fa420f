"""Settings that RecBole ships, each given as a file: what plain RecBole trains on works, what it does not is a line."""

from pathlib import Path

import pytest
import recbole
from conftest import SMALL, write_inter

from recbole_gro import UserError, run_recbole_gro
from recbole_gro.config.models import CANNOT_SERVE, sequential_models
from recbole_gro.utils.compat import SPLITS_BY_TIME

PROPERTIES = Path(recbole.__file__).parent / "properties"
MODELS = sorted((PROPERTIES / "model").glob("*.yaml"))
SERVING = [file for file in MODELS if file.stem in sequential_models() and file.stem not in CANNOT_SERVE]
QUICK = {"GRU4Rec", "FPMC", "FDSA"}  # cross-entropy, pairs, item features
FITTING = {f"{model}CPR": {"reranker_CAN_NUM": 10} for model in ("GRU4Rec", "SASRec")}  # fewer than the 12 items
GENERAL = {
    "overall": "eval_args: order 'RO' is not allowed",
    "dataset/sample": None,
    "dataset/ml-100k": None,
    "dataset/url": "unknown key",
    "dataset/kg_url": "unknown key",
    "quick_start_config/sequential": None,
    "quick_start_config/special_sequential_on_ml-100k": None,
    "quick_start_config/knowledge_base": None,
    "quick_start_config/context-aware": "eval_args: order 'RO' is not allowed",
    "quick_start_config/context-aware_ml-100k": None,
    "quick_start_config/sequential_DIN": "eval_args: mode 'uni100' is not supported",
    "quick_start_config/sequential_DIN_on_ml-100k": None,
    "quick_start_config/sequential_embedding_model": "dataset tiny",
}


@pytest.fixture(scope="module")
def data_path(tmp_path_factory):
    """The dataset `tiny` with every column that RecBole's files load: 30 users, 12 items."""
    folder = write_inter(tmp_path_factory.mktemp("examples"), {})
    rows = [f"u{u}\ti{(u + place) % 12}\t{1 + place % 5}\t{place}" for u in range(30) for place in range(5 + u % 4)]
    items = [f"i{item}\t{1990 + item % 3}\ta b" for item in range(12)]
    users = [f"u{user}\t9\tF\tx" for user in range(30)]
    files = {
        "inter": ["user_id:token\titem_id:token\trating:float\ttimestamp:float", *rows],
        "item": ["item_id:token\trelease_year:token\tclass:token_seq", *items],
        "user": ["user_id:token\tage:token\tgender:token\toccupation:token", *users],
    }
    for suffix, lines in files.items():
        (folder / "tiny" / f"tiny.{suffix}").write_text("\n".join(lines) + "\n")
    return folder


def run(file, model, data_path, **settings):
    given = {"model": model, "dataset": "tiny", "data_path": str(data_path), "attack": False, "defense": "none"}
    small = {name: value for name, value in SMALL.items() if name != "load_col"}
    return run_recbole_gro(
        config_file_list=[str(file)], config_dict={**small, "load_col": None, **given, **settings}, saved=False
    )


def test_every_file_of_recboles_is_looked_at():
    files = {str(file.relative_to(PROPERTIES).with_suffix("")) for file in PROPERTIES.rglob("*.yaml")}
    assert files - {f"model/{file.stem}" for file in MODELS} == set(GENERAL)
    assert {file.stem for file in SERVING} == set(sequential_models()) - set(CANNOT_SERVE)


@pytest.mark.parametrize(
    "file", [pytest.param(f, id=f.stem, marks=[] if f.stem in QUICK else pytest.mark.every) for f in SERVING]
)
def test_a_models_file_trains(file, data_path):
    if file.stem.endswith("CPR"):
        with pytest.raises(UserError, match=r"^reranker_CAN_NUM: 100 candidates of 12 items; set a smaller number$"):
            run(file, file.stem, data_path)
    (row,) = run(file, file.stem, data_path, **FITTING.get(file.stem, {}))["defenses"]
    assert 0 <= row["target"]["test"]["ndcg@5"] <= 1


@pytest.mark.parametrize("name", GENERAL)
def test_a_general_file_trains_or_is_refused_before_training(name, data_path, monkeypatch):
    file = PROPERTIES / f"{name}.yaml"
    if GENERAL[name] is None:
        (row,) = run(file, "GRU4Rec", data_path)["defenses"]
        assert 0 <= row["target"]["test"]["ndcg@5"] <= 1
        return
    monkeypatch.setattr("recbole_gro.quick_start.stages.Stages.target", None)
    with pytest.raises(UserError, match=GENERAL[name]) as caught:
        run(file, "GRU4Rec", data_path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("model", "settings"),
    [
        ("GRU4Rec", {"loss_type": "bpr", "train_neg_sample_args": None}),
        ("FPMC", {"train_neg_sample_args": None}),
        ("TransRec", {"train_neg_sample_args": {"distribution": "popularity", "sample_num": 2}}),
        pytest.param(
            "GRU4Rec",
            {"eval_args": {"split": {"TS": [0.6, 0.2, 0.2]}, "order": "TO"}},
            marks=pytest.mark.skipif(not SPLITS_BY_TIME, reason="RecBole 1.2.0 has no split TS"),
        ),
        ("GRU4Rec", {"eval_args": {"split": {"rs": [0.6, 0.2, 0.2]}, "group_by": "none"}}),
        ("GRU4Rec", {"learner": "ADAM", "metrics": "ndcg", "state": "info"}),
    ],
    ids=str,
)
def test_other_settings_that_plain_recbole_trains_on_train(model, settings, data_path):
    file = PROPERTIES / "model" / f"{model}.yaml"
    (row,) = run(file, model, data_path, **settings)["defenses"]
    assert 0 <= row["target"]["test"]["ndcg@5"] <= 1
