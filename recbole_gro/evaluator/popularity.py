"""The reference that any recommender should beat: every user is served the most popular items."""

import torch
from torch import Tensor

from recbole_gro.serving.service import Service

POPULARITY = "popularity"  # name of its row


class PopularityService(Service):
    """Answer every query with the same list, the items that the training data hold most often.

    Args:
        model: names the fields of a query and the device; it computes nothing.
        k: length of a list.
        counts: how often each item occurs, a dataset's `item_counter`; of equal counts the lower id comes first.
    """

    def __init__(self, model, k: int, counts: dict[int, int]):
        super().__init__(model, k)
        often = torch.tensor([counts.get(item, 0) for item in range(1, self.n_items)])
        self.list = often.argsort(descending=True, stable=True)[:k] + 1

    def recommend(self, sequences) -> Tensor:
        return self.list.to(self.device).expand(len(sequences), -1)
