"""One ranking per batch gives the values of RecBole's collector."""

import pytest
import torch
from recbole.data.interaction import Interaction
from recbole.evaluator.collector import Collector

from recbole_gro.trainer.collector import RankCollector


def scores_of(kind, rows, n_items, draw):
    scores = torch.randn(rows, n_items, generator=draw)
    if kind == "tied":
        scores = (3 * scores).round()
    if kind == "nan":
        scores[0, 3:9] = torch.nan
    scores[:, 0] = -torch.inf
    return scores


@pytest.mark.parametrize("kind", ["different", "tied", "nan"])
@pytest.mark.parametrize("metrics", [["NDCG"], ["ItemCoverage"], ["Hit", "NDCG", "GiniIndex"], ["NDCG", "GAUC"]])
@pytest.mark.parametrize("n_items", [12, 900])
@pytest.mark.parametrize("per_row", [1, 2])
def test_what_metrics_read_is_the_same(make_config, kind, metrics, n_items, per_row):
    config, draw = make_config("NARM"), torch.Generator().manual_seed(1)
    config["metrics"], config["topk"] = metrics, [1, 10]
    ours, recboles = RankCollector(config), Collector(config)
    for rows in (5, 7):
        scores = scores_of(kind, rows, n_items, draw)
        relevant = torch.randint(1, n_items, (rows * per_row,), generator=draw)
        relevant[0] = scores[0, 1:].argmax() + 1
        owner = torch.arange(rows).repeat_interleave(per_row)
        for collector in (ours, recboles):
            collector.eval_batch_collect(scores.clone(), None, owner, relevant)
    ours, recboles = (collector.get_data_struct()._data_dict for collector in (ours, recboles))
    assert ours.keys() == recboles.keys()
    for name, values in recboles.items():
        assert ours[name].dtype == values.dtype
        assert torch.equal(ours[name].nan_to_num(), values.nan_to_num()), name


def test_labels_of_rows_without_relevant_items_are_collected_as_recbole_does(make_config):
    config = make_config("NARM")
    config["metrics"], config["topk"] = ["RMSE", "LogLoss"], [1, 10]
    rows = Interaction({config["LABEL_FIELD"]: torch.tensor([1.0, 0.0, 1.0])})
    found = []
    for collector in (RankCollector(config), Collector(config)):
        collector.eval_batch_collect(torch.tensor([0.2, 0.5, 0.9]), rows, None, None)
        found.append(collector.get_data_struct()._data_dict)
    assert found[0].keys() == found[1].keys() == {"rec.score", "data.label"}
    assert all(torch.equal(found[0][name], values) for name, values in found[1].items())
