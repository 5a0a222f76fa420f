"""Lists compared with lists."""

import torch
from torch import Tensor


def found_in(items: Tensor, others: Tensor) -> Tensor:
    """[..., k] whether each of `items` [..., k] stands anywhere in the same row of `others` [..., n].

    0 is no item and is found nowhere. The rows are sorted and searched, so that no table [..., k, n] is built.

    >>> found_in(torch.tensor([[4, 2, 0]]), torch.tensor([[2, 9, 0, 0]]))
    tensor([[False,  True, False]])
    """
    in_order = others.sort(-1).values.contiguous()
    place = torch.searchsorted(in_order, items.contiguous()).clamp(max=in_order.shape[-1] - 1)
    return (in_order.gather(-1, place) == items) & (items != 0)
