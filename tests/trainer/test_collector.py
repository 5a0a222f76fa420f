"""One ranking per batch gives the values of RecBole's collector."""

import pytest
import torch
from recbole.evaluator.collector import Collector

from recbole_gro.trainer import collector as module
from recbole_gro.trainer.collector import RankCollector


@pytest.mark.parametrize("at_once", [1, 2, 9])
def test_rows_keep_their_order_however_batches_are_joined(make_config, monkeypatch, at_once):
    monkeypatch.setattr(module, "JOINED_AT_ONCE", at_once)
    collector = RankCollector(make_config("NARM", metrics=["Hit", "ItemCoverage"], topk=[2], valid_metric="Hit@2"))
    for first in (1, 3, 5, 7, 9):
        collector.collect_ranked(torch.tensor([[first, first + 1]]), torch.tensor([first]))
    collected = collector.get_data_struct()
    assert collected["rec.items"].tolist() == [[1, 2], [3, 4], [5, 6], [7, 8], [9, 10]]
    assert collected["rec.topk"].tolist() == 5 * [[1, 0, 1]]


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
@pytest.mark.parametrize("per_row", [(1, 1), (2, 2), (1, 2)])
def test_what_metrics_read_is_the_same(make_config, kind, metrics, n_items, per_row):
    config, draw = make_config("NARM"), torch.Generator().manual_seed(1)
    config["metrics"], config["topk"] = metrics, [1, 10]
    ours, recboles = RankCollector(config), Collector(config)
    for rows, of_a_row in zip((5, 7), per_row, strict=True):
        scores = scores_of(kind, rows, n_items, draw)
        relevant = torch.randint(1, n_items, (rows * of_a_row,), generator=draw)
        relevant[0] = scores[0, 1:].argmax() + 1
        owner = torch.arange(rows).repeat_interleave(of_a_row)
        for collector in (ours, recboles):
            collector.eval_batch_collect(scores.clone(), None, owner, relevant)
    ours, recboles = (collector.get_data_struct()._data_dict for collector in (ours, recboles))
    assert ours.keys() == recboles.keys()
    for name, values in recboles.items():
        assert ours[name].dtype == values.dtype
        assert torch.equal(ours[name].nan_to_num(), values.nan_to_num()), name
