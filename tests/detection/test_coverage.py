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
