"""The detector of unlikely steps: ranks of the next items under the served model."""

import torch
from torch import Tensor

from recbole_gro.detection.base import Detector, RankProfile, popularity_ranks, register_detector, repeated
from recbole_gro.detection.traces import Traces

RANDOM_SHARES = (0.03, 0.3, 1.0)  # of items that a generated sequence takes from the whole catalogue
SHORT_LIST = 10  # items of a list that clients usually request


@register_detector("transitions")
class TransitionsDetector(Detector):
    """Compare how histories continue with how users' do: the likelihood ratio of generated against real sequences.

    Under H0 the next item has rank r among all items with the probability that it has for benign users. Under H1 it is
    drawn uniformly from the first k of the ranking, or with probability rho from the catalogue (n items):

        p(r) = (1 - rho) [r <= k] / k + rho / n

    The score is log(mean over k and rho of prod p(r) / q(r)), with the first item uniform under H1 and drawn by
    popularity under H0. Items that the history has already count too: a walk along lists of k repeats one of its t
    items with a probability of about t / 2k, users as often as benign ones do. A window is scored by the divergence of
    its ranks, and of the popularity of its first items, from those of users, whatever H1. Ours; that a mixture of
    likelihood ratios exceeds 1 / alpha once in a sequence with probability alpha at most is Ville's inequality.
    """

    standardized = False

    def fit(self, benign: Traces) -> None:
        n = benign.n_items - 1
        self.popularity = popularity_ranks(benign.items, benign.n_items)
        self.first_item = RankProfile(self.popularity[benign.items], n)  # any item may begin what a client sends
        self.next_item = RankProfile(benign.ranks, n)
        self.repeats = float((repeated(benign.items).sum() + 0.5) / ((benign.items != 0).sum() + 1))

    def scores(self, traces: Traces) -> Tensor:
        n, ranks = traces.n_items - 1, traces.ranks
        real = self.next_item.log_probability(ranks)
        real[:, 0] = self.first_item.log_probability(self.popularity[traces.items[:, 0]])
        again, number = repeated(traces.items), torch.arange(ranks.shape[1])
        ratios = []
        for k in sorted({min(SHORT_LIST, traces.k), traces.k}):
            chance = (number / (2 * k)).clamp(min=1e-6, max=0.5)
            walked = (chance / self.repeats).log().where(again, ((1 - chance) / (1 - self.repeats)).log())
            for share in RANDOM_SHARES:
                generated = ((1 - share) / k * (ranks <= k) + share / n).log()
                generated[:, 0] = -torch.tensor(float(n)).log()
                ratios.append((generated - real + (1 - share) * walked).cumsum(1))
        return torch.stack(ratios).logsumexp(0) - torch.tensor(float(len(ratios))).log()

    def window_scores(self, traces: Traces, size: int) -> Tensor:
        first = self.popularity[traces.items[:, 0]].view(-1, size)
        return self.next_item.divergence(traces.ranks.view(len(first), -1)) + self.first_item.divergence(first)
