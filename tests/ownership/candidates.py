"""Models known by construction, for verifications: lists from a table of scores per last item."""

from types import SimpleNamespace

import torch

N_ITEMS = 61
TOKENS = ["[PAD]", *(f"i{item}" for item in range(1, N_ITEMS))]
SHARED = torch.randn(N_ITEMS, N_ITEMS, generator=torch.Generator().manual_seed(0))


class Table:
    """A recommender whose lists follow SHARED scores, as of the same data, plus noise of its own seed."""

    def __init__(self, seed, noise=0.7, scores=None):
        own = torch.randn(N_ITEMS, N_ITEMS, generator=torch.Generator().manual_seed(seed))
        self.scores = SHARED + noise * own if scores is None else scores
        self.item_tokens, self.config = TOKENS, {"seed": seed}
        self.model = SimpleNamespace(n_items=N_ITEMS)

    def recommend(self, histories, k):
        rows = [[item for item in row if item] for row in torch.as_tensor(histories).tolist()]
        scores = torch.stack([self.scores[row[-1]] + 0.3 * self.scores[row].mean(0) for row in rows])
        return scores[:, 1:].topk(k).indices + 1

    def copy(self, error=0.3, seed=99):
        """A surrogate: the scores with an error of its own."""
        noise = torch.randn(N_ITEMS, N_ITEMS, generator=torch.Generator().manual_seed(seed))
        return Table(seed, scores=self.scores + error * noise)


def references(n, first=101):
    return {f"seed {seed}": Table(seed) for seed in range(first, first + n)}
