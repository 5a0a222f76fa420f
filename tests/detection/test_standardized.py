import pytest
import torch

from recbole_gro import Detector
from recbole_gro.detection.base import detectors
from recbole_gro.detection.standardized import StandardizedDetector
from recbole_gro.detection.traces import Traces


class ItemIds(Detector):
    """A detector whose score is the item's id."""

    def fit(self, benign):
        """Take nothing."""

    def scores(self, traces):
        return traces.items.float()

    def window_scores(self, traces, size):
        """Return none."""


def traces_of(items):
    return Traces(items, torch.zeros_like(items), torch.zeros(*items.shape, 1), 1000, 10)


def test_a_length_of_too_few_benign_histories_is_standardized_as_the_one_before(monkeypatch):
    """20 of 40 histories have three items, which is enough, and 19 have four, which is not."""
    monkeypatch.setitem(detectors._entries, "ids", ItemIds)
    items = torch.randint(1, 100, (40, 6), generator=torch.Generator().manual_seed(1))
    items += torch.tensor([0, 100, 200, 300, 400, 500])  # every length has a location of its own
    for place, n in {2: 20, 3: 19, 4: 1, 5: 0}.items():
        items[n:, place] = 0
    scores = StandardizedDetector("ids", {}, traces_of(items)).scores(traces_of(torch.full((1, 6), 250)))[0]
    enough = [items[:, 0], items[:, 1], items[:20, 2]]
    expected = [float((250 - own.float().mean()) / own.float().std()) for own in enough]
    assert scores.tolist() == pytest.approx([*expected, expected[2], expected[2], expected[2]], abs=1e-4)
