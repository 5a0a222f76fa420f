"""The list a model's scores make: the k highest items, best first."""

import math

import torch
from torch import Tensor


def top_k(scores: Tensor, k: int) -> Tensor:
    """[N, k] item ids of the highest of scores [N, n_items], best first; column 0 (padding) is passed over.

    The k highest items lie in the k groups with the highest maxima, whatever the groups, so the maxima are ranked
    first and the items of those groups after: on a CPU faster than ranking all items (benchmarks/serving.py). Of items
    with equal scores any may come first, but the same one every time.
    """
    items = scores[:, 1:]
    n_items = items.shape[1]
    in_a_group = math.isqrt(n_items // k)  # as many groups as candidates: both rankings are short
    if in_a_group < 2:
        return items.topk(k, dim=-1).indices + 1
    groups = n_items // in_a_group
    # group j holds the columns j, j + groups, j + 2 groups, ..: maxima over whole rows of memory
    best = items[:, : in_a_group * groups].unflatten(1, (in_a_group, groups)).amax(1)
    chosen = best.topk(k, dim=-1, sorted=False).indices
    steps = groups * torch.arange(in_a_group, device=scores.device).unsqueeze(1)
    left_over = torch.arange(in_a_group * groups, n_items, device=scores.device).expand(len(scores), -1)
    candidates = torch.cat([(chosen.unsqueeze(1) + steps).flatten(1), left_over], 1)
    return candidates.gather(1, items.gather(1, candidates).topk(k, dim=-1).indices) + 1
