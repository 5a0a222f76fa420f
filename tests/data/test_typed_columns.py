"""Regular blocks are read as typed columns with the values, line numbers and errors of the exact reader."""

from unittest.mock import patch

import numpy as np
import pandas as pd
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from recbole_gro.data import atomic_reader
from recbole_gro.data.atomic_reader import AtomicTable
from recbole_gro.data.time_order import time_ranks
from recbole_gro.data.typed_columns import typed_columns
from recbole_gro.utils.errors import UserError

KINDS = {"user": "token", "item": "token", "time": "float", "price": "float", "tags": "token_seq"}
PLAIN = st.integers(0, 30).map(str)
ODD = st.sampled_from(
    ['"', 'a"b', "'", "#", "null", "NA", "None", "nan", "", " ", " a", "b ", "Zoë", "01", "1.0", "-0"]
)
ODD_TEXT = ODD | st.text(st.characters(exclude_characters="\t\r\n", exclude_categories=["Cs"]), max_size=4)
NUMBER = st.integers(-(10**12), 10**12).map(str) | st.decimals(-(10**6), 10**6, places=3).map(str)
LONG = st.integers(-(2**65), 2**65).map(str) | st.integers(0, 9).map("1700000000000000.{}".format)
ODD_NUMBER = st.sampled_from(
    ["", " ", "nan", "inf", "-inf", "1e3", "1E400", "+5", " 7", "7 ", "1_000", "0x1f", "True", "٣"]
)
BAD_LINE = st.sampled_from(
    ["", "  ", "a\tb", "a\tb\t1\t2\tc\td", "a\tb\tx\t2\tc", "\tb\t1\t2\tc", "a\tb\t2017-12-31\t2\tc"]
)
UNUSUAL = {"\ufeffa\tb\t1\t2\tc", "a\0b\tc\t1\t2\td"}


def lines(text, number):
    return st.tuples(text, text, number, number, text).map("\t".join)


REGULAR = lines(PLAIN, NUMBER)
ANY = REGULAR | lines(ODD_TEXT, NUMBER | LONG | ODD_NUMBER) | BAD_LINE | st.sampled_from(sorted(UNUSUAL))


def outcome(file, complete):
    """Rows, line numbers and exact ranks of a file, or the message that says what is wrong with it."""
    try:
        rows = AtomicTable(file, "\t").read(KINDS, complete, "time" if "time" in complete else None)
    except UserError as error:
        return str(error)
    times = rows["time"].to_numpy()
    columns = [
        [None if pd.isna(value) else value for value in rows[name]] for name in ("user", "item", "price", "tags")
    ]
    types = [str(rows[name].dtype) for name in ("user", "price", "tags")]
    ranks = time_ranks(times).tolist() if "time" in complete else None
    return columns, types, rows.index.tolist(), times.astype(np.float64).astype(str).tolist(), ranks


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    return tmp_path_factory.mktemp("typed") / "t.inter"


@settings(max_examples=120, deadline=None)
@given(
    rows=st.lists(REGULAR, min_size=1, max_size=12) | st.lists(REGULAR | ANY, max_size=12) | st.lists(ANY, max_size=6),
    block=st.sampled_from([40, 2**24]),
    end=st.sampled_from(["\n", "\r\n"]),
    mark=st.sampled_from([b"", b"\xef\xbb\xbf"]),
    complete=st.sampled_from([("user", "item", "time"), ("user", "item"), ()]),
)
@example(rows=["a\tb\t5\t2\tc", "a\tb\t5.0\t2\tc", "a\tb\t9007199254740993\t2\tc", "a\tb\t9007199254740992.0\t2\tc"],
         block=1, end="\n", mark=b"", complete=("time",))  # fmt: skip
def test_the_fast_and_the_exact_reader_agree(file, rows, block, end, mark, complete):
    header = "\t".join(f"{name}:{kind}" for name, kind in KINDS.items())
    file.write_bytes(mark + (end.join([header, *rows]) + end).encode())
    with patch.object(atomic_reader, "BLOCK", block):
        fast = outcome(file, complete)
        with patch.object(atomic_reader, "typed_columns", lambda *_: None):
            assert fast == outcome(file, complete)


@given(st.lists(REGULAR, min_size=1, max_size=6))
def test_regular_lines_take_the_fast_path(rows):
    read = typed_columns("\n".join(rows), "\t", KINDS, KINDS, "time")
    assert [list(values) for values in zip(*(row.split("\t")[:2] for row in rows), strict=True)] == [
        list(read["user"]), list(read["item"])
    ]  # fmt: skip
    assert read["time"].tolist() == [float(row.split("\t")[2]) for row in rows]


@pytest.mark.parametrize(
    "line", [*sorted(UNUSUAL), "a\tb\t1", "a\tb\t1\t2\tc\td", "a\tb\t1\t\tc", "a\tb\t1700000000000000.5\t2\tc"]
)
def test_unusual_lines_are_left_to_the_exact_reader(line):
    assert typed_columns(f"{line}\nu\ti\t1\t2\ttag", "\t", KINDS, KINDS, "time") is None


@pytest.mark.parametrize("separator", [" ", "|", ",", '"', "."])
def test_any_single_character_separates(separator):
    kinds = {"user": "token", "item": "token", "time": "float"}
    read = typed_columns("\n".join(separator.join(row) for row in ("ab5", "cb6")), separator, kinds, kinds, None)
    assert [list(values) for values in read.values()] == [["a", "c"], ["b", "b"], [5.0, 6.0]]


def test_columns_that_are_not_named_are_not_read():
    kinds = {"user": "token", "note": "float", "item": "token"}
    read = typed_columns("a\tno number\tb", "\t", kinds, ["user", "item"], None)
    assert {name: list(values) for name, values in read.items()} == {"user": ["a"], "item": ["b"]}
