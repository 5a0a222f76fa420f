import math
import sys

import pytest
import torch
from pipeline import untrained
from recbole.evaluator.collector import Collector
from recbole.trainer import Trainer

from recbole_gro import Service
from recbole_gro.evaluator import PopularityService, ServedEvaluator, evaluate_service
from recbole_gro.trainer.base import TargetTrainer
from recbole_gro.utils.errors import UserError


class Fixed(Service):
    """Serve prepared lists, row by row, for any query."""

    def __init__(self, model, lists):
        super().__init__(model, lists.shape[1])
        self.prepared, self.n_served = lists, 0

    def recommend(self, sequences):
        self.n_served += len(sequences)
        return self.prepared[self.n_served - len(sequences) : self.n_served]


def assert_hit_and_ndcg(result, places, k):
    """Compare the metrics at k with those of test items at known places: 1 = first, None = not listed."""
    gains = [1 / math.log2(place + 1) if place is not None and place <= k else 0 for place in places]
    assert result[f"hit@{k}"] == pytest.approx(sum(gain > 0 for gain in gains) / len(places), abs=1e-6)
    assert result[f"ndcg@{k}"] == pytest.approx(sum(gains) / len(places), abs=1e-6)


def lists_with_positive_at(places, positives, n_items, k):
    """Return lists of k items with the row's test item at its place: 1 = first, None = not listed."""
    lists = []
    for place, positive in zip(places, positives.tolist(), strict=True):
        row = [item for item in range(1, n_items) if item != positive][:k]
        if place is not None:
            row[place - 1] = positive
        lists.append(row)
    return torch.tensor(lists)


def test_hit_and_ndcg_of_lists_by_hand(make_loaders):
    config, train, _, test = make_loaders("NARM", served_k=6, topk=[1, 3, 5], valid_metric="NDCG@5")
    model = untrained(config, train)
    positives = torch.cat([batch[3] for batch in test])
    places = [(1, 2, 4, 6, None)[row % 5] for row in range(len(positives))]
    service = Fixed(model, lists_with_positive_at(places, positives, model.n_items, 6))
    result = ServedEvaluator(config, service).evaluate(test)
    for k in (1, 3, 5):
        assert_hit_and_ndcg(result, places, k)


@pytest.mark.parametrize("left", [1, 2, 5])
def test_a_padded_position_is_a_miss(make_loaders, left):
    cut_offs = {"served_k": 6, "topk": [1, 3, 6], "valid_metric": "NDCG@6", "metrics": ["Hit", "NDCG", "ItemCoverage"]}
    config, train, _, test = make_loaders("NARM", **cut_offs)
    model = untrained(config, train)
    positives = torch.cat([batch[3] for batch in test])
    places = [(1, 2, 4, 6, None)[row % 5] for row in range(len(positives))]
    lists = lists_with_positive_at(places, positives, model.n_items, 6)
    lists[:, left:] = 0
    evaluator = ServedEvaluator(config, Fixed(model, lists))
    evaluator.eval_collector.data_collect(train)
    result = evaluator.evaluate(test)
    for k in (1, 3, 6):
        assert_hit_and_ndcg(result, [place if place is not None and place <= left else None for place in places], k)
        n_listed = len(lists[:, :k].unique()) - (k > left)  # without 0, which is no item
        assert result[f"itemcoverage@{k}"] == pytest.approx(n_listed / model.n_items, abs=1e-6)


METRICS = ["Hit", "NDCG", "MRR", "MAP", "Recall", "Precision", "ItemCoverage", "AveragePopularity", "GiniIndex"]


class TableEvaluator(ServedEvaluator):
    """RecBole's own evaluation of a table of scores whose highest are the served list."""

    def __init__(self, config, service):
        super().__init__(config, service)
        self.eval_collector = Collector(config)

    def _full_sort_batch_eval(self, batched_data):
        interaction, served, *relevant = super()._full_sort_batch_eval(batched_data)
        scores = torch.full((len(served), self.tot_item_num), -torch.inf)
        scores.scatter_(1, served, torch.arange(served.shape[1], 0.0, -1.0).expand_as(served))
        return interaction, scores, *relevant


@pytest.mark.parametrize("kind", ["model", "popularity", "flipped"])
def test_every_metric_of_lists_is_that_of_recboles_table_to_the_last_digit(make_loaders, kind):
    settings = {"served_k": 9, "topk": [1, 3, 9], "valid_metric": "NDCG@9", "metric_decimal_place": 17}
    config, train, _, test = make_loaders("NARM", metrics=METRICS, eval_batch_size=7, **settings)
    model = untrained(config, train)
    service = {
        "model": Service(model, 9),
        "popularity": PopularityService(model, 9, train._dataset.interaction_counter),
        "flipped": Service(model, 9, lambda ranked, _: ranked.flip(1)),
    }[kind]
    results = []
    for evaluator in (TableEvaluator(config, service), ServedEvaluator(config, service)):
        evaluator.eval_collector.data_collect(train)
        results.append(evaluator.evaluate(test))
    assert results[0] == results[1]
    assert len(results[0]) == 3 * len(METRICS)
    assert results[0]["hit@9"] > 0


@pytest.mark.parametrize("kind", ["model", "popularity"])
def test_cut_offs_beyond_the_lists_are_refused(make_loaders, kind):
    config, *loaders = make_loaders("GRU4Rec", topk=[1, 5])
    model = untrained(config, loaders[0])
    service = Service(model, 3) if kind == "model" else PopularityService(model, 3, {1: 2})
    with pytest.raises(UserError, match="topk: position 5 is beyond the lists of the service, which have 3 items"):
        evaluate_service(config, service, *loaders)


def test_metrics_of_scores_cannot_be_measured_on_lists(make_loaders):
    config, train, _, _ = make_loaders("NARM")
    service = Service(untrained(config, train), 5)
    config["metrics"] = ["GAUC"]
    with pytest.raises(UserError, match=r"metrics: GAUC need rec\.meanrank; a service returns lists alone"):
        ServedEvaluator(config, service)


@pytest.mark.parametrize("terminal", [True, False])
def test_bars_of_evaluations_are_shown_on_a_terminal_alone(make_loaders, monkeypatch, capsys, terminal):
    config, train, valid, test = make_loaders("NARM", eval_batch_size=4)
    config["show_progress"] = True
    monkeypatch.setattr(sys.stderr, "isatty", lambda: terminal)
    service = Service(untrained(config, train), 5)
    evaluate_service(config, service, train, valid, test)
    assert ("evaluation " in capsys.readouterr().err) is terminal
    TargetTrainer(config, service.model).evaluate(test, load_best_model=False, show_progress=True)
    assert ("Evaluate" in capsys.readouterr().err) is terminal


@pytest.mark.parametrize(("model", "shortest"), [("NARM", 1), ("BERT4Rec", 8)])
def test_metrics_of_an_undefended_service_are_those_of_recbole(make_loaders, model, shortest, tmp_path, monkeypatch):
    # RecBole's BERT4Rec drops the oldest item of short histories too, so full ones are compared
    monkeypatch.chdir(tmp_path)
    config, train, _, test = make_loaders(model, user_inter_num_interval=f"[{shortest + 3},inf)")
    target = untrained(config, train)
    plain = Trainer(config, target).evaluate(test, load_best_model=False)
    assert ServedEvaluator(config, Service(target, config["served_k"])).evaluate(test) == plain


def test_a_reversed_list_is_evaluated_as_served(make_loaders):
    config, train, _, test = make_loaders("NARM", served_k=5)
    target = untrained(config, train)
    service = Service(target, 5, lambda ranked, _: ranked.flip(1))
    evaluator = ServedEvaluator(config, service)
    result = evaluator.evaluate(test)
    undefended = ServedEvaluator(config, Service(target, 5))
    undefended_result = undefended.evaluate(test)
    assert torch.equal(evaluator.lists, undefended.lists.flip(1))
    assert result["hit@5"] == undefended_result["hit@5"]
    positives = torch.cat([batch[3] for batch in test])
    assert result["hit@1"] == pytest.approx((undefended.lists[:, 4] == positives).float().mean().item(), abs=1e-6)


def test_lists_are_those_of_the_last_evaluation(make_loaders):
    config, train, _, test = make_loaders("NARM", eval_batch_size=40)
    service = Service(untrained(config, train), 5)
    evaluator = ServedEvaluator(config, service)
    evaluator.evaluate(test)
    evaluator.evaluate(test)
    sequences = torch.cat([batch[0]["item_id_list"] for batch in test])
    assert torch.equal(evaluator.lists, service.recommend(sequences))


def test_evaluation_writes_nothing(make_loaders, tmp_path, monkeypatch):
    config, train, valid, test = make_loaders("NARM")
    folder = tmp_path / "empty"
    folder.mkdir()
    monkeypatch.chdir(folder)
    evaluate_service(config, Service(untrained(config, train), 5), train, valid, test)
    assert list(folder.iterdir()) == []


def test_both_parts_are_evaluated_and_agreement_only_with_a_reference(make_loaders):
    config, train, valid, test = make_loaders("NARM", served_k=10, topk=[5, 10], valid_metric="NDCG@10")
    service = Service(untrained(config, train), 10)
    metrics, lists = evaluate_service(config, service, train, valid, test)
    assert set(metrics) == {"valid", "test"}
    assert lists["test"].shape == (len(test._dataset), 10)
    assert not any(name.startswith("agreement") for name in metrics["test"])
    again, _ = evaluate_service(config, service, train, valid, test, reference=lists)
    assert again["test"]["agreement@1"] == again["valid"]["agreement@10"] == 1
    assert config["metrics"] == ["Hit", "NDCG"]


def test_popularity_is_counted_in_training_data(make_loaders):
    config, train, valid, test = make_loaders("NARM", metrics=["NDCG", "AveragePopularity"])
    service = Service(untrained(config, train), 5)
    metrics, lists = evaluate_service(config, service, train, valid, test)
    counts = train._dataset.item_counter
    mean = sum(counts.get(item, 0) for row in lists["test"].tolist() for item in row) / lists["test"].numel()
    assert metrics["test"]["averagepopularity@5"] == pytest.approx(mean, abs=1e-4)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), None, "high", torch.ones(2)])
def test_a_metric_gives_finite_numbers(make_loaders, monkeypatch, value):
    config, *loaders = make_loaders("NARM", served_k=6, topk=[5], valid_metric="NDCG@5")
    monkeypatch.setattr(ServedEvaluator, "evaluate", lambda *_, **__: {"hit@5": 0.5, "ndcg@5": value})
    with pytest.raises(UserError, match=r"^metrics: ndcg@5 gives .*; a metric gives a finite number per key"):
        evaluate_service(config, Service(untrained(config, loaders[0]), 6), *loaders)


def test_a_metric_without_a_value_per_position_is_refused(make_loaders, monkeypatch):
    config, *loaders = make_loaders("NARM", served_k=6, topk=[5], valid_metric="Hit@5")
    monkeypatch.setattr(ServedEvaluator, "evaluate", lambda *_, **__: {"hit@5": 0.5, "ndcg": 0.5})
    with pytest.raises(UserError, match=r"^metrics: NDCG gives no value named ndcg@5, .* it is one of hit@5, ndcg$"):
        evaluate_service(config, Service(untrained(config, loaders[0]), 6), *loaders)
