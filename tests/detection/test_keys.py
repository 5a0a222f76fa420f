import math

import pytest
import torch

from recbole_gro.detection.keys import key_is_flagged, log_evidence


def test_evidence_is_the_mean_likelihood_ratio():
    shares = (0.02, 0.05, 0.1, 0.3, 0.5)
    expected = sum((p / 0.01) ** 3 * ((1 - p) / 0.99) ** 7 for p in shares) / 5
    found = log_evidence(torch.tensor([10]), torch.tensor([3]), 0.01)
    assert float(found) == pytest.approx(math.log(expected))


def test_benign_keys_are_flagged_at_the_rate_at_most_however_often_they_are_looked_at():
    draw = torch.Generator().manual_seed(1)
    bad = (torch.rand(2000, 400, generator=draw) < 0.05).long().cumsum(1)
    histories = torch.arange(1, 401).expand(2000, -1)
    ever = key_is_flagged(histories.flatten(), bad.flatten(), 0.05).view(2000, 400).any(1)
    assert 0 < float(ever.float().mean()) <= 0.05


def test_a_key_with_five_times_the_rate_is_flagged_in_time():
    assert key_is_flagged(torch.tensor([300]), torch.tensor([15]), 0.01).item()
    assert not key_is_flagged(torch.tensor([300]), torch.tensor([3]), 0.01).item()
