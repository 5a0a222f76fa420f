"""Lists without the items that the user has already."""

import torch
from torch import Tensor


def without_seen(lists: Tensor, histories: Tensor) -> Tensor:
    """Return lists [N, k] without the items of each row's history, in their order, padded with 0 at the end.

    Args:
        lists: [N, k] item ids, best first.
        histories: [N, L] item ids, 0 is padding.

    >>> without_seen(torch.tensor([[4, 2, 7], [3, 1, 2]]), torch.tensor([[2, 9], [5, 0]]))
    tensor([[4, 7, 0],
            [3, 1, 2]])
    """
    histories = histories.to(lists.device, lists.dtype).sort(1).values
    place = torch.searchsorted(histories, lists.contiguous()).clamp_(max=histories.shape[1] - 1)
    seen = histories.gather(1, place) == lists
    return lists.masked_fill(seen, 0).gather(1, seen.sort(dim=1, stable=True).indices)
