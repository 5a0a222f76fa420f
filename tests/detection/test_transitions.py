import math

import pytest
import torch
from detection.cases import N_ITEMS, DetectorCases, K, users

from recbole_gro import create_detector
from recbole_gro.detection.traces import Traces


class TestTransitions(DetectorCases):
    name = "transitions"


def score_of(ranks, items=None):
    detector = create_detector("transitions")
    detector.fit(users(500))
    items = torch.arange(1, len(ranks) + 2).unsqueeze(0) if items is None else torch.tensor([items])
    traces = Traces(items, torch.tensor([[0, *ranks]]), torch.zeros(1, items.shape[1], 4), N_ITEMS, K)
    return detector, detector.scores(traces)[0]


def test_the_score_is_the_mean_likelihood_ratio():
    detector, scores = score_of([15])
    n = N_ITEMS - 1
    first = 1 / n / float(detector.first_item.log_probability(detector.popularity[1:2]).exp())
    ratios = []
    for k in (10, 20):
        for share in (0.03, 0.3, 1.0):
            no_repeat = ((1 - 1 / (2 * k)) / (1 - detector.repeats)) ** (1 - share)
            start = ((1 - 1e-6) / (1 - detector.repeats)) ** (1 - share)
            generated = (1 - share) / k * (k >= 15) + share / n
            real = float(detector.next_item.log_probability(torch.tensor([15])).exp())
            ratios.append(first * start * generated / real * no_repeat)
    assert float(scores[1]) == pytest.approx(math.log(sum(ratios) / 6), abs=1e-4)


def test_unlikely_steps_and_repeats_raise_the_score_and_likely_ones_lower_it():
    _, likely = score_of([1, 1, 1])
    _, unlikely = score_of([150, 180, 199])
    assert float(likely[3]) < float(likely[1])
    assert float(unlikely[3]) > float(unlikely[1]) + 2
    _, repeating = score_of([15, 15, 15], [1, 2, 3, 2])
    _, plain = score_of([15, 15, 15], [1, 2, 3, 4])
    assert float(repeating[3]) > float(plain[3]) + 3


def test_the_score_of_a_window_by_hand():
    """Items 1 to 4 have 4, 2, 1 and 1 of 8 occurrences; steps have the ranks 1, 1, 2 and 4 among benign users."""
    detector = create_detector("transitions")
    benign, ranks = torch.tensor([[1, 1], [1, 2], [2, 3], [1, 4]]), torch.tensor([[0, 1], [0, 2], [0, 1], [0, 4]])
    detector.fit(Traces(benign, ranks, torch.zeros(4, 2, 1), 5, K))
    items, steps = torch.tensor([[3, 4], [1, 0], [1, 2], [1, 3]]), torch.tensor([[0, 3], [0, 0], [0, 1], [0, 4]])
    scores = detector.window_scores(Traces(items, steps, torch.zeros(4, 1, 1), 5, K), 2)
    popular = {1: 4.5 / 10, 3: 1.5 / 10}  # of first items; each bin has half a count more
    step = {1: 2.5 / 6, 3: 0.5 / 6, 4: 1.5 / 6}
    first = math.log(1 / step[3]) + 0.5 * math.log(0.5 / popular[3]) + 0.5 * math.log(0.5 / popular[1])
    second = 0.5 * math.log(0.5 / step[1]) + 0.5 * math.log(0.5 / step[4]) + math.log(1 / popular[1])
    assert scores.tolist() == pytest.approx([first, second], abs=1e-5)
