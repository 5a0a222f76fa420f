import pytest
import torch
from attack.cases import RuleService
from conftest import write_inter
from pipeline import TINY_RUN, same_weights, weights_of
from recbole.trainer import Trainer

from recbole_gro import (
    BlackBox,
    ExtractionTrainer,
    QueryLog,
    UserError,
    create_query_strategy,
    create_surrogate,
    run_recbole_gro,
)
from recbole_gro.attack.query_log import LISTED, LISTED_LENGTH
from recbole_gro.attack.surrogate_model import Catalogue
from recbole_gro.data import build_dataset, build_loaders


class TruncatedService(RuleService):
    """As RuleService, and each list ends after 4 items."""

    def recommend(self, sequences):
        return super().recommend(sequences) * (torch.arange(self.k) < 4)


@pytest.fixture
def make_trainer(make_config, tmp_path):
    """Make an attacker who knows no data: `trainer, queries, held_out = make_trainer("NARM", n_sequences=50)`."""

    def make(model="NARM", n_sequences=12, cls=ExtractionTrainer, service=None, **settings):
        settings = {"output_dir": str(tmp_path / "run"), "data_path": "/no/such/folder", **settings}
        config = make_config(model, **{"surrogate_epochs": 2, "surrogate_batch_size": 64, **settings})
        box = BlackBox(service or RuleService())
        log = create_query_strategy("autoregressive")(box, n_sequences, 6, torch.Generator().manual_seed(2))
        torch.manual_seed(8)
        surrogate, surrogate_config = create_surrogate(config, box.n_items)
        trainer = cls(surrogate_config, surrogate)
        return trainer, *trainer.loaders(log)

    return make


@pytest.mark.parametrize("model", ["NARM", "BERT4Rec"])
def test_copy_learns_the_rule(make_trainer, model):
    trainer, queries, held_out = make_trainer(
        model, n_sequences=150, n_layers=1, surrogate_epochs=20, surrogate_learning_rate=0.01
    )
    _, untrained = trainer._valid_epoch(held_out)
    _, trained = trainer.fit(queries, held_out)
    assert untrained["agreement@10"] < 0.5
    assert trained["agreement@10"] > 0.75
    assert trained["loss"] < untrained["loss"]


@pytest.mark.parametrize(("rate", "learned"), [(1e-30, False), (0.01, True)])
def test_a_copy_that_is_no_better_than_before_training_is_told(make_trainer, rate, learned):
    trainer, queries, held_out = make_trainer(n_sequences=50, surrogate_learning_rate=rate)
    assert not trainer.improved
    untrained = trainer._valid_epoch(held_out)[0]
    trainer.fit(queries, held_out)
    assert trainer.untrained_loss == untrained
    assert trainer.improved is learned


def test_a_held_out_loss_that_is_no_number_stops_it(make_trainer):
    trainer, queries, held_out = make_trainer()
    trainer.held_out_figures = lambda data: {"loss": float("nan")}
    with pytest.raises(UserError, match=r"^surrogate: epoch 0: the loss on held-out queries is nan, so it stopped"):
        trainer.fit(queries, held_out)


def test_copy_ranks_as_the_service_does(make_trainer):
    trainer, queries, held_out = make_trainer(n_sequences=150, surrogate_epochs=20, surrogate_learning_rate=0.01)
    trainer.fit(queries, held_out)
    trainer.load_saved()
    histories = torch.tensor([[5, 6, 7], [20, 25, 28]])
    copied = BlackBox(trainer.model, 10).query(histories)
    served = RuleService().recommend(histories)
    middle = (copied[:, :3, None] == served[:, None, :5]).any(2)
    assert middle.float().mean() > 0.8


def test_surrogate_is_the_targets_architecture_by_default(make_config):
    config = make_config("BERT4Rec")
    surrogate, surrogate_config = create_surrogate(config, 31)
    assert type(surrogate).__name__ == surrogate_config["model"] == "BERT4Rec"
    assert surrogate.hidden_size == config["hidden_size"]
    assert surrogate.n_items == 31


def test_another_surrogate_takes_its_own_architecture(make_config, tmp_path):
    config = make_config("BERT4Rec", surrogate_model="NARM")
    assert create_surrogate(config, 31)[0].hidden_size == 128
    (tmp_path / "small.yaml").write_text("hidden_size: 24\n")
    config = make_config("BERT4Rec", surrogate_model="NARM", surrogate_config=str(tmp_path / "small.yaml"))
    assert create_surrogate(config, 31)[0].hidden_size == 24


def test_surrogate_is_made_for_the_catalogue_asked_not_for_the_dataset(make_config):
    assert create_surrogate(make_config("NARM"), 77)[0].item_embedding.num_embeddings == 77


@pytest.fixture
def features(tmp_path, make_config):
    """A config and a dataset of items with a class: `config, dataset = features("GRU4RecF")`."""
    folder = write_inter(tmp_path / "data", {f"u{u}": [f"i{(u + t) % 12}" for t in range(8)] for u in range(12)})
    lines = [f"i{item}\t{'red' if item % 2 else 'blue'}" for item in range(12)]
    (folder / "tiny" / "tiny.item").write_text("item_id:token\tclass:token\n" + "\n".join(lines) + "\n")

    def make(model, **settings):
        config = make_config(model, load_col=None, **{"data_path": str(folder), "served_k": 5, **settings})
        return config, build_loaders(config, build_dataset(config))[0]._dataset

    return make


class TestCatalogue:
    """An attacker knows how many items there are and nothing else, unless he is let."""

    def test_knows_how_many_items_there_are(self, make_config):
        config = make_config()
        assert Catalogue(config, 31).num(config["ITEM_ID_FIELD"]) == 31

    def test_knows_no_user_and_no_interaction(self, make_config):
        config = make_config()
        catalogue = Catalogue(config, 31)
        assert catalogue.num(config["USER_ID_FIELD"]) == catalogue.user_num == 1
        assert len(catalogue.inter_feat) == 0

    @pytest.mark.parametrize("ask", [lambda c: c.num("class"), lambda c: c.get_item_feature(), lambda c: c.field2type])
    def test_sees_no_features(self, make_config, ask):
        with pytest.raises(UserError, match=r"surrogate: its model reads .*surrogate_knows_features=True"):
            ask(Catalogue(make_config(), 31))

    def test_has_nothing_else(self, make_config):
        with pytest.raises(UserError, match="surrogate: its model reads item_counter of the data"):
            _ = Catalogue(make_config(), 31).item_counter

    def test_where_he_is_let_he_sees_features_and_still_no_users(self, features):
        config, dataset = features("GRU4RecF")
        catalogue = Catalogue(config, dataset.item_num, dataset)
        assert catalogue.num("class") == 3
        assert catalogue.num("user_id") == 1
        with pytest.raises(UserError, match="an attacker sees items and their features only"):
            catalogue.num("timestamp")

    @pytest.mark.parametrize("model", ["GRU4RecF", "SASRecF", "FDSA"])
    def test_a_surrogate_that_reads_features_needs_leave(self, features, model):
        config, dataset = features("GRU4Rec", surrogate_model=model, surrogate_knows_features=True)
        surrogate, _ = create_surrogate(config, dataset.item_num, dataset)
        assert BlackBox(surrogate, 5).query([[1, 2]]).shape == (1, 5)
        config, dataset = features("GRU4Rec", surrogate_model=model)
        with pytest.raises(UserError, match="surrogate_knows_features=True"):
            create_surrogate(config, dataset.item_num, dataset)


def test_recboles_evaluation_is_never_asked(make_trainer, monkeypatch):
    def refuse(*args, **kwargs):
        raise AssertionError("evaluated on data")

    monkeypatch.setattr(Trainer, "evaluate", refuse)
    monkeypatch.setattr(Trainer, "_valid_epoch", refuse)
    trainer, queries, held_out = make_trainer()
    score, result = trainer.fit(queries, held_out)
    assert score == result["loss"]


@pytest.mark.parametrize("metric", ["ItemCoverage", "AveragePopularity"])
def test_metrics_of_the_run_do_not_matter_to_it(make_trainer, metric):
    trainer, queries, held_out = make_trainer(metrics=["Hit", "NDCG", metric])
    _, result = trainer.fit(queries, held_out)
    assert set(result) == {"loss", "agreement@10"}


class Scripted(ExtractionTrainer):
    """Held-out losses as the test wants them; remembers the weights of every epoch."""

    losses = (0.9, 0.5, 0.7, 0.6, 0.1)

    def _valid_epoch(self, valid_data, show_progress=False):
        self.seen = [*getattr(self, "seen", []), weights_of(self.model)]
        loss = self.losses[len(self.seen) - 1]
        return loss, {"loss": loss}


def test_training_stops_when_the_held_out_loss_no_longer_falls(make_trainer):
    trainer, queries, held_out = make_trainer(cls=Scripted, surrogate_epochs=5, surrogate_patience=1)
    score, _ = trainer.fit(queries, held_out)
    assert len(trainer.seen) == 4
    assert score == 0.5
    assert not trainer.still_improving
    trainer.load_saved()
    assert same_weights(weights_of(trainer.model), trainer.seen[1])


def test_held_out_loss_is_looked_at_after_every_epoch(make_trainer):
    trainer, queries, held_out = make_trainer(
        cls=Scripted, surrogate_epochs=4, surrogate_patience=9, epochs=8, eval_step=4
    )
    trainer.fit(queries, held_out)
    assert len(trainer.seen) == 4


@pytest.mark.parametrize(("epochs", "cut"), [(2, True), (3, True), (4, False)])
def test_passes_that_end_before_its_patience_does_are_told(make_trainer, epochs, cut):
    trainer, queries, held_out = make_trainer(cls=Scripted, surrogate_epochs=epochs, surrogate_patience=1)
    trainer.fit(queries, held_out)
    assert trainer.still_improving is cut


def test_patience_lets_it_go_on(make_trainer):
    trainer, queries, held_out = make_trainer(cls=Scripted, surrogate_epochs=5, surrogate_patience=2)
    assert trainer.fit(queries, held_out)[0] == 0.1


def test_held_out_queries_are_not_trained_on(make_trainer):
    _, queries, held_out = make_trainer(n_sequences=20)
    rows = [{tuple(row) for row in loader.log.sequences.tolist()} for loader in (queries, held_out)]
    assert (len(rows[0]), len(rows[1])) == (18, 2)
    assert not rows[0] & rows[1]


def test_held_out_loss_is_the_same_each_time(make_trainer):
    trainer, _, held_out = make_trainer()
    assert trainer._valid_epoch(held_out) == trainer._valid_epoch(held_out)


def test_same_seed_same_copy(make_trainer):
    copies = []
    for _ in range(2):
        trainer, queries, held_out = make_trainer()
        trainer.fit(queries, held_out)
        copies.append(weights_of(trainer.model))
    assert same_weights(*copies)


def test_settings_of_the_attack_are_used(make_trainer):
    trainer, queries, held_out = make_trainer(
        surrogate_learning_rate=0.25, surrogate_epochs=3, surrogate_batch_size=7, margin_rank=0.1, margin_negative=0.9
    )
    trainer.fit(queries, held_out)
    assert trainer.optimizer.param_groups[0]["lr"] == 0.25
    assert len(trainer.train_loss_dict) == 3
    assert max(len(batch[LISTED]) for batch in queries) == 6  # a sequence of 6 with all its prefixes
    assert trainer.margins == (0.1, 0.9)


def test_padding_of_lists_changes_neither_loss_nor_agreement(make_trainer, monkeypatch):
    """Lists cut to 4 items are learned as lists of 4, whether or not 0 pads them to 10."""
    negatives = "recbole_gro.attack.surrogate_trainer.sample_negatives"
    monkeypatch.setattr(negatives, lambda served, *_: torch.full_like(served, 9))
    trainer, _, held_out = make_trainer()
    results = []
    for width in (4, 10):
        lists = held_out.log.lists[:, :, :width].clone()
        lists[:, :, 4:] = 0
        _, loader = trainer.loaders(QueryLog(held_out.log.sequences.repeat(9, 1), lists.repeat(9, 1, 1)))
        assert (LISTED_LENGTH in next(iter(loader))) == (width == 10)
        results.append(trainer._valid_epoch(loader)[1])
    assert results[0]["loss"] == pytest.approx(results[1]["loss"], rel=1e-5)
    # the copy's first 4 against the list's, and its first 10
    assert results[0]["agreement@10"] <= results[1]["agreement@10"] <= 1


def test_agreement_is_whole_where_all_of_a_short_list_is_found(make_trainer):
    trainer, _, held_out = make_trainer(n_sequences=40)
    model = trainer.model
    histories = held_out.log.sequences
    lists = torch.stack([BlackBox(model, 10).query(histories[:, : t + 1]) for t in range(histories.shape[1])], 1)
    lists[:, :, 3:] = 0
    held_out.log.lists, held_out.list_lengths = lists, (lists != 0).sum(2)
    assert trainer._valid_epoch(held_out)[1]["agreement@10"] == pytest.approx(1)


def test_a_copy_learns_the_rule_from_short_lists(make_trainer):
    trainer, queries, held_out = make_trainer(
        n_sequences=150, surrogate_epochs=20, surrogate_learning_rate=0.01, service=TruncatedService()
    )
    assert int(queries.log.lists[:, :, 4:].max()) == 0
    trainer.fit(queries, held_out)
    trainer.load_saved()
    histories = torch.tensor([[5, 6, 7], [20, 25, 28]])
    copied = BlackBox(trainer.model, 4).query(histories)
    served = RuleService(k=4).recommend(histories)
    assert (copied[:, :, None] == served[:, None]).any(2).float().mean() > 0.7


@pytest.mark.parametrize("key", ["margin_rank", "margin_negative"])
def test_a_wider_margin_is_a_higher_loss(make_trainer, key):
    losses = [make_trainer(**{key: margin})[0] for margin in (0.1, 0.9)]
    batch = next(iter(make_trainer()[2]))
    low, high = (trainer._valid_epoch([batch])[0] for trainer in losses)
    assert high > low + 0.5


def test_surrogate_does_not_start_from_the_targets_weights(tiny_data_path, tmp_path):
    still = {"learning_rate": 1e-12, "surrogate_learning_rate": 1e-12}
    settings = {**still, "defense": "none", "data_path": str(tiny_data_path)}
    run_recbole_gro("BERT4Rec", "tiny", config_dict={**TINY_RUN, **settings, "output_dir": str(tmp_path / "run")})
    target, surrogate = (
        torch.load(tmp_path / "run" / name, weights_only=True)["state_dict"]["item_embedding.weight"][1:]
        for name in ("target.pth", "surrogate-none.pth")
    )
    assert target.shape == surrogate.shape
    assert (target - surrogate).abs().mean() > 0.5 * target.abs().mean()
