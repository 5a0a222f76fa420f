"""Percent for shares only."""

import pytest
from recbole.evaluator.register import metrics_dict

from recbole_gro.utils.units import figure, scaled, shown, unit

SHARES = {"hit", "ndcg", "mrr", "map", "recall", "precision", "gauc", "auc"}
SHARES |= {"itemcoverage", "giniindex", "tailpercentage", "agreement", "agreement@1", "agreement@10"}
OTHERS = {"averagepopularity", "shannonentropy", "logloss", "mae", "rmse"}


def test_every_metric_of_recbole_has_its_unit():
    recboles = {name for name, metric in metrics_dict.items() if metric.__module__.startswith("recbole")}
    assert recboles <= SHARES | OTHERS
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
        ("rmse", 0.91, "0.9100"),
    ],
)
def test_a_value_is_shown_in_its_unit(metric, value, text):
    assert shown(metric, value) == text
    assert text.startswith(figure(metric, value))
    assert float(figure(metric, value)) == pytest.approx(scaled(metric, value), abs=0.01)
