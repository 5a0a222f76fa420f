import pytest
import torch
from detection.cases import DetectorCases, users, whole
from scipy import stats

from recbole_gro import create_detector
from recbole_gro.detection.prada import _nearest, abnormality
from recbole_gro.detection.traces import Traces


class TestPRADA(DetectorCases):
    name = "prada"
    found = 0.3  # of twelve queries each


def test_nearest_is_the_distance_to_any_query_before():
    queries = torch.tensor([[[0.0], [3.0], [1.0], [3.5]]])
    assert _nearest(queries).tolist() == [[3.0, 1.0, 0.5]]


def test_abnormality_agrees_with_shapiro_and_wilk():
    draw = torch.Generator().manual_seed(1)
    normal, skewed = torch.randn(80, generator=draw), torch.rand(80, generator=draw) ** 4
    for values in (normal, skewed):
        statistic = stats.shapiro(values.numpy()).statistic
        assert float(abnormality(values[None])) == pytest.approx(1 - statistic, abs=0.02)
    assert float(abnormality(skewed[None])) > 5 * float(abnormality(normal[None]))
    assert float(abnormality(torch.ones(1, 9))) == 1


def test_queries_far_from_0_have_the_scores_of_near_ones():
    near, far = users(300), users(300)
    far.embeddings = torch.where((far.items != 0).unsqueeze(2), far.embeddings + 1000, 0.0)
    scores = []
    for traces in (near, far):
        detector = create_detector("prada")
        detector.fit(traces)
        scores.append(detector.window_scores(whole(traces, 50), 50))
    assert torch.allclose(*scores, atol=1e-3)


def test_equal_queries_of_a_window_count_once():
    """As in benign windows, which are drawn with replacement."""
    detector, traces = create_detector("prada"), users(300)
    detector.fit(traces)
    rows = torch.arange(40)
    twice = rows.clone()
    twice[[9, 17, 30]] = rows[[3, 9, 29]]
    different = [row for place, row in enumerate(twice.tolist()) if row not in twice[:place].tolist()]
    scores = [
        detector.window_scores(traces.whole(own, traces.lengths[own]), len(own))
        for own in (twice, torch.tensor(different))
    ]
    assert torch.allclose(*scores, atol=1e-6)
    own = torch.zeros(40, dtype=torch.long)
    assert detector.window_scores(traces.whole(own, traces.lengths[own]), 40).tolist() == [0]


def test_values_that_do_not_count_change_nothing():
    values = torch.rand(3, 20, generator=torch.Generator().manual_seed(2))
    counted = torch.ones(3, 20, dtype=torch.bool)
    counted[0, [2, 5]] = counted[1, 0] = False
    found = abnormality(values.masked_fill(~counted, 0), counted)
    for row in range(3):
        assert float(found[row]) == pytest.approx(float(abnormality(values[row][counted[row]][None])), abs=1e-6)
    counted[:, 4:] = False
    assert abnormality(values, counted).tolist() == [0, 0, 0]


def test_a_history_has_the_same_scores_beside_a_longer_one():
    detector, benign = create_detector("prada"), users(300)
    detector.fit(benign)
    draw = torch.Generator().manual_seed(1)
    start, end = torch.randn(2, 1, benign.embeddings.shape[2], generator=draw)
    queries = end + 0.5 ** torch.arange(15.0).unsqueeze(1) * start  # as of one item, sent again and again

    def scores(width):
        items = torch.zeros(1, width, dtype=torch.long)
        items[:, :15] = 1
        embeddings = torch.zeros(1, width, queries.shape[1])
        embeddings[0, :15] = queries
        return detector.scores(Traces(items, items * 0, embeddings, benign.n_items, benign.k))[:, :15]

    assert torch.allclose(scores(15), scores(40), atol=1e-6)
