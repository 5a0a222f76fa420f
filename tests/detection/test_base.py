import pytest
import torch
from detection.cases import users

from recbole_gro import Detector, UserError, create_detector, register_detector
from recbole_gro.detection.base import RankProfile, detectors


def test_a_profile_is_a_density_and_has_the_observed_shares():
    profile = RankProfile(torch.tensor([1] * 60 + [100] * 40 + [0] * 7), 150)
    ranks = torch.arange(1, 151)
    assert float(profile.log_probability(ranks).exp().sum()) == pytest.approx(1, abs=1e-5)
    assert float(profile.log_probability(torch.tensor([1])).exp()) == pytest.approx(0.57, abs=0.03)
    assert float(profile.log_probability(torch.tensor([0]))) == 0
    assert float(profile.log_probability(torch.tensor([40])).exp()) < 0.001


@pytest.mark.parametrize("n", [1, 2, 3, 20, 201, 5000])
def test_bins_have_their_observed_shares_and_each_rank_inside_them_its_own(n):
    draw = torch.Generator().manual_seed(4)
    ranks = torch.multinomial(1 / torch.arange(1, n + 1), 2000, replacement=True, generator=draw) + 1
    profile, every = RankProfile(ranks, n), torch.arange(1, n + 1)
    probability = profile.log_probability(every).double().exp()
    shares = torch.zeros(len(profile.share)).double().index_add_(0, profile.bins(every), probability)
    assert torch.allclose(shares, profile.share.double(), atol=1e-6)
    assert len(probability.unique()) == n
    for number in range(len(shares)):  # of a falling density
        of_bin = probability[profile.bins(every) == number]
        assert bool((of_bin.diff() < 0).all())


def test_the_bins_of_a_profile_widen_by_half():
    profile = RankProfile(torch.tensor([0]), 20)
    bins = [[1], [2], [3], [4, 5], [6, 7, 8], [9, 10, 11, 12], [*range(13, 19)], [19, 20]]
    for number, ranks in enumerate(bins):
        assert profile.bins(torch.tensor(ranks)).tolist() == [number] * len(ranks)


def test_the_divergence_of_the_own_histogram_is_smallest():
    ranks = users(500).ranks
    profile = RankProfile(ranks, 200)
    own, uniform, none = profile.divergence(
        torch.stack([ranks.flatten(), torch.arange(6000) % 200 + 1, torch.zeros(6000).long()])
    )
    assert 0 <= float(own) < 0.01 < float(uniform)
    assert float(none) == 0


def test_an_own_detector_is_registered_once(monkeypatch):
    monkeypatch.setattr(detectors, "_entries", dict(detectors._entries))

    @register_detector("own")
    class Own(Detector):
        """Flags nothing."""

        def fit(self, benign): ...

        def scores(self, traces):
            return torch.zeros(traces.items.shape)

        def window_scores(self, traces, size):
            return torch.zeros(len(traces) // size)

    assert isinstance(create_detector("own"), Own)
    with pytest.raises(ValueError, match="registered already"):
        register_detector("own")(Own)


def test_an_unknown_name_has_a_hint():
    with pytest.raises(UserError, match=r"unknown detector 'transition'\. Did you mean 'transitions'"):
        create_detector("transition")
