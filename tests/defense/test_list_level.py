import pytest
import torch
from defense.cases import DefenseCases, KeyedCases, synthetic

from recbole_gro import UserError, create_defense

RANKED = torch.tensor([[3, 1, 2, 9, 7], [8, 4, 6, 5, 2]])


def defense(name, seed=7):
    return create_defense(name, {"seed": seed})


class TestNone(DefenseCases):
    name = "none"


class TestRandom(DefenseCases):
    name = "random"


class TestKeyedRandom(KeyedCases):
    name = "random"
    settings = {"random_keyed": True}


class TestReverse(DefenseCases):
    name = "reverse"


def test_none_serves_the_ranking():
    assert torch.equal(defense("none").shown(RANKED), RANKED)


def test_reverse_serves_the_last_item_first():
    assert defense("reverse").shown(RANKED).tolist() == [[7, 9, 2, 1, 3], [2, 5, 6, 4, 8]]


@pytest.mark.parametrize("name", ["none", "random", "reverse", "tail_shuffle", "tail_random", "tail_decoy", "truncate"])
def test_output_defenses_serve_the_target_itself(name):
    target = object()
    assert defense(name).protect(target, None, None) is target


def test_random_shuffles_afresh_each_time():
    shuffled = defense("random")
    lists = torch.arange(1, 31).repeat(4, 1)
    first, second = shuffled.shown(lists), shuffled.shown(lists)
    assert not torch.equal(first, second)
    assert len({tuple(row) for row in torch.cat([first, second]).tolist()}) == 8


def test_random_depends_on_the_seed():
    lists = torch.arange(1, 31).repeat(4, 1)
    assert not torch.equal(defense("random", 1).shown(lists), defense("random", 2).shown(lists))


def test_random_is_uniform():
    n = 5000
    shown = defense("random").shown(torch.arange(1, 6).repeat(n, 1))
    share = torch.stack([(shown == item).float().mean(0) for item in range(1, 6)])
    assert torch.allclose(share, torch.full((5, 5), 0.2), atol=5 * (0.2 * 0.8 / n) ** 0.5)


def test_the_papers_random_ignores_the_query_unless_it_is_keyed():
    ranked, query = synthetic(50)
    fresh, keyed = (create_defense("random", {"seed": 7, "random_keyed": keyed}) for keyed in (False, True))
    assert not torch.equal(fresh.answer(ranked, query), fresh.answer(ranked, query))
    assert torch.equal(keyed.answer(ranked, query), keyed.answer(ranked, query))
    assert "afresh" in fresh.summary
    assert "afresh" not in keyed.summary


def test_keyed_random_is_uniform():
    n = 5000
    _, query = synthetic(n)
    keyed = create_defense("random", {"seed": 7, "random_keyed": True})
    shown = keyed.answer(torch.arange(1, 6).repeat(n, 1), query)
    share = torch.stack([(shown == item).float().mean(0) for item in range(1, 6)])
    assert torch.allclose(share, torch.full((5, 5), 0.2), atol=5 * (0.2 * 0.8 / n) ** 0.5)


def test_unknown_defense_names_the_known_ones():
    with pytest.raises(
        UserError,
        match=r"unknown defense 'revers'.*Did you mean 'reverse'.*none, random, reverse, tail_decoy",
    ):
        defense("revers")
