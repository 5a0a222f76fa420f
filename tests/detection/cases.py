"""Traces of users and of an attack with known distributions, and the suite of detectors."""

import pytest
import torch

from recbole_gro import create_detector
from recbole_gro.detection.benign import BenignHistories
from recbole_gro.detection.calibration import calibrated
from recbole_gro.detection.conformal import WITHOUT_LIMIT, ShareLaw, conformal_rank
from recbole_gro.detection.looks import LOOKS
from recbole_gro.detection.traces import Traces

N_ITEMS, K, DIMENSIONS = 201, 20, 4


def users(n, seed=0, longest=12):
    """Return traces of n users of 1 to `longest` items: popular items, ranks near the top, queries around 0."""
    draw = torch.Generator().manual_seed(seed)
    popular = 1 / torch.arange(1, N_ITEMS)
    items = torch.multinomial(popular.expand(n, -1), longest, generator=draw) + 1
    ranks = torch.multinomial(popular, n * longest, replacement=True, generator=draw).view(n, -1) + 1
    return _traces(items, ranks, torch.randn(n, longest, DIMENSIONS, generator=draw), draw)


def attack(n, seed=1, longest=12):
    """Return traces of n random histories: items and ranks uniform, queries in pairs that lie far from users'."""
    draw = torch.Generator().manual_seed(seed)
    items, ranks = (torch.randint(1, N_ITEMS, (n, longest), generator=draw) for _ in range(2))
    place = torch.arange(longest) + 2 * torch.arange(n).unsqueeze(1) // 2
    far = 3 + 20 * (place // 2 % 2) + 0.01 * torch.randn(n, longest, generator=draw)
    return _traces(items, ranks, far.unsqueeze(2).expand(-1, -1, DIMENSIONS), None)


def _traces(items, ranks, embeddings, draw):
    n, longest = items.shape
    lengths = torch.full((n,), longest) if draw is None else torch.randint(1, longest + 1, (n,), generator=draw)
    kept = torch.arange(longest) < lengths.unsqueeze(1)
    ranks = ranks * kept
    ranks[:, 0] = 0
    return Traces(items * kept, ranks, embeddings * kept.unsqueeze(2), N_ITEMS, K)


class Benign(BenignHistories):
    """Benign users of known traces: of whole histories, and of windows of these."""

    def __init__(self, traces, *windows):
        self.whole, self.beginnings, self._windows = traces, traces, windows
        parts = (traces.items, traces.ranks, traces.embeddings)
        self.recent = {
            n: Traces(*(part[:, :n].clone() for part in parts), traces.n_items, traces.k)
            for n in LOOKS
            if n < parts[0].shape[1]
        }

    def __len__(self):
        return len(self.whole)

    def windows(self, steps=0):
        for traces in (self.whole, *self._windows):
            yield traces, torch.arange(len(self))


def thresholds_of(name, benign, rate=0.05):
    """Return the detector of that name with thresholds from benign traces, for windows of 10."""
    return calibrated([name], None, benign if isinstance(benign, Benign) else Benign(benign), rate, 10)[name]


def whole(traces, size):
    """Return the first histories of traces as windows of `size`."""
    rows = torch.arange(len(traces) // size * size)
    return traces.whole(rows, traces.lengths[rows])


def law_of(n, rate, limit=WITHOUT_LIMIT):
    """Return the law of the share above a threshold that n different benign scores gave."""
    rank = conformal_rank(n, rate)
    return ShareLaw(n + 1 - rank, rank, limit)


class Thresholds:
    """What decisions on keys read of a detector: thresholds from so many benign users, at each look from so many."""

    def __init__(self, benign_users=943, look_users=0, rate=0.01):
        self.history_law, self.history_limits = law_of(benign_users, rate), [WITHOUT_LIMIT] * len(LOOKS)
        of_looks = [look_users] * len(LOOKS) if isinstance(look_users, int) else look_users
        self.look_thresholds = [5.0 if n >= 9 else torch.inf for n in of_looks]
        self.look_laws = [law_of(n, 0.1) for n in of_looks]


class DetectorCases:
    """The suite of a detector: `class TestOwn(DetectorCases): name = "own"`.

    Attributes:
        name: as registered.
        found: share of `attack`'s histories that it flags at least, at 5 % false positives.
        windows_found: share of its windows likewise.
    """

    name: str
    found = 0.9
    windows_found = 0.9

    @pytest.fixture(scope="class")
    def calibrated(self):
        return thresholds_of(self.name, users(400))

    def fitted(self):
        detector = create_detector(self.name)
        detector.fit(users(200))
        return detector

    def test_users_are_flagged_at_the_stated_rate_at_most(self, calibrated):
        share = float((calibrated.judged(users(2000, seed=5)).alarms > 0).float().mean())
        assert share <= 0.05 + 5 * (0.05 * 0.95 / 400) ** 0.5  # the threshold comes from 400 users
        assert share > 0

    def test_windows_of_users_are_flagged_at_the_stated_rate_at_most(self, calibrated):
        _, flagged = calibrated.window_alarms(whole(users(2000, seed=6), 10))
        assert len(flagged) == 200
        assert int(flagged.sum()) <= 10  # 5 %; at a rate of 2 %, as high as any measured, 11 of 200 have p = 0.003

    def test_an_attack_is_flagged(self, calibrated):
        assert float((calibrated.judged(attack(200)).alarms > 0).float().mean()) >= self.found
        _, flagged = calibrated.window_alarms(whole(attack(200), 10))
        assert float(flagged.float().mean()) >= self.windows_found

    def test_a_score_depends_on_the_items_so_far_alone(self):
        detector, traces = self.fitted(), attack(5)
        scores = detector.scores(traces)
        assert scores.shape == traces.items.shape
        assert bool(scores.isfinite().all())
        short = Traces(traces.items[:, :7], traces.ranks[:, :7], traces.embeddings[:, :7], N_ITEMS, K)
        assert torch.allclose(detector.scores(short), scores[:, :7], atol=1e-5)

    def test_a_score_depends_on_no_other_history(self):
        detector, traces = self.fitted(), users(30, seed=8)
        alone = torch.cat([detector.scores(traces[torch.tensor([row])]) for row in range(30)])
        inside = traces.items != 0
        assert torch.allclose(detector.scores(traces)[inside], alone[inside], atol=1e-4)

    def test_a_score_of_a_window_depends_on_no_other_window(self):
        detector, traces = self.fitted(), whole(users(30, seed=8), 10)
        parts = [detector.window_scores(traces[rows], 10) for rows in torch.arange(30).split(10)]
        assert torch.allclose(detector.window_scores(traces, 10), torch.cat(parts), atol=1e-5)

    def test_the_same_users_give_the_same_thresholds(self, calibrated):
        torch.manual_seed(9)
        again = thresholds_of(self.name, users(400))
        assert (again.threshold, again.window_threshold) == (calibrated.threshold, calibrated.window_threshold)
