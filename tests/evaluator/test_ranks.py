import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from recbole.evaluator.metrics import NDCG, Hit

from recbole_gro.evaluator.ranks import hits, ndcg, ranks


def test_ranks_count_from_the_first_item_of_the_list():
    lists = torch.tensor([[7, 2, 5], [1, 2, 3], [4, 9, 0]])
    assert ranks(lists, torch.tensor([5, 4, 4])).tolist() == [3, 0, 1]


@settings(deadline=None, max_examples=30)
@given(ranks=arrays(np.int32, st.integers(1, 40), elements=st.integers(0, 100)))
def test_metrics_equal_recboles(ranks):
    cut_offs = [1, 5, 10, 20, 50, 100]
    listed = np.arange(1, 101) == ranks[:, None]
    config = {"topk": cut_offs, "metric_decimal_place": 12}
    hit = Hit(config).topk_result("hit", Hit(config).metric_info(listed))
    gain = NDCG(config).topk_result("ndcg", NDCG(config).metric_info(listed, np.ones(len(ranks), int)))
    for k in cut_offs:
        assert hits(ranks, k).mean() == pytest.approx(hit[f"hit@{k}"], abs=1e-11)
        assert ndcg(ranks, k).mean() == pytest.approx(gain[f"ndcg@{k}"], abs=1e-11)


def test_metrics_keep_the_shape():
    ranks = np.array([[1, 0, 2], [7, 8, 0]], np.int32)
    assert hits(ranks, 7).tolist() == [[1, 0, 1], [1, 0, 0]]
    assert ndcg(ranks, 7) == pytest.approx(np.array([[1, 0, 1 / np.log2(3)], [1 / 3, 0, 0]]))
