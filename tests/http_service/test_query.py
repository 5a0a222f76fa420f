import json

import pytest

from recbole_gro.http_service.query import Limits, RequestedLists, read_request
from recbole_gro.http_service.refusal import HttpRefusal

IDS = {"a": 1, "b": 2}
LIMITS = Limits(histories=3, history=4, k=12)


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({"history": ["a", "b"]}, RequestedLists([[1, 2]], 10, True)),
        ({"histories": [["b"], ["a", "a"]], "k": 12}, RequestedLists([[2], [1, 1]], 12, False)),
        ({"histories": [["b"], ["a"], ["a", "a", "b", "b"]]}, RequestedLists([[2], [1], [1, 1, 2, 2]], 10, False)),
    ],
)
def test_one_history_or_many_are_read(given, expected):
    assert read_request(json.dumps(given).encode(), IDS, LIMITS) == expected


def test_k_is_at_most_the_served_list():
    assert read_request(b'{"history": ["a"]}', IDS, Limits(k=3)).k == 3


@pytest.mark.parametrize(
    ("body", "sentence"),
    [
        (b"", "the body is not valid JSON"),
        (b"\xff", "the body is not valid JSON"),
        (b"[" * 100_000, "the body is not valid JSON"),
        (b'{"k": ' + b"9" * 5000 + b"}", "the body is not valid JSON"),
        (b"[]", "the body must be an object with either history or histories"),
        (b"{}", "the body must be an object with either history or histories"),
        (b'{"history": ["a"], "histories": [["a"]]}', "the body must be an object with either history or histories"),
        (b'{"history": ["a"], "K": 3}', "unknown field 'K'; there are history, histories and k"),
        (b'{"history": ["a"], "k": 13}', "k must be a whole number between 1 and 12"),
        (b'{"history": ["a"], "k": 0}', "k must be a whole number between 1 and 12"),
        (b'{"history": ["a"], "k": true}', "k must be a whole number between 1 and 12"),
        (b'{"history": ["a"], "k": 2.0}', "k must be a whole number between 1 and 12"),
        (b'{"histories": []}', "histories must be a list of 1 to 3 histories"),
        (b'{"histories": "ab"}', "histories must be a list of 1 to 3 histories"),
        (b'{"histories": [["a"], ["a"], ["a"], ["a"]]}', "histories must be a list of 1 to 3 histories"),
        (b'{"histories": [["a"], []]}', "histories[1] must be a list of 1 to 4 items"),
        (b'{"history": ["a", "a", "a", "a", "a"]}', "history must be a list of 1 to 4 items"),
        (b'{"history": "a"}', "history must be a list of 1 to 4 items"),
        (b'{"history": ["a", 2]}', "history[1] must be an item as a string"),
        (b'{"history": [["a"]]}', "history[0] must be an item as a string"),
        (b'{"histories": [["a"], ["c"]]}', "histories[1][0]: 'c' is not in the catalogue"),
        (b'{"history": ["' + b"x" * 999 + b'"]}', f"history[0]: '{'x' * 40}' is not in the catalogue"),
    ],
)
def test_an_invalid_body_is_refused_in_one_sentence(body, sentence):
    with pytest.raises(HttpRefusal) as refused:
        read_request(body, IDS, LIMITS)
    assert (refused.value.status, refused.value.sentence) == (422, sentence)
