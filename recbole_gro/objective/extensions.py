"""Ours: terms in place of those of the paper (Zhang et al., WSDM'24); results/tradeoff.md measures `gro_decoys`."""

import torch
from torch import Tensor
from torch.nn.functional import kl_div, log_softmax, relu

ABSENT = -1e4  # a score that softmax gives no share
LOWEST = torch.iinfo(torch.int64).min


def assigned_targets(
    student_scores: Tensor, served: Tensor, listed_gradient: Tensor, excluded: Tensor | None = None
) -> Tensor:
    """Return swap targets that form a valid list: no item twice among the rows that are to change.

    Section 4.5 takes the largest entry of g_i S_j in each row separately, so a list's targets are one best and one
    worst item, repeated. Here they are the assignment of different items to rows with the largest sum of
    g_i S_{a'_i}: by the rearrangement inequality the rows with g > 0 take the student's best items, the larger g the
    better, and the rows with g < 0 its worst, the smaller g the worse. Where g_i = 0 a_i stays.

    Args:
        student_scores: [N, n_items] S, column 0 (padding) is ignored.
        served: [N, k] a.
        listed_gradient: [N, k] g, of Eq. 4 with respect to the student's scores of the served items.
        excluded: [N, h] items that are no candidates; None for none.

    Returns:
        [N, k] a', item ids.
    """
    best, worst = _both_ends(student_scores, served.shape[1], excluded)
    place = listed_gradient.argsort(dim=1, descending=True, stable=True).argsort(1)
    upper, lower = best.gather(1, place), worst.gather(1, served.shape[1] - 1 - place)
    return torch.where(listed_gradient > 0, upper, torch.where(listed_gradient < 0, lower, served))


def _both_ends(scores: Tensor, k: int, excluded: Tensor | None) -> tuple[Tensor, Tensor]:
    """Return the best and the worst k items [N, k], best and worst first, as of one order of all items of a row."""
    # whole numbers in the order of the scores, of equal ones the first item highest: no two of a row are equal, or an
    # item could be at both ends
    bits = scores.float().view(torch.int32)
    counting = bits ^ ((bits >> 31) & (2**31 - 1))  # the bits of floats count upwards as they do, but for negative ones
    upwards = (counting.long() << 32) - torch.arange(scores.shape[1], device=scores.device)
    downwards = -upwards
    if excluded is not None:
        upwards, downwards = (one.scatter(1, excluded, LOWEST) for one in (upwards, downwards))
    return top_k(upwards, k), top_k(downwards, k)


def swap_targets_outside(
    student_scores: Tensor,
    served: Tensor,
    listed_gradient: Tensor,
    excluded: Tensor,
    paper_code_ties: bool = False,
) -> Tensor:
    """Return A' of section 4.5 (`swap_targets`) from fewer candidates: the student's best and worst other items.

    Args:
        student_scores: [N, n_items] S, column 0 (padding) is ignored.
        served: [N, k] a.
        listed_gradient: [N, k] g, of Eq. 4 with respect to the student's scores of the served items.
        excluded: [N, h] items that are no candidates, 0 not among them.
        paper_code_ties: where g_i = 0 take the first candidate of the catalogue; else a_i stays there.

    Returns:
        [N, k] a', item ids.
    """
    best = student_scores.scatter(1, excluded, -torch.inf)[:, 1:].argmax(-1, keepdim=True) + 1
    worst = student_scores.scatter(1, excluded, torch.inf)[:, 1:].argmin(-1, keepdim=True) + 1
    unmoved = served
    if paper_code_ties:
        # the first id that is none of the h excluded ones is at most h + 1
        first = torch.arange(1, excluded.shape[1] + 2, device=served.device)
        free = (first != excluded.unsqueeze(2)).all(1)
        unmoved = free.byte().argmax(-1, keepdim=True) + 1
    return torch.where(listed_gradient > 0, best, torch.where(listed_gradient < 0, worst, unmoved))


def head_guard(target_scores: Tensor, head_item: Tensor, swapped: Tensor) -> Tensor:
    """Penalize swap targets above the last item of the head, whose own score gets no gradient.

    Args:
        target_scores: [N, n_items] T.
        head_item: [N] the last item of the head.
        swapped: [N, r] swap targets.

    Returns:
        [] mean of relu(T[a'] - T[head item]).
    """
    ceiling = target_scores.detach().gather(1, head_item.unsqueeze(1))
    return relu(target_scores.gather(1, swapped) - ceiling).float().mean()


def decoy_loss(target_scores: Tensor, decoys: Tensor, head_k: int, below_k: int, guard: float = 5.0) -> Tensor:
    """Penalize decoys outside a band of scores just below the head of each list.

    A decoy is to score between the head_k-th and the below_k-th best of the other items. The band scales with the
    scores, and only the decoys get a gradient.

    Args:
        target_scores: [N, n_items] T.
        decoys: [D] item ids.
        head_k: positions at the head of the list, without decoys.
        below_k: larger than head_k; the number of other items where there are fewer.
        guard: weight of a decoy's distance above the band; below it the weight is 1.

    Returns:
        [] mean over lists and decoys of the weighted distance from the band.
    """
    others = target_scores.detach().float().index_fill(1, decoys, -torch.inf)
    ranked = others.gather(1, top_k(others, min(below_k, others.shape[1] - 1 - len(decoys))))
    upper, lower = ranked[:, head_k - 1 : head_k], ranked[:, -1:]
    scores = target_scores[:, decoys].float()
    return (guard * relu(scores - upper) + relu(lower - scores)).mean()


def hold_loss(target_scores: Tensor, converged_scores: Tensor, left_out: Tensor | None = None) -> Tensor:
    """Compute the divergence of the target's scores from the converged target's; it replaces L_target in Eq. 6.

    With its own loss a converged target overfits before any swap loss acts.

    Args:
        target_scores: [N, n_items] T.
        converged_scores: [N, n_items] of the target before GRO.
        left_out: [n_items] bool, items that do not count; None for none.

    Returns:
        [] KL(converged || target) of the softmax distributions of the scores, over the other items; mean over lists, 0
        where there is none.
    """
    if not len(target_scores):
        return target_scores.float().sum()
    absent = torch.zeros(target_scores.shape[1], dtype=torch.bool, device=target_scores.device)
    absent[0] = True
    if left_out is not None:
        absent |= left_out
    # finite, so that items absent on both sides contribute 0 and not NaN
    own, reference = (
        log_softmax(scores.float().masked_fill(absent, ABSENT), 1) for scores in (target_scores, converged_scores)
    )
    return kl_div(own, reference, reduction="batchmean", log_target=True)


def top_k(scores: Tensor, k: int) -> Tensor:
    """Return [N, k] item ids of the highest of scores [N, n_items], best first; column 0 (padding) is ignored.

    The equations import torch alone, so it is not `utils.ranking.top_k`, which is faster.
    """
    return scores[:, 1:].topk(k, dim=-1).indices + 1
