"""A Python function as what answers histories."""

import re
import sys

import numpy as np
import pandas as pd
import pytest
import torch

from recbole_gro.audit.function_source import FunctionSource
from recbole_gro.audit.journal import Journal, Unanswered
from recbole_gro.config.plugins import imported_member


@pytest.fixture
def journal(tmp_path):
    return Journal(tmp_path / "answers.jsonl", 100)


def test_a_function_may_return_tensors_and_numbers(journal):
    source = FunctionSource(lambda histories: torch.tensor([[int(h[-1]) + 1, 7] for h in histories]))
    assert source.lists([["3"], ["4"]], journal) == [["4", "7"], ["5", "7"]]
    assert journal.spent == 2


@pytest.mark.parametrize("kind", [np.array, torch.tensor, pd.Series, tuple])
def test_each_list_and_each_item_may_be_of_a_library(journal, kind):
    lists = FunctionSource(lambda histories: [kind([3, 7]) for _ in histories]).lists([["3"], ["4"]], journal)
    items = FunctionSource(lambda histories: [list(kind([3, 7])) for _ in histories]).lists([["3"], ["4"]], journal)
    assert lists == items == [["3", "7"]] * 2
    with pytest.raises(Unanswered, match="no list of item ids"):
        FunctionSource(lambda histories: [kind([0.5, 7.5]) for _ in histories]).lists([["3"]], journal)


def test_a_function_that_raises_gives_no_list(journal):
    with pytest.raises(Unanswered, match="ZeroDivisionError division by zero"):
        FunctionSource(lambda histories: 1 / 0).lists([["3"]], journal)
    with pytest.raises(Unanswered, match=r"SystemExit no \\ud800x$"):  # as files and terminals take it
        FunctionSource(lambda histories: sys.exit("no \ud800x")).lists([["3"]], journal)
    with pytest.raises(Unanswered, match="SystemExit 0"):
        FunctionSource(lambda histories: sys.exit(0)).lists([["3"]], journal)
    assert journal.spent == 0


def failing_at_first(times, error):
    errors = [error] * times

    def function(histories):
        if errors:
            raise errors.pop()
        return [["1"]] * len(histories)

    return function


@pytest.mark.parametrize("error", [ConnectionError("reset"), RuntimeError("busy")])
def test_a_function_is_called_again_after_an_exception_that_may_pass(journal, error):
    assert FunctionSource(failing_at_first(2, error)).lists([["3"], ["4"]], journal) == [["1"], ["1"]]
    assert journal.spent == 2
    with pytest.raises(Unanswered, match=str(error)):
        FunctionSource(failing_at_first(3, error)).lists([["3"]], journal)
    assert journal.spent == 2


def test_a_function_may_change_its_argument(journal):
    calls = []

    def function(histories):
        calls.append([h.copy() for h in histories])
        lists = [[*histories.pop(0), "end"] for _ in calls[-1]]
        if len(calls) < 3:
            raise ConnectionError("reset")
        return lists

    assert FunctionSource(function).lists([["3"], ["4"]], journal) == [["3", "end"], ["4", "end"]]
    assert calls == [[["3"], ["4"]]] * 3
    assert journal.spent == 2


@pytest.mark.parametrize("error", [TypeError("no"), ValueError("no"), KeyError("no"), SystemExit("no")])
def test_a_function_is_not_called_again_after_an_exception_of_its_code(journal, error):
    with pytest.raises(Unanswered, match="no"):
        FunctionSource(failing_at_first(1, error)).lists([["3"]], journal)


def test_a_source_that_is_stopped_does_not_call_its_function_again(journal):
    source = FunctionSource(failing_at_first(1, ConnectionError("reset")))
    source.stop()
    with pytest.raises(Unanswered, match="reset"):
        source.lists([["3"]], journal)


def test_an_answer_of_a_function_that_cannot_be_read_may_have_held_lists(journal):
    with pytest.raises(Unanswered, match="without one list per history"):
        FunctionSource(lambda histories: []).lists([["3"]], journal)
    assert journal.spent == 1


OWN = """ITEMS = {"a": 1}
def look(history):
    return ITEMS[history[-1]]
def one(history):
    return [look([history])]
def scored(histories):
    return [[("a", 0.5)] for _ in histories]
def ends(histories):
    raise SystemExit("no items")
def down(histories):
    raise ConnectionError("refused")
def number(histories):
    return [[int("x")]]
def two(history, k):
    return []
def nothing(histories):
    pass
"""


@pytest.mark.parametrize(
    ("name", "reason", "mended"),
    [
        ("one", r"^TypeError: .*unhashable type: 'list'.* \(\S*own_shop.py, line 3, in look\)$", False),
        ("scored", r"^an answer that is no list of item ids: \[\('a', 0.5\)\]$", False),
        ("ends", r"^it ends the process \(SystemExit: no items\), .*own_shop.py, line 9, in ends\)$", False),
        ("down", r"^ConnectionError: refused \(\S*own_shop.py, line 11, in down\)$", True),
        ("number", r"^ValueError: invalid literal .* \(\S*own_shop.py, line 13, in number\)$", False),
        ("two", r"^TypeError two\(\) missing 1 required positional argument: 'k'$", False),
        ("nothing", "^an answer without one list per history: None$", False),
    ],
)
def test_a_fault_in_a_users_function_has_its_place(tmp_path, monkeypatch, journal, name, reason, mended):
    (tmp_path / "own_shop.py").write_text(OWN)
    monkeypatch.chdir(tmp_path)
    function = imported_member(f"own_shop:{name}", "black_box")
    with pytest.raises(Unanswered) as raised:
        FunctionSource(function).lists([["a"]], journal)
    assert re.search(reason, raised.value.in_full)
    assert raised.value.mended_by_resuming is mended
