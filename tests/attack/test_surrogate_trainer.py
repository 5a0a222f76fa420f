from unittest import mock

import pytest
import torch
from attack.cases import RuleService
from pipeline import same_weights, weights_of
from recbole.model.sequential_recommender import STAMP
from recbole.trainer import Trainer

from recbole_gro import (
    BlackBox,
    ExtractionTrainer,
    QueryLog,
    UserError,
    create_query_strategy,
    create_surrogate,
)
from recbole_gro.attack.query_log import LISTED, LISTED_LENGTH
from recbole_gro.scoring import picked_scores
from recbole_gro.serving.callable_service import CallableService
from recbole_gro.utils.patching import replaced


class TruncatedService(RuleService):
    """Serve the lists of RuleService, cut to 4 items."""

    def recommend(self, sequences):
        return super().recommend(sequences) * (torch.arange(self.k) < 4)


@pytest.fixture
def make_trainer(make_config, tmp_path):
    """Make a trainer and its query batches: `trainer, queries, held_out = make_trainer("NARM", n_sequences=50)`."""

    def make(model="NARM", n_sequences=12, cls=ExtractionTrainer, service=None, own_class=None, **settings):
        settings = {"output_dir": str(tmp_path / "run"), "data_path": "/no/such/folder", **settings}
        config = make_config(model, **{"surrogate_epochs": 2, "surrogate_batch_size": 64, **settings})
        box = BlackBox(service or RuleService())
        log = create_query_strategy("autoregressive").query(box, n_sequences, 6, torch.Generator().manual_seed(2))
        torch.manual_seed(8)
        surrogate, surrogate_config = create_surrogate(config, box.n_items)
        surrogate.__class__ = own_class or type(surrogate)
        trainer = cls(surrogate_config, surrogate)
        return trainer, *trainer.loaders(log)

    return make


class ReadsItsScores(STAMP):
    """Refuse scores that are all 0."""

    def full_sort_predict(self, interaction):
        scores = super().full_sort_predict(interaction)
        assert scores.detach().any()
        return scores


def test_a_model_of_ones_own_sees_its_own_scores(make_trainer):
    service = RuleService()
    service.k = (service.n_items - 1) // 10
    trainer, queries, held_out = make_trainer("STAMP", own_class=ReadsItsScores, service=service)
    trainer.fit(queries, held_out)


@pytest.mark.parametrize("model", ["NARM", "BERT4Rec"])
def test_surrogate_reproduces_the_rule(make_trainer, model):
    trainer, queries, held_out = make_trainer(
        model, n_sequences=150, n_layers=1, surrogate_epochs=20, surrogate_learning_rate=0.01
    )
    _, untrained = trainer._valid_epoch(held_out)
    _, trained = trainer.fit(queries, held_out)
    assert untrained["agreement@10"] < 0.5
    assert trained["agreement@10"] > 0.75
    assert trained["loss"] < untrained["loss"]


@pytest.mark.parametrize(("rate", "improved"), [(1e-30, False), (0.01, True)])
def test_a_surrogate_that_does_not_improve_is_reported(make_trainer, rate, improved):
    trainer, queries, held_out = make_trainer(n_sequences=50, surrogate_learning_rate=rate)
    assert not trainer.improved
    untrained = trainer._valid_epoch(held_out)[0]
    trainer.fit(queries, held_out)
    assert trainer.untrained_loss == untrained
    assert trainer.improved is improved


def test_a_held_out_loss_of_nan_is_an_error(make_trainer):
    trainer, queries, held_out = make_trainer()
    trainer.held_out_figures = lambda *_: {"loss": float("nan")}
    with pytest.raises(UserError, match=r"^surrogate: epoch 0: the loss on held-out queries is nan, so it stopped"):
        trainer.fit(queries, held_out)


def test_surrogate_ranks_as_the_service_does(make_trainer):
    trainer, queries, held_out = make_trainer(n_sequences=150, surrogate_epochs=20, surrogate_learning_rate=0.01)
    trainer.fit(queries, held_out)
    trainer.load_saved()
    histories = torch.tensor([[5, 6, 7], [20, 25, 28]])
    predicted = BlackBox(trainer.model, 10).query(histories)
    served = RuleService().recommend(histories)
    middle = (predicted[:, :3, None] == served[:, None, :5]).any(2)
    assert middle.float().mean() > 0.8


def test_recboles_evaluation_is_never_called(make_trainer, monkeypatch):
    def refuse(*args, **kwargs):
        raise AssertionError("evaluated on data")

    monkeypatch.setattr(Trainer, "evaluate", refuse)
    monkeypatch.setattr(Trainer, "_valid_epoch", refuse)
    trainer, queries, held_out = make_trainer()
    score, result = trainer.fit(queries, held_out)
    assert score == result["loss"]


@pytest.mark.parametrize("metric", ["ItemCoverage", "AveragePopularity"])
def test_training_does_not_depend_on_the_metrics_of_the_run(make_trainer, metric):
    trainer, queries, held_out = make_trainer(metrics=["Hit", "NDCG", metric])
    _, result = trainer.fit(queries, held_out)
    assert set(result) == {"loss", "agreement@10"}


class Scripted(ExtractionTrainer):
    """Take the held-out losses from a list, and keep the weights of every epoch."""

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


class SumOfScores(ExtractionTrainer):
    """A loss of an attack's own: the scores of the served items, negated."""

    def list_loss(self, scores, served, lengths, generator):
        return -scores.gather(1, served).sum(1).mean()


def test_a_loss_of_an_attacks_own_is_trained_and_validated(make_trainer):
    trainer, queries, held_out = make_trainer(cls=SumOfScores, surrogate_epochs=3)
    before = trainer.held_out_figures(held_out)["loss"]
    assert trainer.untrained_loss is None
    score, _ = trainer.fit(queries, held_out)
    assert trainer.untrained_loss == before
    assert score < before
    assert trainer.improved
    trainer.load_saved()
    total, n = 0.0, 0
    for batch in held_out:
        model = trainer.model
        scores = trainer.scorer.prefix_scores(batch[model.ITEM_SEQ], batch[model.ITEM_SEQ_LEN])
        total -= scores.gather(1, batch[LISTED]).sum().item()
        n += len(scores)
    assert score == pytest.approx(total / n, rel=1e-4)


@pytest.mark.parametrize(
    ("returned", "message"),
    [
        (
            lambda scores: scores,
            r"returned float32 \[\d+, 31\]; a tensor of one number is expected, the mean over lists",
        ),
        (lambda scores: None, "returned NoneType; a tensor of one number"),
        (lambda scores: 0.5, "returned float; a tensor of one number"),
        (lambda scores: scores.argmax(), r"returned int64 \[\]; a tensor of one number"),
        (lambda scores: scores.detach().mean(), "returned a number without a gradient"),
    ],
)
def test_what_is_no_loss_is_refused_with_its_class(make_trainer, returned, message):
    class Own(ExtractionTrainer):
        def list_loss(self, scores, served, lengths, generator):
            return returned(scores)

    trainer, queries, _ = make_trainer(cls=Own)
    with pytest.raises(UserError, match=f"^attacker: list_loss of Own {message}"):
        trainer.fit(queries, saved=False)


def test_a_loss_that_changes_the_served_lists_is_refused(make_trainer):
    class Own(ExtractionTrainer):
        def list_loss(self, scores, served, lengths, generator):
            loss = -scores.gather(1, served).sum(1).mean()
            served.fill_(1)
            return loss

    trainer, queries, _ = make_trainer(cls=Own)
    with pytest.raises(UserError, match=r"^attacker: list_loss of Own changed served in place"):
        trainer.fit(queries, saved=False)


def test_held_out_loss_is_computed_after_every_epoch(make_trainer):
    trainer, queries, held_out = make_trainer(
        cls=Scripted, surrogate_epochs=4, surrogate_patience=9, epochs=8, eval_step=4
    )
    trainer.fit(queries, held_out)
    assert len(trainer.seen) == 4


@pytest.mark.parametrize(("epochs", "still_improving"), [(2, True), (3, True), (4, False)])
def test_training_that_ends_before_early_stopping_is_reported(make_trainer, epochs, still_improving):
    trainer, queries, held_out = make_trainer(cls=Scripted, surrogate_epochs=epochs, surrogate_patience=1)
    trainer.fit(queries, held_out)
    assert trainer.still_improving is still_improving


def test_training_continues_within_its_patience(make_trainer):
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


def test_same_seed_same_surrogate(make_trainer):
    weights = []
    for _ in range(2):
        trainer, queries, held_out = make_trainer()
        trainer.fit(queries, held_out)
        weights.append(weights_of(trainer.model))
    assert same_weights(*weights)


@pytest.mark.parametrize("model", ["BERT4Rec", "NARM"])
def test_the_scores_of_listed_items_and_negatives_suffice(make_trainer, model):
    weights = []
    for few in (picked_scores.FEW, 31):  # 31: all scores are computed
        trainer, queries, _ = make_trainer(model, service=RuleService(k=3), learner="sgd")
        picks = mock.patch.object(picked_scores, "picked_by", side_effect=picked_scores.picked_by)
        with replaced(picked_scores, "FEW", few), picks as picked:
            torch.manual_seed(4)
            trainer.fit(queries)
        assert picked.called == (few != 31)
        weights.append(weights_of(trainer.model))
    assert all(torch.allclose(weights[0][name], weights[1][name], atol=2e-5) for name in weights[0])


def test_settings_of_the_attack_are_used(make_trainer):
    trainer, queries, held_out = make_trainer(
        surrogate_learning_rate=0.25,
        surrogate_epochs=3,
        surrogate_batch_size=7,
        surrogate_min_steps=1,
        margin_rank=0.1,
        margin_negative=0.9,
    )
    trainer.fit(queries, held_out)
    assert trainer.optimizer.param_groups[0]["lr"] == 0.25
    assert len(trainer.train_loss_dict) == 3
    assert max(len(batch[LISTED]) for batch in queries) == 6  # all prefixes of a sequence of 6
    assert trainer.margins == (0.1, 0.9)


@pytest.mark.parametrize("model", ["GRU4Rec", "BERT4Rec"])
@pytest.mark.parametrize(("n_sequences", "steps"), [(20, 20), (200, 20), (1000, 85)])
def test_an_epoch_of_few_lists_has_smaller_batches(make_trainer, model, n_sequences, steps):
    _, queries, _ = make_trainer(model, n_sequences=n_sequences)  # 64 lists per step at most
    assert steps <= len(queries) == len(list(queries)) < 2 * steps
    lists = sum(len(batch[LISTED]) for batch in queries)
    assert lists == queries.log.n_lists == 6 * (n_sequences - n_sequences // 10)


def test_padding_of_lists_changes_neither_loss_nor_agreement(make_trainer, monkeypatch):
    """Lists cut to 4 items train as lists of 4, with or without padding to 10."""
    negatives = "recbole_gro.attack.surrogate_trainer.sample_negatives"
    monkeypatch.setattr(negatives, lambda served, *_, **__: torch.full_like(served, 9))
    trainer, _, held_out = make_trainer()
    results = []
    for width in (4, 10):
        lists = held_out.log.lists[:, :, :width].clone()
        lists[:, :, 4:] = 0
        _, loader = trainer.loaders(QueryLog(held_out.log.sequences.repeat(9, 1), lists.repeat(9, 1, 1)))
        assert (LISTED_LENGTH in next(iter(loader))) == (width == 10)
        results.append(trainer._valid_epoch(loader)[1])
    assert results[0]["loss"] == pytest.approx(results[1]["loss"], rel=1e-5)
    # the surrogate's first 4 against the list's, and its first 10
    assert results[0]["agreement@4"] <= results[1]["agreement@10"] <= 1


def test_agreement_is_1_where_all_of_a_short_list_is_found(make_trainer):
    trainer, _, held_out = make_trainer(n_sequences=40)
    model = trainer.model
    histories = held_out.log.sequences
    lists = torch.stack([BlackBox(model, 10).query(histories[:, : t + 1]) for t in range(histories.shape[1])], 1)
    lists[:, :, 3:] = 0
    held_out.log.lists, held_out.list_lengths = lists, (lists != 0).sum(2)
    assert trainer._valid_epoch(held_out)[1]["agreement@10"] == pytest.approx(1)
    lists[:, ::2] = 0  # queries that a live service did not answer
    held_out.log.lists, held_out.list_lengths = lists, (lists != 0).sum(2)
    assert trainer._valid_epoch(held_out)[1]["agreement@10"] == pytest.approx(1)


def test_agreement_is_named_by_the_number_of_items_that_it_compares(make_trainer):
    trainer, _, held_out = make_trainer()
    for genuine_k, name in ((None, "agreement@10"), (12, "agreement@10"), (4, "agreement@4")):
        assert list(trainer.held_out_figures(held_out, genuine_k)) == ["loss", name]
    trainer, _, held_out = make_trainer(service=RuleService(k=5))
    assert list(trainer.held_out_figures(held_out)) == ["loss", "agreement@5"]
    assert list(trainer.held_out_figures(held_out, 4)) == ["loss", "agreement@4"]


def test_surrogate_reproduces_the_rule_from_short_lists(make_trainer):
    trainer, queries, held_out = make_trainer(
        n_sequences=150,
        surrogate_epochs=20,
        surrogate_learning_rate=0.01,
        surrogate_min_steps=1,
        service=TruncatedService(),
    )
    assert int(queries.log.lists[:, :, 4:].max()) == 0
    trainer.fit(queries, held_out)
    trainer.load_saved()
    histories = torch.tensor([[5, 6, 7], [20, 25, 28]])
    predicted = BlackBox(trainer.model, 4).query(histories)
    served = RuleService(k=4).recommend(histories)
    assert (predicted[:, :, None] == served[:, None]).any(2).float().mean() > 0.7


@pytest.mark.parametrize("key", ["margin_rank", "margin_negative"])
def test_a_wider_margin_is_a_higher_loss(make_trainer, key):
    losses = [make_trainer(**{key: margin})[0] for margin in (0.1, 0.9)]
    batch = next(iter(make_trainer()[2]))
    low, high = (trainer._valid_epoch([batch])[0] for trainer in losses)
    assert high > low + 0.5


def test_an_averaged_surrogate_is_validated_and_saved_as_the_mean_of_its_steps(make_trainer):
    trainer, queries, held_out = make_trainer(surrogate_averaging=0.9, surrogate_epochs=3)
    plain, *batches = make_trainer(surrogate_epochs=3)
    torch.manual_seed(3)
    plain.fit(*batches)
    torch.manual_seed(3)
    _, best = trainer.fit(queries, held_out)
    assert same_weights(trainer.averaged.trained, weights_of(plain.model))  # the steps are those of a plain training
    assert not same_weights(weights_of(trainer.model), weights_of(plain.model))
    assert same_weights(weights_of(trainer.model), trainer.averaged.mean)
    trainer.load_saved()
    assert trainer.held_out_figures(held_out) == best


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (lambda log: QueryLog(log.sequences[:1], log.lists[:1]), r"int64 \[1, 6\]; int64 \[2 or more, L\]"),
        (lambda log: QueryLog(log.sequences[:0], log.lists[:0]), r"int64 \[0, 6\]; int64 \[2 or more, L\]"),
        (lambda log: QueryLog(log.sequences, log.lists[:, :3]), r"int32 \[8, 3, 10\]; int64 \[S, L, k\]"),
        (lambda log: QueryLog(log.sequences + 1, log.lists), "have ids from 2 to 31; items are 1 to 30"),
        (lambda log: QueryLog(log.sequences, log.lists - 1), "have 0 before an item"),
        (lambda log: QueryLog(log.sequences, log.lists.fill_(4)), "have an item twice"),
        (lambda log: QueryLog(log.sequences * (torch.arange(6) != 2), log.lists), "have 0 before an item"),
    ],
)
def test_a_log_that_no_surrogate_can_be_trained_on_is_refused(make_trainer, wrong, message):
    trainer, *_ = make_trainer()
    generator = torch.Generator().manual_seed(2)
    log = create_query_strategy("random").query(BlackBox(RuleService()), 8, 6, generator)
    log.sequences[0, 0], log.sequences[0, 1], log.lists[0, 0] = 30, 1, torch.arange(1, 11)
    with pytest.raises(UserError, match=rf"^ExtractionTrainer.loaders: .*{message}"):
        trainer.loaders(wrong(log))


def test_lists_of_the_whole_catalogue_are_refused(make_trainer):
    trainer, *_ = make_trainer()
    everything = CallableService(lambda rows: [range(1, 31)] * len(rows), 31, 30)
    log = create_query_strategy("random").query(BlackBox(everything), 8, 6, torch.Generator().manual_seed(2))
    with pytest.raises(UserError, match=r"^attacker: lists have 30 of 30 items; .* at most 29 fit"):
        trainer.fit(*trainer.loaders(log))
    trainer.fit(*trainer.loaders(log.first(29)))
