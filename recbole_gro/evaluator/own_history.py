"""The baseline of repeated items: every query is answered with its own items."""

from typing import Any

import torch
from torch import Tensor

from recbole_gro.serving.service import Service
from recbole_gro.utils.ranking import first_different


class OwnHistoryService(Service):
    """Serve the items of each query, latest first, without repeats; 0 pads lists where a query has fewer than k.

    Args:
        model: gives the number of items, the fields of a query and the device; it computes nothing.
        k: length of a list.
    """

    def recommend(self, sequences: Any) -> Tensor:
        padded, lengths = self.histories(sequences)
        # past the first item it is repeated, and a repeat is left out
        place = (lengths.unsqueeze(1) - 1 - torch.arange(padded.shape[1], device=padded.device)).clamp(min=0)
        return first_different(padded.gather(1, place), self.k, self.n_items).to(self.device)
