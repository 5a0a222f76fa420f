import math

import pytest
import torch
from detection.cases import N_ITEMS, DetectorCases, K, users

from recbole_gro import create_detector
from recbole_gro.detection.traces import Traces


class TestCoverage(DetectorCases):
    name = "coverage"


@pytest.fixture
def detector():
    made = create_detector("coverage")
    made.fit(users(500))
    return made


def traces_of(rows):
    items = torch.tensor(rows)
    return Traces(items, torch.zeros_like(items), torch.zeros(*items.shape, 4), N_ITEMS, K)


def test_repeats_are_counted_against_those_of_users(detector):
    assert detector.repeats == 0  # users of the tests never repeat an item
    middle = int((detector.popularity.double().log() - detector.mean).abs()[1:].argmin()) + 1
    scores = detector.scores(traces_of([[middle] * 4]))[0]
    assert scores[2:].tolist() == pytest.approx([2 / 0.5, 3 / 0.5])


def test_items_more_and_less_popular_than_users_items_have_higher_scores(detector):
    order = detector.popularity.argsort()[1:]
    scores = detector.scores(traces_of([order[:6].tolist(), order[-6:].tolist()]))[:, -1]
    random = detector.scores(users(300, seed=4))[:, 5]
    assert float(scores.min()) > float(random.median())


def test_a_window_of_one_item_covers_less_than_one_of_all(detector):
    same, different = [[3] * 10] * 2, [list(range(1, 11)), list(range(11, 21))]
    scores = detector.window_scores(traces_of(same + different), 2)
    assert float(scores[0]) > float(scores[1])


def test_the_score_of_a_window_by_hand():
    """Items 1 to 4 have 4, 2, 1 and 1 of 8 occurrences, and ranks 1 to 4, one per bin."""
    detector = create_detector("coverage")
    benign, windows = torch.tensor([[1, 1, 2, 4], [1, 2, 1, 3]]), torch.tensor([[3, 4], [3, 0], [1, 2], [4, 3]])
    detector.fit(Traces(benign, torch.zeros_like(benign), torch.zeros(2, 4, 1), 5, K))
    scores = detector.window_scores(Traces(windows, torch.zeros_like(windows), torch.zeros(4, 1, 1), 5, K), 2)
    benign_shares = {1: 4.5 / 10, 2: 2.5 / 10, 3: 1.5 / 10, 4: 1.5 / 10}  # each bin has half a count more
    wanted = []
    for window in ([3, 4, 3], [1, 2, 4, 3]):
        shares = {item: window.count(item) / len(window) for item in window}
        divergence = sum(share * math.log(share / benign_shares[item]) for item, share in shares.items())
        different = sum(1 - (1 - share) ** len(window) for share in (4 / 8, 2 / 8, 1 / 8, 1 / 8))
        wanted.append(divergence + abs(math.log(len(shares) / different)))
    assert scores.tolist() == pytest.approx(wanted, abs=1e-5)
