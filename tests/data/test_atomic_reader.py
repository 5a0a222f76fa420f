"""What is read is what stands in the file; what cannot be read is reported with its line."""

import codecs
import re

import numpy as np
import pytest

from recbole_gro.data import atomic_reader
from recbole_gro.data.atomic_reader import AtomicTable
from recbole_gro.utils.errors import UserError

NAMES = ("user_id", "item_id", "timestamp")
HEADER = ("user_id:token", "item_id:token", "timestamp:float")
ODD = [
    '"Heroes"',
    "Heroes",
    '"open',
    'inch"',
    "null",
    "NA",
    "None",
    "nan",
    "N/A",
    "NULL",
    "<NA>",
    "#1",
    "'",
    "a b",
    "Zoë",
]


@pytest.fixture(params=[2**24, 7], ids=["one block", "many blocks"])
def block(request, monkeypatch):
    """Read files whole, and a few characters at a time."""
    monkeypatch.setattr(atomic_reader, "BLOCK", request.param)


@pytest.fixture
def table(tmp_path):
    """Write an atomic file of the header's columns and open it."""

    def make(rows, separator="\t", encoding="utf-8", end="\n", header=HEADER, mark=b""):
        text = end.join(separator.join(map(str, row)) for row in (header, *rows)) + end
        (tmp_path / "t.inter").write_bytes(mark + text.encode(encoding))
        return AtomicTable(tmp_path / "t.inter", separator, encoding)

    return make


def values(frame):
    return list(frame.itertuples(index=False, name=None))


@pytest.mark.usefixtures("block")
@pytest.mark.parametrize("separator", ["\t", "|", "::", "   ", "^^"])
@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_every_name_is_itself(table, separator, end):
    rows = [(name, other, float(n)) for n, (name, other) in enumerate(zip(ODD, reversed(ODD), strict=True))]
    assert values(table(rows, separator, end=end).read(NAMES)) == rows


def test_a_line_may_end_with_a_part_of_the_separator(table):
    rows = [("a", 1.0, "x:"), ("b", 2.0, "y:"), ("c", 3.0, ":z")]
    assert values(table(rows, "::", header=("u:token", "t:float", "i:token")).read("uti")) == rows


@pytest.mark.parametrize(("encoding", "mark"), [("utf-8", codecs.BOM_UTF8), ("utf-16", b""), ("latin-1", b"")])
def test_encodings_and_byte_order_marks_are_no_part_of_names(table, encoding, mark):
    read = table([("Zoë", "Ärger", 1)], encoding=encoding, mark=mark)
    assert list(read.columns) == list(NAMES)
    assert values(read.read(NAMES)) == [("Zoë", "Ärger", 1.0)]


@pytest.mark.usefixtures("block")
def test_blank_lines_are_left_out_and_lines_keep_their_numbers(tmp_path):
    (tmp_path / "t").write_text("a:token\tb:float\n\nx\t1\n  \n\ny\t2\n\n")
    rows = AtomicTable(tmp_path / "t", "\t").read("ab")
    assert values(rows) == [("x", 1.0), ("y", 2.0)]
    assert rows.index.tolist() == [3, 6]


def test_a_file_without_a_last_line_end_is_whole(tmp_path):
    (tmp_path / "t").write_text("a:token\tb:float\nx\t1\ny\t2")
    assert values(AtomicTable(tmp_path / "t", "\t").read("ab")) == [("x", 1.0), ("y", 2.0)]


def test_one_column_is_read_without_its_blank_lines(tmp_path):
    (tmp_path / "t").write_text("a:token\nx\n\ny\n")
    assert values(AtomicTable(tmp_path / "t", "\t").read("a")) == [("x",), ("y",)]


@pytest.mark.parametrize("separator", [r"\s+", " +"])
def test_a_pattern_separates_lines_too(tmp_path, separator):
    (tmp_path / "t").write_text("a:token  b:float \n x    1\n\ny 2   \n")
    assert values(AtomicTable(tmp_path / "t", separator).read("ab")) == [("x", 1.0), ("y", 2.0)]


@pytest.mark.usefixtures("block")
@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("u\ti", r"2 values for 3 columns \(user_id, item_id, timestamp\): 'u\\ti'"),
        ("u\ti\t1\t2", "4 values for 3 columns"),
        ("u\ti\t2017-12-31", "timestamp '2017-12-31' is no number; write dates as seconds since 1970"),
        ("u\ti\t12/31/2017 10:00", "timestamp .* is no number; write dates as seconds"),
        ("u\ti\tnoon", "timestamp 'noon' is no number$"),
        ("user_id:token\titem_id:token\ttimestamp:float", "timestamp .* is no number; the line repeats the header"),
        ("u\titem_id:token\t5", "'item_id:token'; the line repeats the header"),
        ("u\ti\tNA", "timestamp 'NA' is no number$"),
        ("u\ti\t1_000", "timestamp '1_000' is no number$"),
        ("\ti\t1", "no user_id; every line needs one"),
        ("u\t\t1", "no item_id; every line needs one"),
        ("u\ti\t", "no timestamp; every line needs one"),
        ("u\ti\tnan", "timestamp 'nan' is no finite number; every line needs one"),
        ("u\ti\t-inf", "timestamp '-inf' is no finite number; every line needs one"),
        ("u\ti\t1e999", "timestamp '1e999' is no finite number; every line needs one"),
    ],
)
@pytest.mark.parametrize("blank", [0, 2])
def test_a_line_that_cannot_be_read_is_reported(tmp_path, line, reason, blank):
    good = "".join(f"u{n}\ti{n}\t{n}\n" for n in range(9))
    (tmp_path / "t").write_text("\t".join(HEADER) + "\n" + good + "\n" * blank + line + "\n" + good)
    with pytest.raises(UserError, match=f"t, line {11 + blank}: {reason}"):
        AtomicTable(tmp_path / "t", "\t").read(NAMES, complete=NAMES)


@pytest.mark.parametrize("date", ["2025-02-04T00:00:00+02:00", "2025-02-04T00:00:00Z", "4.2.2025", "2025-02-04"])
def test_a_date_is_one_whatever_follows_it_in_any_column(tmp_path, date):
    (tmp_path / "t").write_text(f"u:token\tbought:float\nx\t{date}\n")
    message = re.escape(f"bought '{date}' is no number; write dates as seconds since 1970, such as 1514678400")
    with pytest.raises(UserError, match=f"line 2: {message}$"):
        AtomicTable(tmp_path / "t", "\t").read(["bought"])


@pytest.mark.parametrize("text", ["noon", "Feb 4, 2025", "20250204 10:00", "10:30", "1_000", "NA"])
def test_what_is_no_number_in_the_column_of_times_has_a_line_on_what_is_expected(tmp_path, text):
    (tmp_path / "t").write_text(f"u:token\tbought:float\tprice:float\nx\t{text}\t1\n")
    table = AtomicTable(tmp_path / "t", "\t")
    message = re.escape(f"bought '{text}' is no number")
    with pytest.raises(UserError, match=f"{message}; times are numbers, as seconds since 1970, such as 1514678400$"):
        table.read(["bought", "price"], exact="bought")
    with pytest.raises(UserError, match=f"{message}$"):
        table.read(["bought", "price"], exact="price")


@pytest.mark.usefixtures("block")
def test_undecodable_bytes_are_reported(tmp_path):
    (tmp_path / "t").write_bytes(b"a:token\tb:float\nx\t1\nZo\xeb\t2\ny\t3\n")
    with pytest.raises(UserError, match=r"t, line 3: 'Zo\ufffd\\t2' is not utf-8; set encoding to the file's own"):
        AtomicTable(tmp_path / "t", "\t").read("ab")


@pytest.mark.parametrize("encoding", ["utf-16", "utf-32"])
def test_a_file_without_the_byte_order_mark_of_its_encoding_is_one_line(tmp_path, encoding):
    (tmp_path / "t").write_text("a:token\tb:float\nx\t1\n", encoding="utf-8")
    with pytest.raises(UserError, match=rf"t: it is not {encoding} \(.*\); set encoding to the file's own$"):
        AtomicTable(tmp_path / "t", "\t", encoding)


def test_an_unknown_encoding_a_missing_file_and_a_file_without_rows_are_one_line(tmp_path):
    (tmp_path / "t").write_text("a:token\n")
    with pytest.raises(UserError, match="encoding: Python has no encoding 'utf-88'"):
        AtomicTable(tmp_path / "t", "\t", "utf-88")
    with pytest.raises(UserError, match="gone: No such file"):
        AtomicTable(tmp_path / "gone", "\t")
    with pytest.raises(UserError, match="there is no line below the first"):
        AtomicTable(tmp_path / "t", "\t").read("a")


def test_empty_values_are_missing_where_they_may_be(table):
    rows = table([("u", "", 1), ("v", "i", "")]).read(NAMES)
    assert rows.isna().to_numpy().tolist() == [[False, True, False], [False, False, True]]


def test_floats_are_the_nearest_float64_and_exact_columns_their_texts(table):
    rows = table([("u", "i", "0.1"), ("u", "i", "1700000000000000001"), ("u", "i", "-1e-3")])
    assert rows.read(NAMES)["timestamp"].tolist() == [0.1, 1.7e18, -0.001]
    assert rows.read(NAMES, exact="timestamp")["timestamp"].tolist() == ["0.1", "1700000000000000001", "-1e-3"]


def test_sequences_are_cut_at_their_separator(tmp_path):
    (tmp_path / "t").write_text("a:token_seq\tb:float_seq\nx null  NA\t1 2.5\n\t\n")
    table = AtomicTable(tmp_path / "t", "\t")
    rows = table.read("ab")
    assert [row.tolist() for row in table.sequences(rows["a"], " ")] == [["x", "null", "NA"], []]
    floats = table.sequences(rows["b"], " ")
    assert [row.tolist() for row in floats] == [[1.0, 2.5], []]
    assert all(row.dtype == np.float64 for row in floats)


def test_a_float_sequence_with_a_word_is_reported(tmp_path):
    (tmp_path / "t").write_text("b:float_seq\n1,2\n3,no\n")
    table = AtomicTable(tmp_path / "t", "\t")
    with pytest.raises(UserError, match="t, line 3: b: 'no' is no number"):
        table.sequences(table.read("b")["b"], ",")
