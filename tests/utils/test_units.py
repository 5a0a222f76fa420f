"""Percent for shares only."""

import pytest
from recbole.evaluator.register import metrics_dict
from recbole.utils import EvaluatorType

from recbole_gro.config.plugins import sources_of
from recbole_gro.utils.units import figure, scaled, unit, with_unit

SHARES = {"hit", "ndcg", "mrr", "map", "recall", "precision", "gauc"}
SHARES |= {"itemcoverage", "giniindex", "tailpercentage", "agreement", "agreement@1", "agreement@10"}
OTHERS = {"averagepopularity", "shannonentropy"}


def test_every_metric_of_lists_has_its_unit():
    shipped = {name: metric for name, metric in metrics_dict.items() if not sources_of(metric)}  # not of other tests
    ranking = {name for name, metric in shipped.items() if metric.metric_type is EvaluatorType.RANKING}
    assert ranking <= SHARES | OTHERS
    assert {unit(f"{name}@5") for name in SHARES} == {"%"}
    assert "%" not in {unit(name) for name in OTHERS}


@pytest.mark.parametrize(
    ("metric", "value", "text"),
    [
        ("NDCG@10", 0.06714, "6.71 %"),
        ("giniindex@5", 1.0, "100.00 %"),
        ("AveragePopularity@10", 28.45, "28.45 interactions"),
        ("averagepopularity@10", 2.5, "2.5000 interactions"),
        ("shannonentropy@10", 0.0713, "0.0713 nats per item"),
    ],
)
def test_a_value_is_shown_in_its_unit(metric, value, text):
    assert with_unit(metric, value) == text
    assert text.startswith(figure(metric, value))
    assert float(figure(metric, value)) == pytest.approx(scaled(metric, value), abs=0.01)
