"""The detector of unusual items: how popular they are, and how many are different."""

import torch
from torch import Tensor

from recbole_gro.detection.base import Detector, RankProfile, popularity_ranks, register_detector, repeated
from recbole_gro.detection.traces import Traces

WINDOWS_AT_ONCE = 64


@register_detector("coverage")
class CoverageDetector(Detector):
    """Compare the popularity of a history's items, and its repeated items, with those of users' histories.

    The score is the larger of two standard scores: that of the mean logarithm of the items' popularity ranks, in either
    direction, and that of the number of repeated items, as a Poisson variable. A window is scored likewise: the
    divergence of its popularity ranks from users', plus the logarithm of the ratio of different items to those that as
    many items of users have, in either direction. Ours; the quantities are those of "items queried" in LLM4MEA (arXiv
    2507.16969).
    """

    def fit(self, benign: Traces) -> None:
        self.popularity = popularity_ranks(benign.items, benign.n_items)
        self.profile = RankProfile(self.popularity[benign.items], benign.n_items - 1)
        logs = self.popularity[benign.items[benign.items != 0]].double().log()
        self.mean, self.deviation = float(logs.mean()), float(logs.std().clamp(min=1e-6))
        self.repeats = float(repeated(benign.items).sum() / max(1, int((benign.items != 0).sum())))
        self.frequency = benign.items.flatten().bincount(minlength=benign.n_items)[1:].double()
        self.frequency /= self.frequency.sum()

    def scores(self, traces: Traces) -> Tensor:
        number = torch.arange(1, traces.items.shape[1] + 1)
        logs = self.popularity[traces.items].clamp(min=1).double().log()
        popular = (logs - self.mean).cumsum(1).abs() / self.deviation / number.sqrt()
        expected = self.repeats * number
        again = (repeated(traces.items).cumsum(1) - expected) / (expected + 0.25).sqrt()
        return torch.maximum(popular, again).float()

    def window_scores(self, traces: Traces, size: int) -> Tensor:
        items = traces.items.view(len(traces) // size, -1)
        drawn = (items != 0).sum(1, keepdim=True).double()
        different = (~repeated(items) & (items != 0)).sum(1)
        never = torch.log1p(-self.frequency)  # logarithm of the probability that a draw is another item
        expected = torch.cat([(1 - (part * never).exp()).sum(1) for part in drawn.split(WINDOWS_AT_ONCE)])
        return self.profile.divergence(self.popularity[items]) + (different / expected).log().abs().float()
