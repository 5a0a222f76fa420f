"""The swap targets of section 4.5, Eq. 5 and Lemma 4.1, against a dense swap matrix and plain numbers."""

import itertools
import math

import pytest
import torch
from hypothesis import assume, given
from hypothesis import strategies as st
from objective.cases import LargestTensor, batches, few, listed_gradient
from pipeline import AllOnMeta

from recbole_gro.objective.extraction import extraction_loss, sample_negatives
from recbole_gro.objective.swap import swap_loss, swap_targets
from recbole_gro.utils.ranking import top_k

# swap targets


def through_the_dense_matrix(student, served, negatives, two_means=False):
    """Return A' of section 4.5: the largest entry per row of the loss's gradient with respect to A."""
    swap_matrix = torch.zeros(*served.shape, student.shape[1]).scatter_(2, served.unsqueeze(2), 1.0).requires_grad_()
    listed = (swap_matrix @ student.unsqueeze(2)).squeeze(2)
    extraction_loss(listed, student.gather(1, negatives), paper_code_ties=two_means).backward()
    return swap_matrix.grad[..., 1:]


@few
@given(batches(), st.booleans())
def test_swap_targets_are_the_argmax_of_the_dense_gradient(batch, two_means):
    _, student, served, negatives = batch
    gradient = listed_gradient(student, served, negatives, two_means)
    swapped = swap_targets(student, served, gradient, paper_code_ties=two_means)
    dense = through_the_dense_matrix(student, served, negatives, two_means)
    moved = gradient != 0
    assert torch.equal(swapped[moved], dense.argmax(-1)[moved] + 1)
    # where the list's gradient is zero the whole row of the matrix is
    assert not dense[~moved].any()
    assert torch.equal(swapped[~moved], torch.ones_like(served)[~moved] if two_means else served[~moved])


@few
@given(batches())
def test_no_other_swap_of_one_row_raises_the_loss_more(batch):
    """To first order, replacing row i by a'_i raises the student's loss most."""
    _, student, served, negatives = batch
    gradient = listed_gradient(student, served, negatives)
    swapped = swap_targets(student, served, gradient)
    gain = gradient.unsqueeze(2) * (student[:, None, 1:] - student.gather(1, served).unsqueeze(2))
    chosen = gradient * (student.gather(1, swapped) - student.gather(1, served))
    assert torch.allclose(chosen, gain.max(-1).values.clamp(min=0), atol=1e-6)


def test_swap_targets_by_hand():
    student = torch.tensor([[9.0, 0.5, -1.0, 3.0, -9.0, 0.0]])
    served, gradient = torch.tensor([[1, 2, 5]]), torch.tensor([[0.1, -0.1, 0.0]])
    assert swap_targets(student, served, gradient).tolist() == [[3, 4, 5]]
    assert swap_targets(student, served, gradient, paper_code_ties=True).tolist() == [[3, 4, 1]]


@pytest.mark.parametrize("padding", [-99.0, 99.0])
def test_padding_is_never_a_swap_target(padding):
    student = torch.randn(5, 9)
    student[:, 0] = padding
    served = torch.arange(1, 4).expand(5, 3)
    for sign in (1.0, -1.0, 0.0):
        assert swap_targets(student, served, torch.full((5, 3), sign)).min() >= 1


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
@pytest.mark.parametrize("kind", ["different", "tied", "infinite", "nan"])
def test_best_and_worst_are_those_of_torch(dtype, kind):
    scores = torch.randn(6, 301, generator=torch.Generator().manual_seed(5)).to(dtype)
    if kind == "tied":
        scores = (2 * scores).round()
    if kind == "infinite":
        scores[:, ::7], scores[:, ::9] = torch.inf, -torch.inf
    if kind == "nan":
        scores[1:3, 40::50] = torch.nan
    served = torch.arange(1, 11).expand(6, 10)
    up = swap_targets(scores, served, torch.ones(6, 10))
    down = swap_targets(scores, served, -torch.ones(6, 10))
    assert torch.equal(up, (scores[:, 1:].argmax(1, keepdim=True) + 1).expand(6, 10))
    assert torch.equal(down, (scores[:, 1:].argmin(1, keepdim=True) + 1).expand(6, 10))


def test_no_table_of_lists_by_positions_by_items_is_made():
    n, n_items, k = 20, 3000, 50
    target, student = torch.randn(2, n, n_items)
    with LargestTensor() as largest:
        served = top_k(target, k)
        negatives = sample_negatives(served, n_items)
        gradient = listed_gradient(student, served, negatives)
        swap_loss(target, served, swap_targets(student, served, gradient))
    assert 0 < largest.entries <= n * n_items


# Eq. 5


def slow_swap_loss(target, served, swapped, margin):
    terms = [
        max(0.0, scores[a] - scores[b] + margin)
        for scores, row, other in zip(target.tolist(), served.tolist(), swapped.tolist(), strict=True)
        for a, b in zip(row, other, strict=True)
    ]
    return sum(terms) / len(terms)


@few
@given(batches(), st.sampled_from([0.0, 0.3]))
def test_swap_loss_is_equation_5(batch, margin):
    target, student, served, negatives = batch
    swapped = swap_targets(student, served, listed_gradient(student, served, negatives))
    loss = swap_loss(target, served, swapped, margin)
    assert loss.item() == pytest.approx(slow_swap_loss(target, served, swapped, margin), rel=1e-4, abs=1e-6)


def test_swap_loss_has_no_margin_by_default():
    target, served = torch.tensor([[0.0, 2.0, 1.0]]), torch.tensor([[1, 2]])
    assert swap_loss(target, served, served) == 0
    assert swap_loss(target, served, served, margin=0.5).item() == pytest.approx(0.5)


def test_swap_loss_moves_the_served_item_and_its_swap_target_only():
    target = torch.tensor([[0.0, 5.0, 4.0, 1.0, 0.5, 0.2]], requires_grad=True)
    swap_loss(target, torch.tensor([[1, 2]]), torch.tensor([[4, 2]])).backward()
    assert target.grad.tolist() == [[0.0, 0.5, 0.0, 0.0, -0.5, 0.0]]


@few
@given(batches())
def test_no_gradient_reaches_the_student_through_the_swap_loss(batch):
    target, student, served, negatives = batch
    target.requires_grad_()
    student.requires_grad_()
    gradient = listed_gradient(student.detach(), served, negatives)
    loss = swap_loss(target, served, swap_targets(student.detach(), served, gradient), margin=0.1)
    loss.backward()
    assert target.grad is not None
    assert student.grad is None


# Lemma 4.1


def rank_of(scores, item):
    """1 for the best item of scores [n_items]; equal scores share the better rank, padding does not count."""
    return 1 + int((scores[1:] > scores[item]).sum())


def test_the_lemma_as_printed_has_a_counterexample():
    x, y, z = 1, 2, 3
    target = torch.tensor([[0.0, 3.0, 2.0, 1.0]])
    lists, swaps = torch.tensor([[x, y, z]]), torch.tensor([[x, x, y]])
    assert torch.equal(top_k(target, 3), lists)
    assert swap_loss(target, lists, swaps) == 0
    assert rank_of(target[0], y) == 2  # not 3rd, where y first stands in A'


def zero_loss_swaps(target, served, draw):
    """Any A' of loss 0: each a'_i one of the items that score at least what a_i does."""
    return [draw(st.sampled_from(served[: i + 1].tolist()), label=f"a'_{i + 1}") for i in range(len(served))]


@few
@given(st.data(), st.integers(1, 6), st.integers(0, 6), st.integers(0, 2**32))
def test_at_loss_zero_the_ith_swap_target_ranks_ith_or_better(data, k, spare, seed):
    target = torch.randn(1, k + 1 + spare, generator=torch.Generator().manual_seed(seed))
    served = top_k(target, k)
    swaps = zero_loss_swaps(target, served[0], data.draw)
    assert swap_loss(target, served, torch.tensor([swaps])) == 0
    for i, item in enumerate(swaps, start=1):
        rank = rank_of(target[0], item)
        assert rank <= i
        if len(set(swaps[:i])) == i:
            assert rank == i


@pytest.mark.parametrize("k", [1, 2, 3])
def test_the_strategy_of_zero_loss_swaps_is_complete(k):
    """Every A' of loss 0 of a small catalogue is one that the strategy above draws."""
    n_items = 5
    target = torch.tensor([[0.0, 1.5, 4.0, -2.0, 0.5]])
    served = top_k(target, k)
    for swaps in itertools.product(range(1, n_items), repeat=k):
        is_zero = swap_loss(target, served, torch.tensor([swaps])) == 0
        assert is_zero == all(swaps[i] in served[0, : i + 1] for i in range(k))


@few
@given(batches(least_k=2))
def test_a_swap_target_outside_the_list_costs_until_it_climbs(batch):
    target, _, served, negatives = batch
    assume((target.gather(1, served) > target.gather(1, negatives)).all())
    assert swap_loss(target, served, negatives) > 0
    assert math.isfinite(swap_loss(target, served, negatives).item())


# a whole step


@pytest.mark.parametrize("lengths", [None, torch.tensor([3, 1], device="meta")], ids=["full", "lengths"])
@pytest.mark.parametrize("ties", [False, True])
def test_all_tensors_are_on_the_device_of_the_scores(ties, lengths):
    # the meta device stands in for a GPU
    served, scores = torch.ones(2, 3, dtype=torch.long, device="meta"), torch.ones(2, 9, device="meta")
    with AllOnMeta():
        negatives = sample_negatives(served, 9, None, ties, lengths)
        listed = scores.gather(1, served)
        extraction_loss(listed, scores.gather(1, negatives), paper_code_ties=ties, lengths=lengths)
        swap_loss(scores, served, swap_targets(scores, served, listed, ties))
