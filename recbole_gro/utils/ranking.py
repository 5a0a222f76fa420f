"""Lists of items: top k, random items, membership, agreement."""

import math
from collections.abc import Callable

import torch
from torch import Tensor

from recbole_gro.utils import vector_sort

# entries of a score table computed at a time on a CPU (24 MiB in float32: a table of 32 MiB or more gets new pages from
# the system each time); four times as many elsewhere
SCORES_AT_ONCE = 6 * 2**20
LARGE = 2**13  # columns from which on the maxima of groups are ranked by groups too


def rows_at_once(n_items: int, most: int, device: torch.device) -> int:
    """Return how many sequences, at most `most`, to score at a time against `n_items` items on a device."""
    entries = SCORES_AT_ONCE if device.type == "cpu" else 4 * SCORES_AT_ONCE
    return max(1, min(most, entries // n_items))


def top_k(scores: Tensor, k: int) -> Tensor:
    """Return the item ids [N, k] of the highest of scores [N, n_items], best first; column 0 (padding) is left out.

    The k highest items lie in the k groups with the highest maxima, whatever the groups, so the maxima are ranked
    first and the items of those groups after: on a CPU faster than ranking all items (benchmarks/serving.py). Of items
    with equal scores any may come first, but the same one every time.
    """
    return _highest(scores[:, 1:], k) + 1


def _highest(items: Tensor, k: int, in_order: bool = True) -> Tensor:
    """Return the columns [N, k] of the highest of scores [N, n]."""
    n_items = items.shape[1]
    if n_items <= LARGE and vector_sort.is_faster(items):
        return vector_sort.highest_by_groups(items, k)
    in_a_group = math.isqrt(n_items // k)  # as many groups as candidates: both rankings are short
    if n_items > LARGE:
        in_a_group = min(in_a_group, 8)
    if in_a_group < 2:
        return _ranked(items, k, in_order)
    groups = n_items // in_a_group
    # group j holds the columns j, j + groups, j + 2 groups, ..: maxima over whole rows of memory
    best = items[:, : in_a_group * groups].unflatten(1, (in_a_group, groups)).amax(1)
    chosen = _highest(best, k, False) if n_items > LARGE else _ranked(best, k, False)
    steps = groups * torch.arange(in_a_group, device=items.device).unsqueeze(1)
    left_over = torch.arange(in_a_group * groups, n_items, device=items.device).expand(len(items), -1)
    candidates = torch.cat([(chosen.unsqueeze(1) + steps).flatten(1), left_over], 1)
    return candidates.gather(1, _ranked(items.gather(1, candidates), k, in_order))


def _ranked(items: Tensor, k: int, in_order: bool) -> Tensor:
    """Return the columns [N, k] of the highest of scores [N, n], all of which are ranked."""
    if vector_sort.is_faster(items):
        return vector_sort.highest_by_groups(items, k)
    return items.topk(k, dim=-1, sorted=in_order).indices


def top_columns(scores: Tensor, k: int) -> Tensor:
    """Return the columns [N, k] of the highest of scores [N, n] as `torch.topk` does, equal and NaN scores included.

    Where the k + 1 highest scores of each row differ, `top_k` gives the same columns sooner.
    """
    if scores.shape[1] > k + 1:
        ranked = top_k(scores, k + 1)
        highest = torch.cat([scores.gather(1, ranked), scores[:, :1]], 1)
        if bool((highest[:, :k] > highest[:, 1:-1]).all() & (highest[:, k - 1] > highest[:, -1]).all()):
            return ranked[:, :k]
    return scores.topk(k, dim=-1).indices


def random_others(head: Tensor, count: int, n_items: int, draw: Callable[[int], Tensor]) -> Tensor:
    """Return different items [B, count] in a random order, none of them in `head`, all others equally likely.

    A small catalogue is permuted. From a large one items are drawn with replacement, and repeated ones are skipped.
    Each draw is new with probability 3/4 or more there, so that 1.5 count + 48 draws are too few less than once in
    10**12 lists; the first items of the catalogue then fill the list.

    Args:
        head: [B, h] different items.
        count: at most n_items - 1 - h.
        n_items: size of the id space, padding included.
        draw: n to [B, n] whole numbers, uniform over a range far above the number of items.
    """
    k = head.shape[1] + count
    drawn = _drawn(len(head), k, count, n_items, draw, head.device)
    return first_different(torch.cat([head, drawn], 1), k, n_items)[:, head.shape[1] :]


def completed(lists: Tensor, n_items: int, draw: Callable[[int], Tensor]) -> Tensor:
    """Return lists [B, k] with random other items in place of the 0 that pads them.

    Args:
        lists: different items; at least one, the first, in each.
        n_items: size of the id space, padding included.
        draw: as of `random_others`.
    """
    k, missing = lists.shape[1], int((lists == 0).sum(1).max())
    if missing == 0:
        return lists
    drawn = _drawn(len(lists), k, missing, n_items, draw, lists.device)
    return first_different(torch.cat([lists.where(lists != 0, lists[:, :1]), drawn], 1), k, n_items)


def _drawn(rows: int, k: int, count: int, n_items: int, draw: Callable[[int], Tensor], device: torch.device) -> Tensor:
    """Return random items [rows, c], some of them repeated; enough for `count` that are not in a list of k."""
    catalogue = n_items - 1
    if catalogue < 4 * k:
        drawn = draw(catalogue).to(device).argsort(1) + 1
    else:
        drawn = draw(count + count // 2 + 48).to(device) % catalogue + 1
    filler = torch.arange(1, k + 1, device=device).expand(rows, k)
    return torch.cat([drawn, filler], 1)


def first_different(items: Tensor, count: int, n_items: int) -> Tensor:
    """Return the first `count` different items [B, count] of each row of items [B, c], in their order.

    By one table [B, n_items] of four bytes per entry, or in a large catalogue by a sort, which is faster there.

    >>> first_different(torch.tensor([[3, 1, 3, 2, 1, 4]]), 3, 5)
    tensor([[3, 1, 2]])
    """
    if n_items > 32 * items.shape[1]:
        in_order, column = items.sort(dim=1, stable=True)
        new = torch.ones_like(in_order, dtype=torch.bool)
        new[:, 1:] = in_order[:, 1:] != in_order[:, :-1]
        is_first = new.scatter(1, column, new)
    else:
        place = torch.arange(items.shape[1], dtype=torch.int32, device=items.device).expand_as(items)
        first = torch.full((len(items), n_items), items.shape[1], dtype=torch.int32, device=items.device)
        is_first = first.scatter_reduce_(1, items, place, "amin").gather(1, items) == place
    position = is_first.cumsum(1) - 1
    # all others go to a last column that is cut off
    position = position.where(is_first & (position < count), torch.full_like(position, count))
    return items.new_zeros(len(items), count + 1).scatter_(1, position, items)[:, :count]


def found_in(items: Tensor, others: Tensor) -> Tensor:
    """Return whether each of `items` [..., k] occurs in the same row of `others` [..., n], as [..., k].

    0 is no item and is found nowhere. The rows are sorted and searched, so that no table [..., k, n] is built.

    >>> found_in(torch.tensor([[4, 2, 0]]), torch.tensor([[2, 9, 0, 0]]))
    tensor([[False,  True, False]])
    """
    in_order = others.sort(-1).values.contiguous()
    place = torch.searchsorted(in_order, items.contiguous()).clamp(max=in_order.shape[-1] - 1)
    return (in_order.gather(-1, place) == items) & (items != 0)


def keep_items(lists: Tensor, kept: Tensor) -> Tensor:
    """Return the items of lists that are kept, in their order, padded with 0 at the end.

    Args:
        lists: [..., k] item ids.
        kept: [..., k] bool, whether to keep each of them.

    Returns:
        [..., k] item ids.

    >>> keep_items(torch.tensor([[4, 2, 7]]), torch.tensor([[True, False, True]]))
    tensor([[4, 7, 0]])
    """
    return (lists * kept).gather(-1, (~kept).to(torch.uint8).argsort(dim=-1, stable=True))


def agreement_per_list(lists: Tensor, reference: Tensor, k: int) -> Tensor:
    """Return agreement@k of each list with its reference: the share of the reference's first k items among its own.

    A list with fewer items agrees on no more than it has; of a reference with fewer items the share is of those.

    Args:
        lists: [N, any] different item ids, padded with 0 at the end.
        reference: [N, any] the same, such as served lists.
        k: number of items that are compared.

    Returns:
        [N] between 0 and 1; nan where the reference is empty.

    >>> agreement_per_list(torch.tensor([[1, 2, 3], [1, 2, 3]]), torch.tensor([[3, 2, 1], [2, 0, 0]]), 2)
    tensor([0.5000, 1.0000])
    """
    lists, reference = lists[:, :k], reference[:, :k]
    return found_in(reference, lists).sum(1) / (reference != 0).sum(1)
