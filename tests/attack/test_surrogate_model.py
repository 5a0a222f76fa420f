import pytest
import torch
from conftest import write_inter
from pipeline import TINY_RUN
from recbole.model.sequential_recommender import BERT4Rec, GRU4Rec

from recbole_gro import BlackBox, Config, UserError, create_surrogate, run_recbole_gro
from recbole_gro.attack.surrogate_model import SurrogateDataset, surrogate_length
from recbole_gro.config.config import derive
from recbole_gro.config.models import sequential_model
from recbole_gro.config.properties import recbole_model_settings
from recbole_gro.data import build_dataset, build_loaders
from recbole_gro.scoring import create_scorer


def test_surrogate_is_the_targets_architecture_by_default(make_config):
    config = make_config("BERT4Rec")
    surrogate, surrogate_config = create_surrogate(config, 31)
    assert type(surrogate).__name__ == surrogate_config["model"] == "BERT4Rec"
    assert surrogate.hidden_size == config["hidden_size"]
    assert surrogate.n_items == 31


def test_another_surrogate_has_its_own_architecture(make_config, tmp_path):
    config = make_config("BERT4Rec", surrogate_model="NARM")
    assert create_surrogate(config, 31)[0].hidden_size == 128
    (tmp_path / "small.yaml").write_text("hidden_size: 24\n")
    config = make_config("BERT4Rec", surrogate_model="NARM", surrogate_config=str(tmp_path / "small.yaml"))
    assert create_surrogate(config, 31)[0].hidden_size == 24


@pytest.mark.parametrize("model", ["BERT4Rec", "GRU4Rec", "NARM", "SASRec"])
def test_packaged_settings_of_targets_leave_surrogates_as_recbole_has_them(model):
    config = Config("NARM" if model == "BERT4Rec" else "BERT4Rec")
    surrogate = derive(config, model, None, "surrogate_model")
    expected = recbole_model_settings(sequential_model(model)) | {"weight_decay": 0.0, "learner": "adam"}
    expected.pop("layer_norm_eps", None)  # 1e-12 is a text in plain yaml
    assert {key: surrogate[key] for key in expected} == expected


def test_surrogate_is_built_for_the_given_number_of_items(make_config):
    assert create_surrogate(make_config("NARM"), 77)[0].item_embedding.num_embeddings == 77


@pytest.mark.parametrize("model", ["BERT4Rec", "GRU4Rec", "SASRec", "NARM"])
def test_surrogate_reads_no_more_items_than_the_longest_query(make_config, model):
    surrogate, _ = create_surrogate(make_config(model, query_length=3), 31)
    scorer = create_scorer(surrogate.eval())
    assert scorer.longest == 3
    longer, last = torch.tensor([[9, 8, 1, 2, 3], [5, 6, 1, 2, 3]]), torch.tensor([[1, 2, 3], [4, 2, 3]])
    scores = [scorer.next_item_scores(items, torch.full((2,), items.shape[1])) for items in (longer, last)]
    assert torch.allclose(scores[0][0], scores[0][1], atol=1e-6, rtol=0)
    assert torch.allclose(scores[0][0], scores[1][0], atol=1e-6, rtol=0)
    assert not torch.allclose(scores[1][0], scores[1][1], atol=1e-5, rtol=0)  # it reads the first of them


@pytest.mark.parametrize(
    ("length", "expected", "of_bert"), [(None, 8, 8), (8, 8, 8), (20, 8, 8), (7, 7, 8), (5, 5, 6), (1, 2, 2)]
)
def test_length_of_a_surrogate(make_config, length, expected, of_bert):
    config = make_config("GRU4Rec", query_length=length)
    assert surrogate_length(config, GRU4Rec) == expected
    assert surrogate_length(config, BERT4Rec) == of_bert


def test_a_file_of_the_surrogates_settings_may_set_its_length(make_config, tmp_path):
    (tmp_path / "long.yaml").write_text("MAX_ITEM_LIST_LENGTH: 6\n")
    config = make_config("BERT4Rec", query_length=3, surrogate_config=str(tmp_path / "long.yaml"))
    assert create_surrogate(config, 31)[0].max_seq_length == 6
    (tmp_path / "long.yaml").write_text(f"MAX_ITEM_LIST_LENGTH: {config['MAX_ITEM_LIST_LENGTH']}\n")
    assert create_surrogate(config, 31)[0].max_seq_length == config["MAX_ITEM_LIST_LENGTH"]


@pytest.fixture
def features(tmp_path, make_config):
    """Make a config and a dataset of items with a class: `config, dataset = features("GRU4RecF")`."""
    folder = write_inter(tmp_path / "data", {f"u{u}": [f"i{(u + t) % 12}" for t in range(8)] for u in range(12)})
    lines = [f"i{item}\t{'red' if item % 2 else 'blue'}" for item in range(12)]
    (folder / "tiny" / "tiny.item").write_text("item_id:token\tclass:token\n" + "\n".join(lines) + "\n")

    def make(model, **settings):
        config = make_config(model, load_col=None, **{"data_path": str(folder), "served_k": 5, **settings})
        return config, build_loaders(config, build_dataset(config))[0]._dataset

    return make


class TestSurrogateDataset:
    """The attack has the number of items, and item features only where the settings allow them."""

    def test_it_has_the_number_of_items(self, make_config):
        config = make_config()
        assert SurrogateDataset(config, 31).num(config["ITEM_ID_FIELD"]) == 31

    def test_it_has_no_user_and_no_interaction(self, make_config):
        config = make_config()
        dataset = SurrogateDataset(config, 31)
        assert dataset.num(config["USER_ID_FIELD"]) == dataset.user_num == 1
        assert len(dataset.inter_feat) == 0

    @pytest.mark.parametrize("read", [lambda c: c.num("class"), lambda c: c.get_item_feature(), lambda c: c.field2type])
    def test_it_has_no_features(self, make_config, read):
        with pytest.raises(UserError, match=r"surrogate: its model reads .*surrogate_knows_features=True"):
            read(SurrogateDataset(make_config(), 31))

    def test_it_has_nothing_else(self, make_config):
        with pytest.raises(UserError, match="surrogate: its model reads item_counter of the data"):
            _ = SurrogateDataset(make_config(), 31).item_counter

    def test_item_features_come_without_users(self, features):
        config, dataset = features("GRU4RecF")
        stand_in = SurrogateDataset(config, dataset.item_num, items=dataset)
        assert stand_in.num("class") == 3
        assert stand_in.num("user_id") == 1
        with pytest.raises(UserError, match="an attacker sees items and their features only"):
            stand_in.num("timestamp")

    @pytest.mark.parametrize("model", ["GRU4RecF", "SASRecF", "FDSA"])
    def test_a_surrogate_that_reads_features_needs_the_setting(self, features, model):
        config, dataset = features("GRU4Rec", surrogate_model=model, surrogate_knows_features=True)
        surrogate, _ = create_surrogate(config, dataset.item_num, dataset)
        assert BlackBox(surrogate, 5).query([[1, 2]]).shape == (1, 5)
        config, dataset = features("GRU4Rec", surrogate_model=model)
        with pytest.raises(UserError, match="surrogate_knows_features=True"):
            create_surrogate(config, dataset.item_num, dataset)


def test_surrogate_does_not_start_from_the_targets_weights(tiny_data_path, tmp_path):
    frozen = {"learning_rate": 1e-12, "surrogate_learning_rate": 1e-12}
    settings = {**frozen, "defense": "none", "data_path": str(tiny_data_path)}
    run_recbole_gro("BERT4Rec", "tiny", config_dict={**TINY_RUN, **settings, "output_dir": str(tmp_path / "run")})
    target, surrogate = (
        torch.load(tmp_path / "run" / name, weights_only=True)["state_dict"]["item_embedding.weight"][1:]
        for name in ("target.pth", "surrogate-none.pth")
    )
    assert target.shape == surrogate.shape
    assert (target - surrogate).abs().mean() > 0.5 * target.abs().mean()
