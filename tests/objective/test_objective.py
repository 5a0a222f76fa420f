"""Eq. 4, its negatives, the swap targets and Eq. 5, against slow words-for-words versions of themselves."""

import itertools
import math

import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from pipeline import AllOnMeta
from torch.utils._python_dispatch import TorchDispatchMode

from recbole_gro.objective.extraction import extraction_loss, sample_negatives
from recbole_gro.objective.swap import swap_loss, swap_targets
from recbole_gro.utils.ranking import top_k

few = settings(max_examples=40, deadline=None)


@st.composite
def batches(draw, least_k=1, dtype=torch.float32):
    """Scores T and S [N, n_items], the list a [N, k] that T serves and negatives [N, k] outside it."""
    n, k = draw(st.integers(1, 4)), draw(st.integers(least_k, 6))
    n_items = k + 2 + draw(st.integers(0, 8))
    generator = torch.Generator().manual_seed(draw(st.integers(0, 2**32)))
    target, student = torch.randn(2, n, n_items, generator=generator, dtype=dtype)
    student *= draw(st.sampled_from([0.1, 1.0, 10.0]))
    served = top_k(target, k)
    return target, student, served, sample_negatives(served, n_items, generator)


# Eq. 4


def slow_extraction_loss(listed, negatives, m1, m2, two_means=False):
    """Eq. 4 in plain numbers: a sum over neighbours, a sum over negatives, both over k; or each over its own terms."""
    losses = []
    for s, neg in zip(listed.tolist(), negatives.tolist(), strict=True):
        k = len(s)
        ordered = outside = 0.0
        for i in range(k - 1):
            ordered += max(0.0, s[i + 1] - s[i] + m1)
        for i in range(k):
            outside += max(0.0, neg[i] - s[i] + m2)
        losses.append((ordered / (k - 1) if k > 1 else 0.0) + outside / k if two_means else (ordered + outside) / k)
    return sum(losses) / len(losses)


@few
@given(batches(), st.sampled_from([0.0, 0.5, 2.0]), st.sampled_from([0.0, 0.5, 2.0]), st.booleans())
def test_extraction_loss_is_equation_4(batch, m1, m2, two_means):
    _, student, served, negatives = batch
    listed, outside = student.gather(1, served), student.gather(1, negatives)
    loss = extraction_loss(listed, outside, m1, m2, paper_code_ties=two_means)
    assert loss.item() == pytest.approx(slow_extraction_loss(listed, outside, m1, m2, two_means), rel=1e-4, abs=1e-6)


def test_extraction_loss_by_hand():
    listed, negatives = torch.tensor([[3.0, 1.0, 1.2]]), torch.tensor([[0.0, 0.9, 2.0]])
    # neighbours 0 + 0.7, negatives 0 + 0.4 + 1.3
    assert extraction_loss(listed, negatives).item() == pytest.approx((0.7 + 1.7) / 3)
    assert extraction_loss(listed, negatives, paper_code_ties=True).item() == pytest.approx(0.7 / 2 + 1.7 / 3)


def test_the_default_margins_are_those_of_the_attack():
    listed, negatives = torch.tensor([[2.0, 1.0]]), torch.tensor([[0.0, 0.0]])
    assert extraction_loss(listed, negatives) == 0
    assert extraction_loss(listed, listed).item() == pytest.approx(0.5)


def test_only_two_means_leave_a_gradient_where_the_pulls_cancel():
    # item 2 is pushed down by the pair above it and up by its negative; the pair below it is satisfied
    listed = torch.tensor([[0.0, 0.0, -9.0]], requires_grad=True)
    negatives = torch.tensor([[-9.0, 0.0, -99.0]])
    (summed,) = torch.autograd.grad(extraction_loss(listed, negatives), listed)
    (two_means,) = torch.autograd.grad(extraction_loss(listed, negatives, paper_code_ties=True), listed)
    assert summed[0].tolist() == pytest.approx([-1 / 3, 0, 0])
    assert summed[0, 1] == 0
    assert two_means[0].tolist() == pytest.approx([-1 / 2, 1 / 2 - 1 / 3, 0])


@pytest.mark.parametrize("half", [torch.float16, torch.bfloat16])
def test_half_precision_scores_are_judged_in_float32(half):
    listed, negatives = torch.randn(3, 8).to(half), torch.randn(3, 8).to(half)
    loss = extraction_loss(listed, negatives)
    assert loss.dtype == torch.float32
    assert loss == extraction_loss(listed.float(), negatives.float())
    # 2049 is no float16: in half precision the margin would be lost in rounding
    far = torch.tensor([[2048.0, 2048.0]]).to(half)
    assert extraction_loss(far, far - 4096).item() == pytest.approx(0.25)


@st.composite
def padded_lists(draw):
    """Scores of lists [N, k] and of negatives, and how many items each list has: 0 to k."""
    n, k = draw(st.integers(1, 5)), draw(st.integers(1, 6))
    generator = torch.Generator().manual_seed(draw(st.integers(0, 2**32)))
    listed, negatives = torch.randn(2, n, k, generator=generator)
    return listed, negatives, torch.tensor(draw(st.lists(st.integers(0, k), min_size=n, max_size=n)))


@few
@given(padded_lists(), st.booleans())
def test_what_pads_a_list_counts_nowhere(batch, two_means):
    listed, negatives, lengths = batch
    lists = zip(listed, negatives, lengths.tolist(), strict=True)
    cut = [(s[:n].unsqueeze(0), neg[:n].unsqueeze(0)) for s, neg, n in lists if n]
    expected = sum(slow_extraction_loss(s, neg, 0.5, 0.5, two_means) for s, neg in cut) / len(listed)
    listed.requires_grad_()
    # whatever the copy says of padding
    odd = torch.where(torch.arange(listed.shape[1]) < lengths.unsqueeze(1), listed, torch.inf)
    loss = extraction_loss(odd, negatives, paper_code_ties=two_means, lengths=lengths)
    assert loss.item() == pytest.approx(expected, rel=1e-4, abs=1e-6)
    (gradient,) = torch.autograd.grad(extraction_loss(listed, negatives, lengths=lengths), listed)
    assert (gradient * (torch.arange(listed.shape[1]) >= lengths.unsqueeze(1)) == 0).all()


@few
@given(batches(), st.booleans())
def test_full_lists_need_no_lengths(batch, two_means):
    _, student, served, negatives = batch
    listed, outside = student.gather(1, served), student.gather(1, negatives)
    lengths = torch.full((len(served),), served.shape[1])
    loss = extraction_loss(listed, outside, paper_code_ties=two_means)
    assert torch.equal(extraction_loss(listed, outside, paper_code_ties=two_means, lengths=lengths), loss)


# negatives


@few
@given(st.integers(1, 6), st.integers(1, 8), st.integers(0, 2**32))
def test_negatives_are_items_that_the_list_leaves_out(k, spare, seed):
    n_items = 1 + k + spare
    generator = torch.Generator().manual_seed(seed)
    served = torch.rand(16, n_items - 1, generator=generator).argsort(1)[:, :k] + 1
    negatives = sample_negatives(served, n_items, generator)
    assert negatives.shape == served.shape
    assert negatives.dtype == served.dtype
    assert negatives.min() >= 1
    assert negatives.max() < n_items
    assert not (negatives.unsqueeze(2) == served.unsqueeze(1)).any()


@pytest.mark.parametrize("served", [[1, 2, 3], [7, 8, 9], [2, 9, 5], [1, 9, 4], [8, 6, 3]])
def test_negatives_are_uniform_over_the_items_left_out(served):
    n_items, n = 10, 20_000
    lists = torch.tensor(served).expand(n, 3)
    negatives = sample_negatives(lists, n_items, torch.Generator().manual_seed(5))
    outside = [item for item in range(1, n_items) if item not in served]
    for column in negatives.T:  # every position is drawn for itself
        counts = torch.bincount(column, minlength=n_items)
        expected = n / len(outside)
        chi_square = sum((counts[item].item() - expected) ** 2 / expected for item in outside)
        assert chi_square < 22.5  # 5 degrees of freedom: one seed in 2000
        assert counts[outside].sum() == n
    pairs = torch.unique(negatives[:, :2], dim=0)
    assert len(pairs) == len(outside) ** 2


@pytest.mark.parametrize("listed", [[1, 2, 3], [7, 8, 9], [2, 9, 5, 4], [9], []], ids=str)
@pytest.mark.parametrize("ties", [False, True])
def test_negatives_of_a_padded_list_are_uniform_over_the_items_it_leaves_out(listed, ties):
    n_items, k, n = 10, 5, 20_000
    lists = torch.tensor(listed + [0] * (k - len(listed))).expand(n, k)
    lengths = torch.full((n,), len(listed))
    negatives = sample_negatives(lists, n_items, torch.Generator().manual_seed(5), ties, lengths)
    weights = torch.tensor([0.0 if item in listed else 1.0 for item in range(1, n_items)])
    expected = torch.softmax(weights, 0) if ties else weights / weights.sum()
    for column in negatives.T[: max(len(listed), 1)]:
        counts = torch.bincount(column, minlength=n_items)
        assert counts[0] == 0
        assert torch.allclose(counts[1:] / n, expected, atol=5 * (0.25 / n) ** 0.5)
    if not ties:
        assert not torch.isin(negatives, torch.tensor([0, *listed])).any()


def test_lists_of_different_lengths_have_negatives_of_their_own():
    served = torch.tensor([[3, 1, 2, 4], [9, 8, 0, 0], [5, 0, 0, 0]])
    lengths = (served != 0).sum(1)
    drawn = torch.stack([sample_negatives(served, 10, lengths=lengths) for _ in range(300)], 1)
    for row, seen in zip(served.tolist(), drawn, strict=True):
        assert set(seen.flatten().tolist()) == set(range(1, 10)) - set(row)


@pytest.mark.parametrize("lengths", [None, torch.full((4,), 5)], ids=["full", "lengths"])
@pytest.mark.parametrize("ties", [False, True])
def test_one_seed_draws_the_same_negatives_twice_and_a_generator_moves_on(ties, lengths):
    served = torch.arange(1, 6).expand(4, 5)
    generator = torch.Generator().manual_seed(1)
    first, second = (sample_negatives(served, 12, generator, ties, lengths) for _ in range(2))
    assert torch.equal(first, sample_negatives(served, 12, torch.Generator().manual_seed(1), ties, lengths))
    assert not torch.equal(first, second)


def test_an_empty_list_has_no_padding_drawn_for_it_even_by_the_smallest_draw(monkeypatch):
    monkeypatch.setattr(torch, "rand", lambda shape, **given: torch.zeros(shape, dtype=given.get("dtype")))
    served, lengths = torch.zeros(1, 3, dtype=torch.long), torch.tensor([0])
    assert sample_negatives(served, 9, paper_code_ties=True, lengths=lengths).min() >= 1


def test_negatives_of_a_list_longer_than_a_narrow_number_are_outside_it():
    k = 2**15
    served = torch.arange(1, k + 1).expand(8, k)
    assert sample_negatives(served, 2 * k + 2, torch.Generator().manual_seed(1)).min() > k


@pytest.mark.parametrize("lengths", [None, torch.tensor([3, 1], device="meta")], ids=["full", "lengths"])
@pytest.mark.parametrize("ties", [False, True])
def test_all_is_made_where_the_scores_are(ties, lengths):
    # the meta device stands in for a GPU
    served, scores = torch.ones(2, 3, dtype=torch.long, device="meta"), torch.ones(2, 9, device="meta")
    with AllOnMeta():
        negatives = sample_negatives(served, 9, None, ties, lengths)
        listed = scores.gather(1, served)
        extraction_loss(listed, scores.gather(1, negatives), paper_code_ties=ties, lengths=lengths)
        swap_loss(scores, served, swap_targets(scores, served, listed, ties))


@pytest.mark.parametrize("ties", [False, True])
def test_a_list_of_the_whole_catalogue_leaves_no_negative(ties):
    with pytest.raises(ValueError, match="a list of 4 out of 4 items leaves none to sample"):
        sample_negatives(torch.tensor([[3, 1, 2, 4]]), 5, paper_code_ties=ties)


def test_the_papers_code_draws_listed_items_at_the_rate_of_its_softmax():
    n_items, k, n = 8, 3, 60_000
    served = torch.tensor([6, 2, 4])
    negatives = sample_negatives(served.expand(n, k), n_items, torch.Generator().manual_seed(0), paper_code_ties=True)
    weights = torch.ones(n_items - 1).scatter(0, served - 1, 0)
    expected = torch.softmax(weights, 0)
    seen = torch.bincount(negatives.flatten(), minlength=n_items)[1:] / negatives.numel()
    assert torch.allclose(seen, expected, atol=0.004)
    assert torch.bincount(negatives.flatten(), minlength=n_items)[0] == 0


# swap targets


def through_the_dense_matrix(student, served, negatives, two_means=False):
    """A' as section 4.5 words it: the gradient of the loss with respect to every entry of A, largest one a row."""
    swap_matrix = torch.zeros(*served.shape, student.shape[1]).scatter_(2, served.unsqueeze(2), 1.0).requires_grad_()
    listed = (swap_matrix @ student.unsqueeze(2)).squeeze(2)
    extraction_loss(listed, student.gather(1, negatives), paper_code_ties=two_means).backward()
    return swap_matrix.grad[..., 1:]


def listed_gradient(student, served, negatives, two_means=False):
    listed = student.gather(1, served).requires_grad_()
    loss = extraction_loss(listed, student.gather(1, negatives), paper_code_ties=two_means)
    return torch.autograd.grad(loss, listed)[0]


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
    """What A' is for: to first order, replacing row i by a'_i hurts the student most."""
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


class LargestTensor(TorchDispatchMode):
    """Notes the most entries, and the most bytes, of any tensor that an operation returns."""

    entries = size = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        returned = func(*args, **(kwargs or {}))
        for tensor in returned if isinstance(returned, tuple | list) else [returned]:
            if isinstance(tensor, torch.Tensor):
                self.entries = max(self.entries, tensor.numel())
                self.size = max(self.size, tensor.numel() * tensor.element_size())
        return returned


def test_no_table_of_lists_by_positions_by_items_is_made():
    n, n_items, k = 20, 3000, 50
    target, student = torch.randn(2, n, n_items)
    with LargestTensor() as largest:
        served = top_k(target, k)
        negatives = sample_negatives(served, n_items)
        gradient = listed_gradient(student, served, negatives)
        swap_loss(target, served, swap_targets(student, served, gradient))
    assert 0 < largest.entries <= n * n_items


def test_negatives_take_two_bytes_a_list_and_item():
    served = torch.arange(1, 51).expand(20, 50)
    with LargestTensor() as largest:
        sample_negatives(served, 3000)
    assert largest.size == 2 * 20 * 3000


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
def test_the_zero_loss_swaps_are_all_there_are(k):
    """Checked over every A' of a small catalogue: the property test above leaves none out."""
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
