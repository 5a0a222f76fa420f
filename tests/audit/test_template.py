import pytest

from recbole_gro.audit.template import fill, read_template
from recbole_gro.utils.errors import UserError

ONE, TWO = [["a", "b"]], [["a", "b"], ["c"]]


@pytest.mark.parametrize(
    ("template", "histories", "batch", "body"),
    [
        ({"seen": "{history}", "n": "{k}"}, ONE, 1, {"seen": ["a", "b"], "n": 5}),
        ({"seen": "{histories}"}, ONE, 1, {"seen": [["a", "b"]]}),
        ({"seen": "{histories}"}, TWO, 2, {"seen": [["a", "b"], ["c"]]}),
        ({"q": "items:{history} top {k}"}, ONE, 1, {"q": "items:a,b top 5"}),
        ({"events": [{"id": "{item}", "kind": "view"}]}, ONE, 1,
         {"events": [{"id": "a", "kind": "view"}, {"id": "b", "kind": "view"}]}),
        ([{"user": 0, "seen": "{history}"}], TWO, 2, [{"user": 0, "seen": ["a", "b"]}, {"user": 0, "seen": ["c"]}]),
        ([{"seen": [{"id": "{item}"}]}], TWO, 2, [{"seen": [{"id": "a"}, {"id": "b"}]}, {"seen": [{"id": "c"}]}]),
        ([{"seen": "{history}"}], ONE, 2, [{"seen": ["a", "b"]}]),
        ({"all": [["{item}"]]}, ONE, 1, {"all": [["a", "b"]]}),
        ({"all": [["{item}"]]}, TWO, 2, {"all": [["a", "b"], ["c"]]}),
        ({"all": [["{item}"]]}, ONE, 2, {"all": [["a", "b"]]}),
        ([{"seen": [{"id": "{item}"}]}], ONE, 1, [{"seen": [{"id": "a"}, {"id": "b"}]}]),
        ([[[{"id": "{item}"}]]], ONE, 1, [[[{"id": "a"}, {"id": "b"}]]]),
        ([{"user": [0], "seen": [["{item}", 1]]}], ONE, 1, [{"user": [0], "seen": [["a", 1], ["b", 1]]}]),
        ('"{history}"', ONE, 1, ["a", "b"]),
        ({"seen": "{history}", "flag": True, "none": None, "f": ["{k}", "k"]}, ONE, 1,
         {"seen": ["a", "b"], "flag": True, "none": None, "f": [5, "k"]}),
    ],
)  # fmt: skip
def test_placeholders_are_replaced(template, histories, batch, body):
    assert fill(read_template(template, batch, False), histories, 5, batch) == body


def test_numbers_stay_numbers():
    assert fill({"seen": "{history}"}, [[3, 1]], 5) == {"seen": [3, 1]}


def test_a_text_is_read_as_json():
    assert read_template('{"seen": "{history}"}', 1, False) == {"seen": "{history}"}


@pytest.mark.parametrize(
    ("template", "batch", "query"),
    [
        ({"k": "{k}"}, 1, False),
        ({"seen": {"history": None}}, 1, False),  # yaml without quotes
        ({"seen": "{history}", "again": "{history}"}, 1, False),
        ({"seen": "{history}"}, 2, False),
        ({"seen": ["{history}", "{history}"]}, 2, False),
        ("{", 1, False),
        pytest.param("[" * 99999, 1, False, id="deep"),
        ({"seen": {"items": "{history}"}}, 1, True),
        (["{item}"], 1, True),
        ({"seen": "{histories}"}, 1, True),
    ],
)
def test_requests_that_would_lack_a_history_are_refused(template, batch, query):
    with pytest.raises(UserError, match=r"^request: "):
        read_template(template, batch, query)
