"""Types of settings: what each kind accepts, refuses and normalises, its words in messages, invalid declarations."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from recbole_gro.config.recbole_settings import TYPES, VALUE_TYPES
from recbole_gro.config.settings import Key, key
from recbole_gro.config.value_type import KINDS, ValueType
from recbole_gro.utils.errors import UserError

NAN, INF = float("nan"), float("inf")
# of each declaration: allowed values, and others
VALUES = {
    "int": ([0, -3, 2**60], [10**400, True, 2.0, np.int64(2), NAN, INF, "2", None, [1]]),
    "int >= 2": ([2, 100], [1, 2.0, True, "2", None]),
    "int 0..10": ([0, 10], [-1, 11]),
    "int >= 1 or None": ([None, 1], [0, "None", False]),
    "float": ([0, -1.5, 1e300, np.float64(0.5)], [True, NAN, INF, -INF, np.float32(0.5), np.float64(NAN), "1", None]),
    "float > 0": ([1, 1e-9], [10**400, 0, -1, INF, NAN, "1"]),
    "float >= 0": ([0, 0.0], [-1e-9]),
    "float 0..1": ([0, 0.5, 1], [-0.01, 1.01]),
    "float 0<..<1": ([0.5], [0, 1, True]),
    "float -1..1": ([-1, 0], [-1.1]),
    "bool": ([True, False], [0, 1, "True", np.bool_(True), None]),
    "bool or None": ([True, None], [0]),
    "ints >= 1": ([3, [1, 5], (1, 5)], [[], 0, [5, 5], [1, "2"], [1.5], [True], [None], [[1]], None, np.int64(3)]),
    "names": (["a", "", ["a", "b"], ("a",), np.str_("a")], [None, [], ["a", "a"], 3, [3], [None]]),
    "names of fruit": (["fig", ["fig", "pear"]], [[], ["fig", "fig"], [3], 3]),
    "names or []": ([[], "a", ["a", "b"]], [None, (), ["a", "a"], 3]),
    "name": (["a", Path("x")], ["", 3, None, ["a"]]),
    "name of fruit": (["fig"], [""]),
    "fields": ([[], ["a"], ["a", "a"]], ["a", ("a",), [3], None]),
    "model": (["NARM", dict], [3, None, ["NARM"]]),
    "models": (["NARM", dict, ["NARM", dict]], [[], 3, ["NARM", "NARM"], None]),
    "function": (["module:function", ":"], ["module", "a:b:c", len, None]),
    "file": (["x.yaml", Path("x.yaml")], ["", 3, None, "[x.yaml]", "None"]),
    "folder": (["runs", "[a", Path("runs")], ["", 3, None, "[a]", "[a, b]", "None", ["a"]]),
    "folder or None": (["runs", None], ["[a]"]),
    "str": (["x", " ", "[a]", "None", Path("x")], ["", 3, True, None]),
    "str or None": (["x", Path("x"), None], [3, ""]),
    "mapping": ([{}, {"a": 1}], [5, [], "a", None]),
    "mapping or None": ([{}, None], [[]]),
    "a|b": (["a", "b"], ["c", "A", "a|b", None, ["a"], {"a": 1}]),
    "a|b or None": (["a", None], ["None"]),
}


@pytest.mark.parametrize("value", [["a"], [1, 2], (1,), "[a, b]"])
@pytest.mark.parametrize("text", ["int >= 1", "float 0..1", "bool", "a|b", "model", "folder or None", "name"])
def test_several_values_for_one_are_refused_with_the_command_that_takes_them(text, value):
    with pytest.raises(
        UserError, match=r"^size: .* is a list; it takes .*, and `recbole-gro experiment` compares several"
    ):
        ValueType.parse(text).check("size", value)


@pytest.mark.parametrize("text", VALUES)
def test_a_type_accepts_its_values_and_no_others(text):
    accepted, refused = VALUES[text]
    value_type = ValueType.parse(text)
    assert [value for value in accepted if not value_type.accepts(value)] == []
    assert [value for value in refused if value_type.accepts(value)] == []


def test_every_kind_has_values_here():
    assert {ValueType.parse(text).kind for text in VALUES} == {*KINDS, "choice"}


@pytest.mark.parametrize(
    ("text", "value", "normal"),
    [
        ("int or None", "None", None),
        ("int", "None", "None"),
        ("CE|BPR", "bpr", "BPR"),
        ("CE|BPR", "other", "other"),
        ("CE|BPR", {"a": "ce"}, {"a": "CE"}),
        ("a|b or None", "None", None),
        ("fields", "price, weight", ["price", "weight"]),
        ("fields or None", ("price",), ["price"]),
        ("fields", 3, 3),
        ("ints", (1, 5), [1, 5]),
        ("names of metric", ("a",), ["a"]),
        ("names", "a, b", "a, b"),
        ("models", (dict,), [dict]),
        ("mapping", (1,), (1,)),
        ("str", "1e3", "1e3"),
        ("bool", "True", "True"),
    ],
)
def test_values_become_those_that_parts_read(text, value, normal):
    assert ValueType.parse(text).normalise(value) == normal


ANY_VALUE = st.recursive(
    st.none() | st.booleans() | st.integers(-100, 2**40) | st.floats() | st.sampled_from(["None", "a", "B", "x:y", ""]),
    lambda inner: st.lists(inner, max_size=3) | st.lists(inner, max_size=3).map(tuple),
    max_leaves=4,
)


@given(st.sampled_from(sorted(VALUES)), ANY_VALUE)
def test_a_normal_value_stays_and_an_accepted_one_is_normal_in_content(text, value):
    value_type = ValueType.parse(text)
    normal = value_type.normalise(value)
    assert repr(value_type.normalise(normal)) == repr(normal)
    if value_type.accepts(value):
        assert value_type.accepts(normal)


@given(st.floats(-1e6, 1e6), st.floats(-1e6, 1e6), st.floats(-2e6, 2e6))
def test_a_range_has_its_ends_unless_it_is_written_without_them(one, other, value):
    low, high = sorted((one, other))
    assert ValueType.parse(f"float {low}..{high}").accepts(value) == (low <= value <= high)
    assert ValueType.parse(f"float {low}<..<{high}").accepts(value) == (low < value < high)
    assert ValueType.parse(f"float >= {low}").accepts(value) == (value >= low)
    assert ValueType.parse(f"float > {low}").accepts(value) == (value > low)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("int >= 1 or None", "a whole number >= 1 or None"),
        ("int 0..4294967295", "a whole number 0 to 4294967295"),
        ("float 0<..<1", "a number above 0 and below 1"),
        ("ints >= 1", "one or several different whole numbers >= 1"),
        ("names of metric", "a name or a list of different names of metric"),
        ("CE|BPR or None", "one of CE, BPR or None"),
        ("bool", "True or False"),
    ],
)
def test_a_type_is_told_in_words(text, words):
    assert ValueType.parse(text).in_words == words
    with pytest.raises(UserError) as raised:
        ValueType.parse(text).check("size", [])
    assert str(raised.value) == f"size: [] is not allowed; it takes {words}"


@pytest.mark.parametrize(
    "text",
    [
        "", "integer", "a", "a||b", "|a", "int >=1", "int <= 3", "int 0..", "int 3..1", "int one..3", "int >= x",
        "int of pieces", "float nan..1", "str >= 1", "bool 0..1", "a|b >= 1", "str or nothing", "int or ",
        "str of x or y", "str  of x",
    ],
)  # fmt: skip
def test_an_invalid_declaration_raises_where_it_is_made(text):
    with pytest.raises(ValueError, match="is no type of a setting: write int, ints, "):
        ValueType.parse(text)
    with pytest.raises(ValueError, match="is no type of a setting"):
        key(None, text, "meaning")
    with pytest.raises(ValueError, match="is no type of a setting"):
        Key("size", None, text, "meaning")


def test_texts_are_never_read_as_something_else():
    texts = {text for text in VALUES if ValueType.parse(text).is_text}
    assert {text.split()[0] for text in texts} == {"str", "file", "folder", "function", "model", "name", "a|b"}
    named = {text.split()[0] for text in VALUES if ValueType.parse(text).takes_names}
    assert named == {"name", "names", "model", "models"}


def test_a_type_is_parsed_once_and_does_not_change():
    assert ValueType.parse("int >= 1") is ValueType.parse("int >= 1")
    assert {name: value_type.text for name, value_type in VALUE_TYPES.items()} == TYPES
    with pytest.raises(dataclasses.FrozenInstanceError):
        ValueType.parse("int").low = 3
