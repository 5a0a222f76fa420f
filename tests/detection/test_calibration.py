import math

import pytest
import torch
from detection.cases import Benign, attack, thresholds_of, users, whole

from recbole_gro import Detector, UserError, register_detector
from recbole_gro.detection.base import detectors
from recbole_gro.detection.conformal import conformal_quantile, most_counted
from recbole_gro.detection.traces import Traces


@pytest.fixture
def mean_item(monkeypatch):
    """A detector whose score is the item's id, less the mean of those that it was fitted on."""
    monkeypatch.setattr(detectors, "_entries", dict(detectors._entries))

    @register_detector("mean_item")
    class MeanItem(Detector):
        standardized = False

        def fit(self, benign):
            self.mean = benign.items[benign.items != 0].float().mean()

        def scores(self, traces):
            return traces.items - self.mean

        def window_scores(self, traces, size):
            return (traces.items.sum(1) / traces.lengths).view(-1, size).mean(1)

    return MeanItem


def test_the_quantile_is_the_order_statistic_of_conformal_prediction():
    scores = torch.arange(1.0, 200.0)[torch.randperm(199)]
    assert conformal_quantile(scores, 0.01) == 198
    assert conformal_quantile(scores, 0.1) == 180
    assert conformal_quantile(scores[:98], 0.01) == math.inf


def test_alarms_are_at_the_first_item_above_the_threshold(mean_item):
    calibrated = thresholds_of("mean_item", users(400))
    calibrated.threshold = 150 - max(float(half.mean) for half in calibrated.detectors)
    traces = attack(2)
    traces.items[0, :4] = torch.tensor([3, 150, 151, 200])
    traces.items[1] = 5
    assert calibrated.judged(traces).alarms.tolist() == [3, 0]
    running = calibrated.running(traces)[0]
    assert torch.equal(running, running.cummax(0).values)
    traces.items[0, 2:] = 0  # padding raises no alarm
    assert calibrated.judged(traces).alarms.tolist() == [0, 0]


@pytest.mark.parametrize("standardized", [True, False])
@pytest.mark.parametrize("dtype", [torch.float64, torch.float16, torch.long])
def test_scores_of_any_type_are_taken(mean_item, dtype, standardized):
    mean_item.standardized = standardized
    mean_item.scores = lambda self, traces: traces.items.to(dtype)
    mean_item.window_scores = lambda self, traces, size: traces.items.amax(1).view(-1, size).amax(1).to(dtype)
    calibrated = thresholds_of("mean_item", users(400))
    assert calibrated.judged(attack(5)).highest.dtype == torch.float32
    assert len(calibrated.window_alarms(whole(attack(20), 10))[1]) == 2


@pytest.mark.parametrize("infinity", [math.inf, -math.inf])
@pytest.mark.parametrize("method", ["scores", "window_scores"])
def test_infinite_numbers_that_leave_no_threshold_are_refused(mean_item, method, infinity):
    shapes = {
        "scores": lambda self, traces: torch.full(traces.items.shape, infinity),
        "window_scores": lambda self, traces, size: torch.full((len(traces) // size,), infinity),
    }
    setattr(mean_item, method, shapes[method])
    with pytest.raises(UserError, match=f"^detector mean_item: {method} returned infinite numbers for so many benign"):
        thresholds_of("mean_item", users(400))


def test_scores_of_each_length_are_standardized(mean_item):
    mean_item.standardized = True
    benign = users(600)
    calibrated = thresholds_of("mean_item", benign)
    scores, inside = calibrated.scores(benign), benign.items != 0
    for place in (0, 5, 11):  # by the means and deviations of the halves, of which the lower score counts
        own = scores[inside[:, place], place]
        assert float(own.mean()) == pytest.approx(0, abs=0.2)
        assert float(own.std()) == pytest.approx(1, abs=0.2)


@pytest.mark.parametrize(
    ("n", "rate", "message"),
    [
        (98, 0.01, "benign: 98 users with two or more items of the catalogue are too few for false_positive_rate"),
        (50, 0.0, "false_positive_rate: 0 is not allowed"),
        (50, 1.0, "false_positive_rate: 1 is not allowed"),
    ],
)
def test_too_few_users_and_impossible_rates_are_refused(n, rate, message):
    with pytest.raises(UserError, match=message):
        thresholds_of("coverage", users(n), rate)


def test_the_worst_window_of_a_user_counts(mean_item):
    rare = users(400)
    alone = thresholds_of("mean_item", rare)
    recent = Traces(rare.items + 100, rare.ranks, rare.embeddings, rare.n_items, rare.k)
    assert thresholds_of("mean_item", Benign(rare, recent)).threshold == pytest.approx(alone.threshold + 100, rel=2e-4)


def test_windows_of_most_recent_items_count_too(mean_item):
    benign = Benign(users(400))
    first = thresholds_of("mean_item", benign).window_threshold
    benign.recent[5].items[:] = 150
    assert thresholds_of("mean_item", benign).window_threshold > first + 5


def test_windows_have_a_threshold_at_any_rate_that_the_users_allow(mean_item):
    calibrated = thresholds_of("mean_item", users(1000), 0.001)
    assert calibrated.threshold < math.inf
    assert calibrated.window_threshold < math.inf
    assert bool(calibrated.window_alarms(whole(attack(10), 10))[1].all())


@pytest.mark.parametrize(
    ("method", "returned", "message"),
    [
        (
            "scores",
            lambda traces, *_: traces.items.float().mean(1),
            r"scores returned a shape of \[200\]; .* \[200, 12\]",
        ),
        ("scores", lambda traces, *_: traces.items / 0 * 0, "scores returned NaN; it returns a number per history"),
        (
            "scores",
            lambda *_: None,
            r"scores returned NoneType; it returns a tensor \[200, 12\] of real numbers, a score",
        ),
        ("scores", lambda traces: traces.items.numpy(), "scores returned ndarray; it returns a tensor"),
        ("scores", lambda traces: traces.items + 0j, r"scores returned torch\.complex64; it returns a tensor"),
        ("window_scores", lambda *_: [0.5] * 200, r"window_scores returned list; it returns a tensor \[200\]"),
        ("scores", lambda traces: traces.items.clamp_(max=9) / 2, "it changed items in place, which it may only read"),
        ("fit", lambda benign: benign.ranks.zero_(), "it changed ranks in place"),
        (
            "window_scores",
            lambda traces, _: traces.items.float().mean(1),
            r"window_scores returned a shape of \[2000\]",
        ),
        ("window_scores", lambda *_: torch.full((200,), math.nan), "window_scores returned NaN; .* per window"),
    ],
)
def test_what_a_detector_of_ones_own_returns_is_checked(mean_item, method, returned, message):
    setattr(mean_item, method, lambda self, *arguments: returned(*arguments))
    with pytest.raises(UserError, match=f"^detector mean_item: {message}"):
        thresholds_of("mean_item", users(400))


def test_scores_may_be_whole_numbers(mean_item):
    benign = users(400)
    mean_item.standardized = True
    mean_item.scores = lambda self, traces: traces.items.float()
    mean_item.window_scores = lambda self, traces, size: traces.items[:, 0].view(-1, size).float().sum(1)
    as_floats = thresholds_of("mean_item", benign)
    mean_item.scores = lambda self, traces: traces.items
    mean_item.window_scores = lambda self, traces, size: traces.items[:, 0].view(-1, size).sum(1)
    whole_numbers = thresholds_of("mean_item", benign)
    assert torch.equal(whole_numbers.scores(benign), as_floats.scores(benign))
    assert whole_numbers.window_threshold == as_floats.window_threshold


@pytest.mark.parametrize("sign", [1, -1])
def test_an_infinite_score_of_a_benign_history_standardizes_nothing(mean_item, sign):
    mean_item.standardized = True
    mean_item.scores = lambda self, traces: (traces.items == 0).float() + sign * math.inf
    with pytest.raises(
        UserError, match=r"^detector mean_item: scores returned an infinite number for a benign history"
    ):
        thresholds_of("mean_item", users(400))


def test_any_value_may_stand_in_padding(mean_item):
    def scores(self, traces):
        return (traces.items - self.mean).masked_fill(traces.items == 0, math.nan)

    benign = users(400)
    plain = thresholds_of("mean_item", benign).judged(benign).alarms
    mean_item.scores = scores
    assert torch.equal(thresholds_of("mean_item", benign).judged(benign).alarms, plain)


@pytest.fixture
def with_detector(monkeypatch):
    """Return what registers a detector for one test."""
    monkeypatch.setattr(detectors, "_entries", dict(detectors._entries))
    return register_detector


def test_users_are_scored_by_the_detector_that_was_fitted_without_them(with_detector):
    """A detector that knows who it was fitted on gives no benign user the score of a new one, unless it is split."""

    @with_detector("memory")
    class Memory(Detector):
        standardized = False

        def fit(self, benign):
            self.seen = benign.embeddings[:, 0, 0]

        def scores(self, traces):
            return self._is_new(traces).unsqueeze(1).expand(traces.items.shape)

        def window_scores(self, traces, size):
            return self._is_new(traces).view(-1, size).mean(1)

        def _is_new(self, traces):
            return (~torch.isin(traces.embeddings[:, 0, 0], self.seen)).float()

    benign, others = users(400), users(100, seed=5)
    benign.embeddings[:] = torch.arange(400).view(-1, 1, 1)  # who they are
    others.embeddings[:] = -1
    calibrated = thresholds_of("memory", benign)
    assert calibrated.threshold == pytest.approx(1, rel=1e-3)
    assert not calibrated.judged(others).alarms.any()
    assert not calibrated.window_alarms(whole(others, 10))[1].any()


@pytest.mark.parametrize("difference", [0.01, -0.01, 1e-5, -1e-5])
def test_scores_of_few_values_are_not_above_a_threshold_that_is_one_of_them(with_detector, difference):
    """Equal histories score a little more or less by a detector that is fitted on other users, or by rounding."""

    @with_detector("few_values")
    class FewValues(Detector):
        standardized = False

        def fit(self, benign):
            self.level = difference * bool(benign.items[0, 0] % 2)  # of one half alone

        def scores(self, traces):
            return (traces.items <= 2).float().cumsum(1).clamp(max=1) + self.level

        def window_scores(self, traces, size):
            return traces.items[:, 0].float().view(-1, size).mean(1)

    calibrated = thresholds_of("few_values", users(400))
    others = calibrated.judged(users(2000, seed=5))
    assert not others.alarms.any()  # 0 or 1, of which many have 1
    assert not (others.looks == 1).any()


def test_the_law_of_flags_is_also_that_of_users_who_send_a_few_items(with_detector):
    """First items that few users have are flagged: 1 user in 100, but more of the different ones, which count once."""

    @with_detector("rare_first")
    class RareFirst(Detector):
        standardized = False

        def fit(self, benign):
            pass

        def scores(self, traces):
            return traces.items[:, :1].float().expand(traces.items.shape)

        def window_scores(self, traces, size):
            return traces.items[:, 0].float().view(-1, size).mean(1)

    traces = users(2000)
    calibrated = thresholds_of("rare_first", traces)
    kept = traces.items[:, 0].unique()
    assert calibrated.history_law.observed() == pytest.approx(float((kept > calibrated.threshold).double().mean()))
    assert calibrated.history_law.observed() > 0.2
    assert calibrated.history_limits[0] == most_counted(2000, len(kept)) < calibrated.history_limits[1]


def test_a_window_is_compared_with_benign_ones_of_about_its_longest_history(with_detector):
    """The benign score rises by a constant per item, so that scores show how many benign items were subtracted."""

    @with_detector("longest")
    class Longest(Detector):
        standardized = False

        def fit(self, benign):
            """Take nothing."""

        def scores(self, traces):
            return traces.items.float()

        def window_scores(self, traces, size):
            mean = traces.items[:, 0].view(-1, size).double().mean(1)  # which gives every length the same deviation
            return 1000 * traces.lengths.view(-1, size).amax(1) + mean

    benign = users(400, longest=30)
    benign.items[:] = benign.items[:, :1].clamp(min=1)  # all have 30 items
    calibrated = thresholds_of("longest", Benign(benign))

    def score(longest):
        lengths = torch.ones(10, dtype=torch.long)
        lengths[3] = longest
        return float(calibrated.window_alarms(benign.whole(torch.arange(10), lengths))[0])

    per_item = (score(4) - score(3)) / (4 - 3)
    assert per_item > 0
    for longest, subtracted in {1: 1, 4: 3, 5: 5, 19: 10, 20: 20, 25: 20, 29: 20, 30: 30}.items():
        assert (score(longest) - score(1)) / per_item == pytest.approx(longest - subtracted, abs=1e-2)
