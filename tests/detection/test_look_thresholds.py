import pytest
import torch
from detection.cases import Benign, attack, thresholds_of, users

from recbole_gro import Detector, register_detector
from recbole_gro.detection.base import detectors
from recbole_gro.detection.conformal import most_counted
from recbole_gro.detection.looks import LOOKS, NOT_REACHED
from recbole_gro.detection.traces import Traces


@pytest.mark.parametrize("name", ["transitions", "coverage", "mmd"])
def test_a_tenth_of_users_at_most_are_above_the_thresholds_whether_first_or_most_recent_items_are_sent(name):
    benign = Benign(users(3000))
    detector = thresholds_of(name, benign)
    for law, n in zip(detector.look_laws, LOOKS, strict=True):
        rows = [tuple(row[:n]) for row in benign.whole.items.tolist() if row[n - 1 : n] > [0]]
        assert law.over + law.below - 1 in (len(rows), len({*rows}))
        assert law.limit == most_counted(len(rows), len({*rows}))
    for traces in (users(3000, seed=5), benign.recent[2], benign.recent[3], benign.recent[5]):
        looks = detector.judged(traces).looks
        for place in range(5):
            own = looks[looks[:, place] != NOT_REACHED, place]
            if len(own):
                assert float(own.double().mean()) <= 0.12  # 0.1 and three deviations


@pytest.mark.parametrize("name", ["transitions", "coverage"])
def test_a_tenth_of_users_at_most_are_above_the_thresholds_where_benign_users_have_little_of_the_catalogue(name):
    """Items that no benign user has are as unusual to what judges as they were to what gave the thresholds."""
    draw = torch.Generator().manual_seed(1)
    popular = 1 / torch.arange(1, 5001).double()

    def sparse(n):
        items = torch.multinomial(popular.expand(n, -1), 8, generator=draw) + 1
        ranks = torch.randint(1, 5001, items.shape, generator=draw)
        ranks[:, 0] = 0
        return Traces(items, ranks, torch.randn(n, 8, 4, generator=draw), 5001, 20)

    looks = thresholds_of(name, Benign(sparse(300))).judged(sparse(3000)).looks
    for place in range(4):  # 1, 2, 3 and 5 items
        assert float((looks[:, place] == 1).double().mean()) <= 0.1 + 3 * (0.1 * 0.9 / 300) ** 0.5


def test_most_recent_items_raise_the_threshold_of_their_look_alone():
    benign = Benign(users(400))
    before = thresholds_of("transitions", benign).look_thresholds
    recent = benign.recent[5]
    benign.recent[5] = Traces(recent.items, recent.ranks.clamp(min=150) * (recent.items != 0), *recent_rest(recent))
    after = thresholds_of("transitions", benign).look_thresholds
    assert [new > old for new, old in zip(after, before, strict=True)] == [False, False, False, True, False, False]


def recent_rest(traces):
    return traces.embeddings, traces.n_items, traces.k


def test_a_look_that_too_few_users_reached_has_a_threshold_that_nothing_exceeds():
    detector = thresholds_of("transitions", users(400))
    assert detector.look_laws[5][:2] == (1, 0)
    assert detector.look_thresholds[5] == torch.inf
    assert float((detector.judged(attack(200)).looks[:, 3] == 1).double().mean()) > 0.5


@pytest.mark.parametrize("longest", [5, 12])
def test_the_most_recent_items_that_the_model_reads_count_at_their_look(longest, monkeypatch):
    """Users who go on with other items than they began with."""
    monkeypatch.setattr(detectors, "_entries", dict(detectors._entries))

    @register_detector("item_ids")
    class ItemIds(Detector):
        standardized = False

        def fit(self, benign):
            pass

        def scores(self, traces):
            return traces.items.float()

        def window_scores(self, traces, size):
            return traces.items[:, 0].float().view(-1, size).mean(1)

    benign = Benign(users(400, longest=longest))
    before = thresholds_of("item_ids", benign).look_thresholds
    whole = benign.whole
    benign.whole = Traces(whole.items + 100 * (whole.items != 0), whole.ranks, *recent_rest(whole))
    after = thresholds_of("item_ids", benign).look_thresholds
    assert after[3] == pytest.approx(before[3] + 100 * (longest == 5), rel=1e-3)
