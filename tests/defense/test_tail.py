import pytest
import torch
from defense.cases import KeyedCases, TailCases, synthetic

from recbole_gro import UserError, create_defense
from recbole_gro.serving.service import Query

SETTINGS = {"seed": 7, "served_k": 10, "head_k": 4}


class TestTailShuffle(TailCases, KeyedCases):
    name = "tail_shuffle"
    keeps_items = True


class TestTailRandom(TailCases, KeyedCases):
    name = "tail_random"


class TestTailDecoy(TailCases):
    name = "tail_decoy"


class TestTruncate(TailCases):
    name = "truncate"
    items = 4


def answer(name, ranked, query, **settings):
    return create_defense(name, {**SETTINGS, **settings}).answer(ranked, query)


def slow_decoys(scores, head, n_tail):
    others = [item for item in range(1, len(scores)) if item not in head]
    return sorted(others, key=lambda item: scores[item])[:n_tail]


@pytest.mark.parametrize(("n_items", "k"), [(31, 10), (12, 10), (400, 10)])
def test_decoys_are_the_lowest_scores_lowest_first(n_items, k):
    ranked, query = synthetic(30, k, n_items)
    query.scores[:, 0] = -99  # padding, which is no item
    lists = answer("tail_decoy", ranked, query)
    for row, scores, served in zip(ranked.tolist(), query.scores.tolist(), lists.tolist(), strict=True):
        assert served[4:] == slow_decoys(scores, row[:4], 6)


@pytest.mark.parametrize("name", ["tail_decoy", "tail_random"])
def test_lists_of_the_whole_catalogue_have_no_item_outside_to_take(name):
    with pytest.raises(UserError, match="served_k: 10 is too long for a catalogue of 10 items; at most 9"):
        answer(name, *synthetic(3, 10, 11))


def test_decoys_are_none_of_the_head_where_all_scores_are_equal():
    query = Query(torch.ones(5, 1, dtype=torch.long), torch.ones(5, dtype=torch.long), torch.zeros(5, 12))
    ranked = torch.arange(1, 11).expand(5, 10)
    for row in answer("tail_decoy", ranked, query).tolist():
        assert row[:4] == [1, 2, 3, 4]
        assert len(set(row)) == 10
        assert min(row) > 0


def test_truncate_serves_the_head_alone():
    ranked, query = synthetic()
    assert torch.equal(answer("truncate", ranked, query), ranked * (torch.arange(10) < 4))


def test_shuffled_tails_are_uniform():
    n = 6000
    _, query = synthetic(n)
    lists = answer("tail_shuffle", torch.arange(1, 11).expand(n, 10), query)
    share = torch.stack([(lists[:, 4:] == item).float().mean(0) for item in range(5, 11)])
    assert torch.allclose(share, torch.full((6, 6), 1 / 6), atol=5 * (5 / 36 / n) ** 0.5)


@pytest.mark.parametrize(("n_items", "k"), [(12, 10), (31, 10), (61, 10)])
def test_random_tails_are_uniform_over_the_other_items(n_items, k):
    """Small catalogues are permuted, large ones are drawn from with replacement."""
    n = 6000
    _, query = synthetic(n, k, n_items)
    lists = answer("tail_random", torch.arange(1, k + 1).expand(n, k), query)[:, 4:]
    assert lists.min() == 5
    others = n_items - 5
    for column in lists.T:
        share = torch.bincount(column, minlength=n_items)[5:] / n
        assert torch.allclose(share, torch.full((others,), 1 / others), atol=5 * (1 / others / n) ** 0.5)


@pytest.mark.parametrize("name", ["tail_shuffle", "tail_random"])
def test_defenses_with_the_same_key_draw_independently(name):
    _, query = synthetic(40)
    random = create_defense("random", {**SETTINGS, "random_keyed": True})
    words = [defense.draws.words(query, 5) for defense in (random, create_defense(name, SETTINGS))]
    assert not (words[0] == words[1]).any()


@pytest.mark.parametrize("name", ["tail_shuffle", "tail_random", "tail_decoy", "truncate"])
def test_default_keys(name):
    lists = create_defense(name, {"seed": 0}).answer(*synthetic(3, 100, 200))
    assert torch.equal(lists[:, :20], synthetic(3, 100, 200)[0][:, :20])
