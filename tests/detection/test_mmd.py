import pytest
import torch
from detection.cases import N_ITEMS, DetectorCases, K, attack, users, whole

from recbole_gro import create_detector
from recbole_gro.detection.traces import Traces


class TestMMD(DetectorCases):
    name = "mmd"


def test_the_score_is_the_squared_discrepancy_of_the_queries_so_far():
    detector, traces = create_detector("mmd"), attack(3)
    detector.fit(users(100))
    queries = (traces.embeddings[1, :5] - detector.centre) / detector.scale

    def kernel(one, other):
        return torch.exp(-((one[:, None] - other[None]) ** 2).sum(2) / (2 * detector.width**2)).mean()

    reference = detector.reference
    expected = kernel(queries, queries) - 2 * kernel(queries, reference) + kernel(reference, reference)
    assert float(detector.scores(traces)[1, 4]) == pytest.approx(float(expected), abs=1e-5)
    assert float(kernel(reference[:9], reference[:9]) - 2 * kernel(reference[:9], reference)) < float(expected)


def test_the_score_of_a_window_is_that_of_its_last_queries():
    detector = create_detector("mmd")
    detector.fit(users(100))
    same = attack(4, longest=1)
    one = Traces(same.items.view(1, 4), same.ranks.view(1, 4), same.embeddings.view(1, 4, -1), N_ITEMS, K)
    assert float(detector.window_scores(whole(same, 4), 4)) == pytest.approx(
        float(detector.scores(one)[0, 3]), abs=1e-5
    )
