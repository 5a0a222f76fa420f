"""Metrics of the items in lists, against slow references, and against RecBole's where no list is short."""

import collections
import math

import pytest
import torch
from recbole.evaluator import metrics, register

from recbole_gro.evaluator import item_metrics

COUNTS = {1: 7, 2: 5, 3: 2, 4: 1, 5: 1, 6: 1}
N_ITEMS = 8
SHORT = torch.tensor([[1, 2, 3], [4, 1, 0], [2, 0, 0]])
FULL = torch.tensor([[1, 2, 3], [4, 1, 5], [2, 6, 7]])
ALL = ["ItemCoverage", "ShannonEntropy", "GiniIndex", "AveragePopularity", "TailPercentage"]


def measured(cls, lists, topk=(1, 2, 3)):
    config = {"topk": list(topk), "metric_decimal_place": 12, "tail_ratio": 0.5}
    found = {"rec.items": lists, "data.num_items": N_ITEMS, "data.count_items": collections.Counter(COUNTS)}
    return list(cls(config).calculate_metric(found).values())


def listed(k):
    return [[item for item in row[:k] if item] for row in SHORT.tolist()]


def shares(k):
    """Return the share of each listed item among all, in ascending order."""
    counts = collections.Counter(item for row in listed(k) for item in row)
    return sorted(count / sum(counts.values()) for count in counts.values())


def coverage(k):
    return len({item for row in listed(k) for item in row}) / N_ITEMS


def entropy(k):
    return -sum(p * math.log(p) for p in shares(k)) / len(shares(k))


def gini(k):
    every = [0.0] * (N_ITEMS - len(shares(k))) + shares(k)
    return sum((2 * place - N_ITEMS - 1) * share for place, share in enumerate(every, 1)) / N_ITEMS


def popularity(k):
    return sum(sum(COUNTS[item] for item in row) / len(row) for row in listed(k)) / len(SHORT)


def tail(k):
    return sum(sum(item in (4, 5, 6) for item in row) / len(row) for row in listed(k)) / len(SHORT)


SLOW = dict(zip(ALL, (coverage, entropy, gini, popularity, tail), strict=True))


@pytest.mark.parametrize("name", ALL)
def test_padding_is_no_item(name):
    found = measured(getattr(item_metrics, name), SHORT)
    assert found == pytest.approx([SLOW[name](k) for k in (1, 2, 3)])
    assert found != pytest.approx(measured(getattr(metrics, name), SHORT))


@pytest.mark.parametrize("name", ALL)
def test_of_full_lists_the_metric_is_recboles(name):
    assert measured(getattr(item_metrics, name), FULL) == measured(getattr(metrics, name), FULL)
    assert register.metrics_dict[name.lower()] is getattr(item_metrics, name)


@pytest.mark.parametrize("name", ALL)
def test_without_an_item_the_metric_is_0(name):
    assert measured(getattr(item_metrics, name), torch.zeros(2, 3, dtype=torch.long)) == [0, 0, 0]


@pytest.mark.parametrize("tail_ratio", [0.3, 1.0, 4])
def test_each_item_is_searched_in_the_tail_once_however_many_lists_have_it(tail_ratio, monkeypatch):
    find, searched = metrics.TailPercentage.get_tail, []

    def recorded(self, items, counts):
        searched.append(items.size)
        return find(self, items, counts)

    monkeypatch.setattr(metrics.TailPercentage, "get_tail", recorded)
    lists = torch.randint(N_ITEMS, (500, 6), generator=torch.Generator().manual_seed(1)).numpy()
    metric = item_metrics.TailPercentage({"topk": [3], "metric_decimal_place": 12, "tail_ratio": tail_ratio})
    ours = metric.get_tail(lists, COUNTS)
    assert searched == [N_ITEMS]
    assert ours.tolist() == find(metric, lists, COUNTS).tolist()
