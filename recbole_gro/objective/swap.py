"""The swap targets A' of GRO's section 4.5 and its swap loss, Eq. 5 (Zhang et al., WSDM'24)."""

import torch
from torch import Tensor
from torch.nn.functional import relu


def swap_targets(
    student_scores: Tensor, served: Tensor, listed_gradient: Tensor, paper_code_ties: bool = False
) -> Tensor:
    """Return A' of section 4.5 in closed form: per list position the item that raises the student's loss most.

    The student's loss sees the swap matrix A only through s = A S, so dL/dA[i, j] = g_i S_j with g = dL/ds: rank
    one. The largest entry of row i is therefore at the student's best item where g_i > 0 and at its worst where
    g_i < 0; the [N, k, n_items] matrix is never built. Where g_i = 0 no swap raises the loss and a_i stays.

    Args:
        student_scores: [N, n_items] S, column 0 (padding) is ignored.
        served: [N, k] a, the served list.
        listed_gradient: [N, k] g, the gradient of Eq. 4 with respect to the student's scores of the served items.
        paper_code_ties: where g_i = 0 take the first item, as the authors' argmax over a row of zeros does.

    Returns:
        [N, k] a', item ids.
    """
    best, worst = best_and_worst(student_scores)
    return chosen_targets(best, worst, torch.ones_like(served) if paper_code_ties else served, listed_gradient)


def chosen_targets(best: Tensor, worst: Tensor, unmoved: Tensor, listed_gradient: Tensor) -> Tensor:
    """Return [N, k] `best` [N, 1] where g > 0, `worst` [N, 1] where g < 0 and `unmoved` [N, k] where g = 0.

    Args:
        best: the student's best item, or what belongs to it, such as its score.
        worst: of the student's worst item.
        unmoved: of the served items.
        listed_gradient: [N, k] g, as of `swap_targets`.
    """
    return torch.where(listed_gradient > 0, best, torch.where(listed_gradient < 0, worst, unmoved))


def best_and_worst(scores: Tensor) -> tuple[Tensor, Tensor]:
    """Return the items [N, 1] of the highest and of the lowest of scores [N, n_items], the first ones of equal."""
    if scores.device.type != "cpu" or scores.dtype not in (torch.float32, torch.float64):
        items = scores[:, 1:]
        return 1 + items.argmax(-1, keepdim=True), 1 + items.argmin(-1, keepdim=True)
    # numpy, unlike PyTorch, compares many numbers per instruction: 7 times as fast; whole rows of memory are read
    # without a copy, and the few that padding wins are read again
    array = scores.detach().numpy()
    best, worst = array.argmax(1), array.argmin(1)
    if (padding := best == 0).any():
        best[padding] = 1 + array[padding, 1:].argmax(1)
    if (padding := worst == 0).any():
        worst[padding] = 1 + array[padding, 1:].argmin(1)
    return torch.from_numpy(best).unsqueeze(1), torch.from_numpy(worst).unsqueeze(1)


def swap_loss(target_scores: Tensor, served: Tensor, swapped: Tensor, margin: float = 0.0) -> Tensor:
    """Compute Eq. 5, which raises each swap target to the score of the item that it replaces.

    The mean over i of max(T[a_i] - T[a'_i] + m_swap, 0), where A T = T[a] as each row of A is one-hot.

    Lemma 4.1 as printed does not hold: A = (x, y, z) and A' = (x, x, y) have loss 0, yet y, first seen in row 3 of
    A', ranks 2nd. At loss 0 with margin 0 the i-th item of A' ranks i-th or better, and exactly i-th where rows
    1 .. i of A' all differ.

    Args:
        target_scores: [N, n_items] T.
        served: [N, k] a, the top k of T.
        swapped: [N, k] a', from `swap_targets`.
        margin: m_swap.

    Returns:
        [] the mean over positions and lists.
    """
    # one gather: each costs a table of zeros [N, n_items] in the backward pass
    return swap_loss_of(target_scores.gather(1, torch.cat([served, swapped], 1)), margin)


def swap_loss_of(scores: Tensor, margin: float = 0.0) -> Tensor:
    """Compute Eq. 5 from the target's scores [N, 2 k] of the served items and of their swap targets, in this order."""
    listed, raised = scores.float().chunk(2, 1)
    return relu(listed - raised + margin).mean()
