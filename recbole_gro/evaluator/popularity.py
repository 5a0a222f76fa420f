"""The popularity baseline: every user is served the most popular items."""

from typing import Any

import torch
from recbole.model.abstract_recommender import SequentialRecommender
from torch import Tensor

from recbole_gro.serving.service import Service

POPULARITY = "popularity"  # name of its row


class PopularityService(Service):
    """Serve the same list for every query: the most frequent items of the training data.

    Args:
        model: gives the number of items, the fields of a query and the device; it computes nothing.
        k: length of a list.
        counts: how often each item occurs, a dataset's `interaction_counter`; of equal counts the lower id comes first.
    """

    def __init__(self, model: SequentialRecommender, k: int, counts: dict[int, int]):
        super().__init__(model, k)
        frequency = torch.tensor([counts.get(item, 0) for item in range(1, self.n_items)])
        self.list = frequency.argsort(descending=True, stable=True)[:k] + 1

    def recommend(self, sequences: Any) -> Tensor:
        histories, _ = self.histories(sequences)  # which refuses what any service does
        return self.list.to(self.device).expand(len(histories), -1)
