"""The first line of an atomic file, and what separates values."""

import pytest

from recbole_gro.data.atomic_header import check_columns, columns_of, splitter
from recbole_gro.utils.errors import UserError

COLUMNS = {"user_id": "token", "item_id": "token", "timestamp": "float"}
NAMED = [f"{name}:{kind}" for name, kind in COLUMNS.items()]


@pytest.mark.parametrize("separator", ["\t", " ", "|", ",", ";", "::", "   ", "||", ".*", "[", "a+"])
def test_a_separator_is_literal_text(separator):
    header = separator.join(NAMED)
    assert columns_of("f", header, separator) == COLUMNS
    assert splitter(separator, header)(separator.join(["1", "", "3"])) == ["1", "", "3"]


@pytest.mark.parametrize(
    ("separator", "between"),
    [(r"\s+", " "), (r"\s+", " \t "), (r" +", "  "), (r"\t", "\t"), (r"\|", "|"), (r",\s?", ", ")],
)
def test_a_pattern_that_is_not_in_the_header_splits_it_and_the_lines(separator, between):
    header = between.join(NAMED)
    assert columns_of("f", header, separator) == COLUMNS
    assert splitter(separator, header)(between.join("123")) == ["1", "2", "3"]


def test_only_a_pattern_for_runs_of_white_space_strips_a_line():
    assert splitter(r"\s+", "a:token b:token")(" 1 2 ") == ["1", "2"]
    assert splitter(r"\t", "a:token\tb:token")("1\t") == ["1", ""]


@pytest.mark.parametrize(
    ("header", "separator", "reason"),
    [
        (None, "\t", "the file is empty"),
        ("", "\t", "line 1 is blank; it names the columns"),
        (" \t", "\t", "line 1 is blank; it names the columns"),
        ("user_id:token", "", "field_separator: it is empty"),
        ("user_id:token item_id:token", "\t", r"column 'user_id:token item_id:token' is not of the form name:type"),
        ("user_id:token::item_id:token", "(", r"not of the form name:type.* '\(' between them"),
        ("user_id:tokn", "\t", "unknown type 'tokn'; did you mean 'token'"),
        ("a:token\ta:float", "\t", "column a occurs twice"),
    ],
)
def test_headers_that_cannot_work_are_one_line(header, separator, reason):
    with pytest.raises(UserError, match=reason):
        columns_of("f", header, separator)


def test_a_missing_column_is_named_and_one_of_another_type():
    with pytest.raises(
        UserError, match=r"f: there is no column 'when' \(TIME_FIELD\); it has user_id, item_id, timestamp"
    ):
        check_columns("f", COLUMNS, {"TIME_FIELD": ("when", "float")})
    with pytest.raises(UserError, match=r"column user_id \(USER_ID_FIELD\) is token; write user_id:float"):
        check_columns("f", COLUMNS, {"USER_ID_FIELD": ("user_id", "float")})
