import numpy as np
import pytest
import torch
from audit.cases import CATALOGUE, ring

from recbole_gro.audit.accuracy import accuracy
from recbole_gro.audit.live_service import LiveService


class Following(torch.nn.Module):
    """Rank the second item after the last one first, then those that follow it in the ring."""

    ITEM_SEQ, ITEM_SEQ_LEN = "items", "length"
    n_items, max_seq_length = len(CATALOGUE) + 1, 8

    def __init__(self):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(1))

    def full_sort_predict(self, query):
        last = query["items"].gather(1, query["length"].unsqueeze(1) - 1)
        return -((torch.arange(self.n_items) - last - 2) % len(CATALOGUE)).float()


@pytest.fixture
def measured(client_of):
    """Measure `ring`, with a shorter list after item-20 and none after item-7 and item-8: results and requests."""

    def lists(history):
        if history[-1] == "item-7":
            raise ValueError("no")
        return {"item-8": ["nobody's"], "item-20": ring(history, 4)}.get(history[-1], ring(history))

    def make(*histories, exclude_seen=False):
        client, requests = client_of(lists)
        histories = [[f"item-{item}" for item in history] for history in histories]
        config = {"topk": [1, 3], "MAX_ITEM_LIST_LENGTH": 2, "exclude_seen": exclude_seen}
        return accuracy(client, LiveService(client, CATALOGUE), Following(), histories, config), requests

    return make


def test_service_and_surrogate_are_measured_on_the_last_item_of_each_history(measured):
    results, _ = measured((1, 2, 3), (10, 13), (20, 24))
    # ranks in the service's lists are 1, 3, 4; in the surrogate's 0, 2, 3
    assert results == {
        "users": 3,
        "left_out": 0,
        "service": {"hit@1": 0.3333, "ndcg@1": 0.3333, "hit@3": 0.6667, "ndcg@3": 0.5},
        "surrogate": {"hit@1": 0.0, "ndcg@1": 0.0, "hit@3": 0.6667, "ndcg@3": round((1 / np.log2(3) + 0.5) / 3, 4)},
        "agreement@5": round((4 / 5 + 4 / 5 + 3 / 4) / 3, 4),
    }


@pytest.mark.parametrize("history", [(6, 5, 8), (6, 2, 3, 5, 8)])  # of which two items are sent
def test_items_of_the_history_are_excluded_where_the_setting_says_so(measured, history):
    # the service lists 6 to 10 after 5, of which 6 is seen; the surrogate 7 to 11
    results, _ = measured(history, exclude_seen=True)
    assert results["exclude_seen"]
    assert (results["service"]["hit@1"], results["service"]["ndcg@3"]) == (0.0, round(1 / np.log2(3), 4))
    assert results["surrogate"] == {"hit@1": 0.0, "ndcg@1": 0.0, "hit@3": 1.0, "ndcg@3": round(1 / np.log2(3), 4)}


def test_the_most_recent_items_of_the_catalogue_are_sent(measured):
    results, requests = measured((9, 1, "x", 2, 3), ("x", 10, 13))
    assert sorted(history for request in requests for history in request) == [["item-1", "item-2"], ["item-10"]]
    assert results["service"]["ndcg@3"] == 0.75


def test_users_without_a_known_item_or_a_list_are_left_out_and_counted(measured):
    left_out = [(1, 2, "x"), ("x", 3), (3,), (1, 7, 8), (1, 8, 9)]
    results, requests = measured((1, 2, 3), *left_out)
    assert all(history for request in requests for history in request)
    assert (results["users"], results["left_out"], results["service"]["hit@1"]) == (1, 5, 1.0)
    assert measured(*left_out[:3])[0] == {"users": 0, "left_out": 3}
