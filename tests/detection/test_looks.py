import pytest
import torch
from detection.cases import Benign, attack, thresholds_of, users

from recbole_gro import Detector, register_detector
from recbole_gro.detection.base import detectors
from recbole_gro.detection.calibration import conformal_quantile
from recbole_gro.detection.looks import KEY_LOOKS, NOT_REACHED, above, of_first_versions, scores_at_looks
from recbole_gro.detection.traces import Traces


def test_the_score_at_a_look_is_the_highest_so_far():
    draw = torch.Generator().manual_seed(3)
    lengths = torch.randint(1, 13, (60,), generator=draw)
    scores = torch.randn(60, 12, generator=draw).masked_fill(torch.arange(12) >= lengths.unsqueeze(1), -torch.inf)
    found = scores_at_looks(scores, lengths)
    for row, length in enumerate(lengths.tolist()):
        for place, n in enumerate(KEY_LOOKS):
            assert float(found[row, place]) == (float(scores[row, :n].max()) if length >= n else -torch.inf)


def test_a_history_without_the_items_of_a_look_has_not_reached_it():
    scores = torch.tensor([[9.0, 0, 0, 0, 0], [0, 0, 0, 0, 9.0], [9.0, 9.0, -torch.inf, -torch.inf, -torch.inf]])
    found = above(scores, torch.tensor([5, 5, 2]), [1.0] * 4)
    assert found.tolist() == [[1, 1, -1, -1], [0, 1, -1, -1], [-1] * 4]


def test_the_first_version_that_reaches_a_look_counts():
    draw = torch.Generator().manual_seed(4)
    history = torch.randint(9, (50,), generator=draw).sort().values
    looks = torch.randint(-1, 2, (50, 4), generator=draw)
    found = of_first_versions(looks, history, 11)
    for number in range(11):
        for place in range(4):
            own = [v for v in looks[history == number, place].tolist() if v != NOT_REACHED]
            assert int(found[number, place]) == (own[0] if own else NOT_REACHED)


@pytest.mark.parametrize("name", ["transitions", "coverage", "mmd"])
def test_a_tenth_of_users_at_most_are_above_the_thresholds_whether_first_or_most_recent_items_are_sent(name):
    benign = Benign(users(3000))
    detector = thresholds_of(name, benign)
    assert detector.look_users == [int((benign.whole.lengths >= n).sum()) for n in KEY_LOOKS]
    for traces in (users(3000, seed=5), benign.recent[3], benign.recent[5]):
        looks = detector.judged(traces).looks
        for place in range(3):
            own = looks[looks[:, place] != NOT_REACHED, place]
            if len(own):
                assert float(own.double().mean()) <= 0.12  # 0.1 and three deviations


def test_most_recent_items_raise_the_threshold_of_their_look_alone():
    benign = Benign(users(400))
    before = thresholds_of("transitions", benign).look_thresholds
    recent = benign.recent[5]
    benign.recent[5] = Traces(recent.items, recent.ranks.clamp(min=150) * (recent.items != 0), *recent_rest(recent))
    after = thresholds_of("transitions", benign).look_thresholds
    assert [new > old for new, old in zip(after, before, strict=True)] == [False, True, False, False]


def recent_rest(traces):
    return traces.embeddings, traces.n_items, traces.k


def test_a_look_that_too_few_users_reached_has_a_threshold_that_nothing_exceeds():
    detector = thresholds_of("transitions", users(400))
    assert detector.look_users[3] == 0
    assert detector.look_thresholds[3] == conformal_quantile(torch.zeros(0), 0.1) == torch.inf
    assert float((detector.judged(attack(200)).looks[:, 1] == 1).double().mean()) > 0.5


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
    assert after[1] == before[1] + 100 * (longest == 5)
