import hashlib
import hmac

import pytest
import torch
from defense.cases import synthetic

from recbole_gro.defense.defense_key import defense_key
from recbole_gro.defense.keyed_randomness import KeyedDraws, shuffled
from recbole_gro.serving.service import Query


def draws(seed=7, purpose="a test"):
    return KeyedDraws({"seed": seed}, purpose)


def query_of(*histories):
    width, lengths = max(map(len, histories)), [len(row) for row in histories]
    sequences = torch.tensor([[*row, *[0] * (width - len(row))] for row in histories])
    return Query(sequences, torch.tensor(lengths), torch.zeros(len(histories), 9))


def slow_words(key, purpose, history, n):
    """Return the words of SHAKE128 one by one."""
    block = key + purpose.encode()
    message = block + bytes(168 - len(block)) + b"".join(item.to_bytes(4, "little") for item in history)
    stream = hashlib.shake_128(message).digest(8 * n)
    return [int.from_bytes(stream[8 * i : 8 * i + 8], "little") // 2 for i in range(n)]


def test_words_are_shake128_of_key_and_query():
    histories = [[1, 2, 3], [300_000], [3, 2, 1, 7, 7]]
    key = defense_key({"seed": 7})
    assert draws().words(query_of(*histories), 5).tolist() == [slow_words(key, "a test", row, 5) for row in histories]


def test_more_words_begin_with_the_same_ones():
    query = query_of([4, 5], [6])
    assert torch.equal(draws().words(query, 9)[:, :3], draws().words(query, 3))


@pytest.mark.parametrize("histories", [([1, 2], [2, 1]), ([1], [1, 1]), ([1, 2], [2]), ([256], [1])])
def test_different_queries_have_different_words(histories):
    one, other = draws().words(query_of(*histories), 4)
    assert not (one == other).any()


@pytest.mark.parametrize("others", [draws(8), draws(7, "another"), draws(7, "")])
def test_another_key_or_purpose_has_other_words(others):
    query = query_of([1, 2], [3])
    assert not (draws().words(query, 4) == others.words(query, 4)).any()


def test_bits_of_words_are_uniform_and_uncorrelated():
    _, query = synthetic(3000)
    words = draws().words(query, 4)
    assert (words >= 0).all()
    bits = torch.stack([(words >> place) & 1 for place in range(63)], -1).double()  # [rows, 4, 63]
    spread = 5 * 0.5 / len(words) ** 0.5
    assert (bits.mean(0) - 0.5).abs().max() < spread
    centred = bits.flatten(1) - bits.flatten(1).mean(0)
    correlation = (centred.T @ centred / len(words)).fill_diagonal_(0)
    assert correlation.abs().max() < spread  # 31 626 pairs, each with a standard deviation of 0.25 / sqrt(rows)


def test_a_row_is_shuffled_by_the_order_of_its_words():
    items = torch.tensor([[7, 8, 9], [7, 8, 9]])
    assert shuffled(items, torch.tensor([[5, 1, 3], [0, 2, 1]])).tolist() == [[8, 9, 7], [7, 9, 8]]


def test_the_key_is_no_simple_function_of_the_seed():
    keys = [defense_key({"seed": seed}) for seed in range(50)]
    assert len(set(keys)) == 50
    assert all(len(key) == 32 for key in keys)
    assert not any(hmac.compare_digest(keys[0][:8], key[:8]) for key in keys[1:])
