"""Lists without the items that the user has already."""

from torch import Tensor

from recbole_gro.utils.ranking import found_in, keep_items


def without_seen(lists: Tensor, histories: Tensor) -> Tensor:
    """Return lists [N, k] without the items of each row's history, in their order, padded with 0 at the end.

    Args:
        lists: [N, k] item ids, best first.
        histories: [N, L] item ids, 0 is padding.

    >>> import torch
    >>> without_seen(torch.tensor([[4, 2, 7], [3, 1, 2]]), torch.tensor([[2, 9], [5, 0]]))
    tensor([[4, 7, 0],
            [3, 1, 2]])
    """
    return keep_items(lists, ~found_in(lists, histories.to(lists.device, lists.dtype)))
