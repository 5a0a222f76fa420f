import math

import pytest
import torch

from recbole_gro.detection.api_keys import key_is_flagged, log_evidence
from recbole_gro.detection.calibration import conformal_quantile

MANY = 10**7  # benign users: the rate is as good as known


def test_evidence_is_the_mean_likelihood_ratio_over_what_earlier_histories_predict():
    rate, benign, r = 0.01, 943, 9  # 9 of 944 exceed the threshold
    shares = (0.02, 0.05, 0.1, 0.3, 0.5)
    flags = [1, 0, 0, 1, 0, 1, 0, 0, 0, 0]
    products = dict.fromkeys(shares, 1.0)
    for n, flag in enumerate(flags):
        predicted = (r + sum(flags[:n])) / (benign + 1 + n)  # Polya's urn
        for p in shares:
            products[p] *= p / predicted if flag else (1 - p) / (1 - predicted)
    found = log_evidence(torch.tensor([10]), torch.tensor([3]), rate, benign)
    assert float(found) == pytest.approx(math.log(sum(products.values()) / 5))


def test_with_many_benign_users_the_rate_is_known():
    shares = (0.02, 0.05, 0.1, 0.3, 0.5)
    expected = sum((p / 0.01) ** 3 * ((1 - p) / 0.99) ** 7 for p in shares) / 5
    found = log_evidence(torch.tensor([10]), torch.tensor([3]), 0.01, MANY)
    assert float(found) == pytest.approx(math.log(expected), abs=1e-3)


@pytest.mark.parametrize("benign", [19, 60, 200, 943])
def test_benign_keys_are_flagged_at_the_rate_at_most_however_many_histories_they_have(benign):
    rate, keys, histories = 0.05, 1000, 2000
    draw = torch.Generator().manual_seed(1)
    scores = torch.rand(keys, benign, generator=draw, dtype=torch.float64)
    thresholds = torch.tensor([conformal_quantile(row, rate) for row in scores], dtype=torch.float64)
    seen = torch.arange(1, histories + 1)
    ever = 0
    for threshold in thresholds:
        bad = (torch.rand(histories, generator=draw, dtype=torch.float64) > threshold).long().cumsum(0)
        ever += bool(key_is_flagged(seen, bad, rate, benign).any())
    assert ever / keys <= rate + 2 * math.sqrt(rate * (1 - rate) / keys)


def test_a_key_with_more_than_the_rate_is_flagged_in_time():
    for benign in (MANY, 943):
        assert key_is_flagged(torch.tensor([300]), torch.tensor([18]), 0.01, benign).item()
        assert not key_is_flagged(torch.tensor([300]), torch.tensor([3]), 0.01, benign).item()
    assert key_is_flagged(torch.tensor([30]), torch.tensor([15]), 0.01, 99).item()


@pytest.mark.parametrize("rate", [0.3, 0.5, 0.6, 0.9])
def test_at_any_rate_the_key_with_more_flagged_histories_is_the_suspect(rate):
    found = log_evidence(torch.tensor([100, 100, 100]), torch.tensor([0, 50, 100]), rate, 1000)
    assert found.argmax() == 2
    assert key_is_flagged(torch.tensor([100, 100]), torch.tensor([20, 100]), rate, 1000).tolist() == [False, True]
