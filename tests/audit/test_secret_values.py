import json
from html import escape
from urllib.parse import quote, quote_plus

import pytest

from recbole_gro.audit.secret_values import hidden

VALUE = 's3cr3t/of "the"<owner>&\'+%\\~'


@pytest.mark.parametrize(
    "written",
    [
        str,
        str.upper,
        quote,
        quote_plus,
        lambda value: quote(value, safe=""),
        lambda value: quote(value, safe="").lower(),
        lambda value: quote(quote(value)),
        lambda value: json.dumps(value)[1:-1],
        lambda value: json.dumps(json.dumps(value))[3:-3],
        escape,
        lambda value: "".join(f"&#{ord(char)};" for char in value),
        lambda value: "".join(f"\\u{ord(char):04X}" for char in value),
    ],
)
def test_a_value_is_hidden_however_it_is_written(written):
    assert hidden(f"to x{written(VALUE)}y/", {VALUE: "${TOKEN}"}) == "to x${TOKEN}y/"


def test_the_longest_of_values_is_hidden_and_names_are_not():
    assert hidden("token-long token", {"": "${EMPTY}", "token": "${A}", "token-long": "${TOKEN}"}) == "${TOKEN} ${A}"


def test_short_values_leave_other_words_as_they_are():
    assert hidden("/v1/de/index/1?10", {"de": "${SITE}", "1": "${N}"}) == "/v1/${SITE}/index/${N}?10"
    assert hidden("/v1", {"": "${EMPTY}"}) == "/v1"
