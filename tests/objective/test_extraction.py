"""Eq. 4 and its sampled negatives, against a slow version in plain numbers."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from objective.cases import LargestTensor, batches, few

from recbole_gro.objective.extraction import BatchPart, extraction_loss, sample_negatives

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
def test_padding_of_a_list_does_not_count(batch, two_means):
    listed, negatives, lengths = batch
    lists = zip(listed, negatives, lengths.tolist(), strict=True)
    cut = [(s[:n].unsqueeze(0), neg[:n].unsqueeze(0)) for s, neg, n in lists if n]
    expected = sum(slow_extraction_loss(s, neg, 0.5, 0.5, two_means) for s, neg in cut) / len(listed)
    listed.requires_grad_()
    # whatever the scores of padding are
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


@pytest.mark.parametrize("ties", [False, True])
@pytest.mark.parametrize("lengths", [None, torch.tensor([3, 2, 3, 1])], ids=["full", "lengths"])
def test_parts_of_a_batch_have_the_negatives_of_the_whole(ties, lengths):
    served = torch.tensor([[3, 1, 2], [9, 8, 0], [5, 6, 7], [4, 0, 0]])
    if lengths is None:
        served = torch.rand(4, 9).argsort(1)[:, :3] + 1

    def negatives(rows, part):
        draw = torch.Generator().manual_seed(5)
        own = None if lengths is None else lengths[rows]
        return sample_negatives(served[rows], 10, draw, ties, own, batch_part=part)

    parts = [negatives(slice(0, 1), BatchPart(0, 4)), negatives(slice(1, 4), BatchPart(1, 4))]
    assert torch.equal(torch.cat(parts), negatives(slice(0, 4), None))


def test_lists_of_different_lengths_have_negatives_of_their_own():
    served = torch.tensor([[3, 1, 2, 4], [9, 8, 0, 0], [5, 0, 0, 0]])
    lengths = (served != 0).sum(1)
    drawn = torch.stack([sample_negatives(served, 10, lengths=lengths) for _ in range(300)], 1)
    for row, seen in zip(served.tolist(), drawn, strict=True):
        assert set(seen.flatten().tolist()) == set(range(1, 10)) - set(row)


@pytest.mark.parametrize("lengths", [None, torch.full((4,), 5)], ids=["full", "lengths"])
@pytest.mark.parametrize("ties", [False, True])
def test_negatives_are_those_of_the_seed_and_the_generator_advances(ties, lengths):
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


def test_every_item_of_a_large_catalogue_can_be_drawn():
    served, lengths = torch.arange(1, 101).unsqueeze(0), torch.tensor([100])
    negatives = sample_negatives(served, 2**25, torch.Generator().manual_seed(1), lengths=lengths)
    # float32 holds no odd number above 2**24
    assert set((negatives[negatives > 2**24] % 2).tolist()) == {0, 1}


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


def test_negatives_take_two_bytes_per_list_and_item():
    served = torch.arange(1, 51).expand(20, 50)
    with LargestTensor() as largest:
        sample_negatives(served, 3000)
    assert largest.size == 2 * 20 * 3000
