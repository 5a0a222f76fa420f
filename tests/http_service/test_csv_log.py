import csv

import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from recbole_gro import UserError
from recbole_gro.http_service.csv_log import csv_rows

TEXTS = st.text(st.characters(codec="utf-8", exclude_characters="\r\n"), max_size=8) | st.text('" ,[]a', max_size=8)


def rows_of(folder, text):
    (folder / "own.csv").write_bytes(text.encode())
    return csv_rows(folder / "own.csv")


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(st.lists(st.tuples(TEXTS, TEXTS), min_size=1, max_size=4), st.sampled_from(["\n", "\r\n", "\r"]))
def test_rows_are_those_that_pandas_wrote_less_blanks_around_fields(tmp_path, rows, end):
    pd.DataFrame(rows, columns=["key", "history"]).to_csv(tmp_path / "own.csv", index=False, lineterminator=end)
    found = csv_rows(tmp_path / "own.csv")
    assert [(row["key"], row["history"]) for _, row in found] == [(key.strip(), text.strip()) for key, text in rows]
    assert [line for line, _ in found] == [*range(2, len(rows) + 2)]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('key,history\nann,a\nbob,"a b\neve,a\neve,b\n', "line 3: a quote opens and does not close"),
        ('history\na\n"a b\nb\nc a"\n', "line 3: a quote opens and does not close"),
        ('key,time,history\nann,1,a\n"bob,2,a\nc",3,b\n', "line 3: a quote opens and does not close"),
        ('key,time,history\nann,"1\n",a\n', "line 2: a quote opens and does not close"),
        ('agent,history\n"x,a\ny",a\nz,a\n', "line 2: a quote opens and does not close"),
        ('history\n\n\n"a\n', "line 4: a quote opens and does not close"),
        ('history\na\n"a', "line 3: a quote opens and does not close"),
        ('history\r\na\r\n"a\r\n', "line 3: a quote opens and does not close"),
        ('history\ra\r"a\rb"\r', "line 3: a quote opens and does not close"),
        ('key,history\nann,"a" b\n', "line 2: ',' expected after '\"'"),
        ('key,history\nann,"a"b",c\n', "line 2: ',' expected after '\"'"),
        ('key,history\nann,a,"b\n', "line 2: a quote opens and does not close"),
        ('"key,history\nann,a\n', "line 1: a quote opens and does not close"),
    ],
)
def test_a_quote_in_a_wrong_place_is_reported_with_its_line(tmp_path, text, message):
    with pytest.raises(UserError, match=message) as error:
        rows_of(tmp_path, text)
    assert str(error.value).endswith("a field with a comma or a quote is quoted as a whole, its own quotes doubled")
    assert "\n" not in str(error.value)


def test_a_quote_inside_a_field_is_one_of_its_characters(tmp_path):
    text = 'key,history\nann,a b"c d\nbob,["a"]\n'
    assert [row["history"] for _, row in rows_of(tmp_path, text)] == ['a b"c d', '["a"]']


def test_blanks_around_fields_and_names_are_no_part_of_them(tmp_path):
    text = 'key , time, history\nann, 1 ,a b \nann , 2, "[""a"", ""b""]"\n'
    found = [row for _, row in rows_of(tmp_path, text)]
    assert found == [
        {"key": "ann", "time": "1", "history": "a b"},
        {"key": "ann", "time": "2", "history": '["a", "b"]'},
    ]


def test_quoted_fields_are_read(tmp_path):
    text = '"key","time","agent","history"\r\n"a, b",1,"x ""y"", z","[""i, 1"", ""i2""]"\r\n'
    text += ',"2",,\r\n\r\n"c""d",3,,"i1 i2"'
    assert rows_of(tmp_path, text) == [
        (2, {"key": "a, b", "time": "1", "history": '["i, 1", "i2"]'}),
        (3, {"key": "", "time": "2", "history": ""}),
        (5, {"key": 'c"d', "time": "3", "history": "i1 i2"}),
    ]


@pytest.mark.parametrize("quote", ["", '"'])
def test_a_history_may_be_longer_than_fields_of_the_csv_module(tmp_path, quote):
    limit = csv.field_size_limit()
    [(_, row)] = rows_of(tmp_path, f"history\n{quote}{'item ' * limit}{quote}\n")
    assert len(row["history"].split()) == limit
    assert csv.field_size_limit() == limit


def test_columns_that_are_not_read_may_be_there_twice(tmp_path):
    assert rows_of(tmp_path, "history,,\na,x,y\n") == [(2, {"history": "a"})]


@pytest.mark.parametrize(
    ("head", "said"),
    [
        ("Timestamp,api_key", "'Timestamp' (did you mean time?), 'api_key' (did you mean key?); known are"),
        ("Time,KEY", "'Time' (did you mean time?), 'KEY' (did you mean key?); known are"),
        ("agent,request_time", "'request_time' (did you mean time?), 'agent'; known are key, time, history"),
        ("server_time,key_id", "'server_time' (did you mean time?), 'key_id' (did you mean key?); known are"),
        ("ip,", "'ip'; known are key, time, history"),
        ("key,time", None),
    ],
)
def test_columns_that_are_not_read_are_named(tmp_path, capsys, head, said):
    file = tmp_path / "own.csv"
    file.write_text(f"{head},history\n5,5,a\n")
    assert [row["history"] for _, row in csv_rows(file)] == ["a"]
    printed = capsys.readouterr().out
    assert printed.startswith(f"log: {file}: columns that are not read: {said}") if said else not printed
    assert printed.count("\n") == bool(said)


def test_a_known_column_is_suggested_where_it_is_absent_alone(tmp_path, capsys):
    (tmp_path / "own.csv").write_text("time,Time,history\n5,x,a\n")
    csv_rows(tmp_path / "own.csv")
    assert "columns that are not read: 'Time'; known are" in capsys.readouterr().out


def test_many_columns_that_are_not_read_are_counted(tmp_path, capsys):
    (tmp_path / "own.csv").write_text(",".join(["history", *(f"c{n}" for n in range(30)), "Key"]) + "\na" + ",1" * 31)
    csv_rows(tmp_path / "own.csv")
    assert "read: 'Key' (did you mean key?), 'c0', 'c1'" in (printed := capsys.readouterr().out)
    assert "'c8' and 21 more; known are" in printed


@pytest.mark.parametrize(
    ("head", "hint"),
    [
        ("key,History", "this one key, History; did you mean 'History'? call it history"),
        ("key;history", "this one key;history; commas separate the columns"),
        ("user,item", "this one user, item"),
    ],
)
def test_a_csv_file_without_a_history_gets_a_hint(tmp_path, head, hint):
    (tmp_path / "own.csv").write_text(f"{head}\nx,y\n")
    with pytest.raises(UserError) as error:
        csv_rows(tmp_path / "own.csv")
    assert str(error.value).endswith(hint)
