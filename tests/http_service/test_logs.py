import csv
import gzip
import json
import os
import re
import sqlite3
from pathlib import Path

import pytest

from recbole_gro import UserError
from recbole_gro.http_service.ledger import Entry, Ledger
from recbole_gro.http_service.logs import read_log
from recbole_gro.serving import AccessLog
from recbole_gro.serving.catalogue import Catalogue

IDS = {"a": 1, "b": 2, "c": 3}


@pytest.fixture
def ledger(tmp_path):
    made = Ledger(tmp_path / "service.db")
    made.bind(Catalogue.of(IDS))
    return made


def test_a_ledger_has_the_histories_of_each_key(tmp_path, ledger):
    for name in ("ann", "bob"):
        ledger.create_key(name, budget=2)
    ledger.admit([Entry(1, [[1], [2, 3]], 5), Entry(2, [[3]], 5), Entry(1, [[3]], 5)])
    found = read_log(tmp_path / "service.db", IDS)
    assert found.histories == [[1], [2, 3], [3]]
    assert found.keys == ["ann", "ann", "bob"]
    assert found.left_out == 1  # beyond the budget
    assert found.places == [(1, 1), (1, 2), (2, 1)]
    assert all(time.startswith("20") for time in found.times)


def test_queries_that_reached_the_model_count_whether_they_got_lists_or_not(tmp_path, ledger):
    for name in ("ann", "bob"):
        ledger.create_key(name, rate=2)
    refused, failed, beyond = ledger.admit([Entry(1, [[1], [2]], 5), Entry(2, [[3]], 5), Entry(1, [[2]], 5)])
    assert beyond.status == 429  # of the rate, before the model
    ledger.withdraw([refused], 429)
    ledger.withdraw([failed])
    found = read_log(tmp_path / "service.db", IDS)
    assert (found.histories, found.keys) == ([[1], [2], [3]], ["ann", "ann", "bob"])
    assert (found.unanswered, found.left_out) == (3, 1)


def test_queries_have_the_ids_of_the_ledger_after_rows_are_deleted(tmp_path, ledger):
    ledger.create_key("ann")
    ledger.admit([Entry(1, [[item]], 5) for item in (1, 2, 3)])
    with sqlite3.connect(tmp_path / "service.db") as database:
        database.execute("DELETE FROM query WHERE id = 1")
    assert read_log(tmp_path / "service.db", IDS).places == [(2, 1), (3, 1)]
    with sqlite3.connect(tmp_path / "service.db") as database:
        database.execute("DELETE FROM query")
    ledger.admit([Entry(1, [[1]], 5)])
    assert read_log(tmp_path / "service.db", IDS).places == [(4, 1)]  # an earlier report names 3 others


@pytest.mark.parametrize(
    ("ids", "what"),
    [
        ({**IDS, "d": 4}, "3 items, not 4"),
        ({"a": 1, "c": 2, "b": 3}, "other items, or in another order"),
    ],
)
def test_a_ledger_of_another_catalogue_is_refused(tmp_path, ledger, ids, what):
    ledger.create_key("ann")
    ledger.admit([Entry(1, [[1]], 5)])
    with pytest.raises(
        UserError, match=rf"log: .*service\.db is of another catalogue than the target's \({what}\); give"
    ):
        read_log(tmp_path / "service.db", ids)


def test_the_access_log_of_a_run_on_another_catalogue_is_refused(tmp_path):
    file = tmp_path / "access.jsonl"
    AccessLog(file, Catalogue.of(IDS)).add([[3, 1]])
    AccessLog(file).add([[2]])  # of a black box in Python, which has ids alone
    assert read_log(file, IDS).histories == [[3, 1], [2]]
    with pytest.raises(UserError, match=r"access\.jsonl, line 1: it is of another catalogue than the target's"):
        read_log(file, {"a": 1, "c": 2, "b": 3})


def test_a_database_that_is_no_ledger_is_refused_and_stays_as_it_is(tmp_path):
    with sqlite3.connect(tmp_path / "songs.db") as database:
        database.execute("CREATE TABLE song (title)")
    before = (tmp_path / "songs.db").read_bytes()
    with pytest.raises(UserError, match=r"songs\.db is a database, but no ledger of recbole-gro serve"):
        read_log(tmp_path / "songs.db", IDS)
    assert (tmp_path / "songs.db").read_bytes() == before


def test_an_access_log_of_a_run_has_no_keys(tmp_path):
    log = AccessLog(tmp_path / "access.jsonl")
    log.add([[3, 1], [2]])
    log.add([[1]], refused="budget")
    found = read_log(tmp_path / "access.jsonl", IDS)
    assert (found.histories, found.keys, found.left_out) == ([[3, 1], [2]], ["", ""], 1)
    assert found.places == [(1, 1), (1, 2)]


def lines_of(*queries):
    rows = ({"time": time, "refused": None, "sequences": sequences} for time, sequences in queries)
    return "\n".join(map(json.dumps, rows))


def test_lines_of_a_jsonl_file_are_sorted_by_time(tmp_path):
    file = tmp_path / "access.jsonl"
    one, other = ("2026-01-31T10:00:05", [[1], [2]]), ("2026-01-31T10:00:00+00:00", [[3]])
    file.write_text(lines_of(one, other, (1769853602.5, [[2, 1]])))
    found = read_log(file, IDS)
    assert found.histories == [[3], [2, 1], [1], [2]]
    assert found.places == [(2, 1), (3, 1), (1, 1), (1, 2)]
    assert found.times == ["2026-01-31T10:00:00+00:00", "1769853602.5", *["2026-01-31T10:00:05"] * 2]


def test_a_file_with_the_latest_first_is_read_from_its_end(tmp_path):
    times = ["2026-01-31T10:00:05"] * 2 + ["2026-01-31T10:00:04"] * 3
    csv_file, jsonl = tmp_path / "log.csv", tmp_path / "access.jsonl"
    csv_file.write_text(
        "time,history\n" + "".join(f"{time},{item}\n" for time, item in zip(times, "abcab", strict=True))
    )
    jsonl.write_text(lines_of(*((time, [[IDS[item]]]) for time, item in zip(times, "abcab", strict=True))))
    for file in (csv_file, jsonl):
        assert read_log(file, IDS).histories == [[2], [1], [3], [2], [1]]


def test_lines_of_one_time_keep_their_order(tmp_path):
    file = tmp_path / "access.jsonl"
    file.write_text(lines_of(*((5, [[item]]) for item in (2, 1, 3))))
    assert read_log(file, IDS).histories == [[2], [1], [3]]


def test_blank_lines_of_a_jsonl_file_are_skipped_and_counted(tmp_path):
    file = tmp_path / "access.jsonl"
    file.write_text(f"\n{json.dumps(LINE)}\n  \n{json.dumps(LINE)}\n\n")
    assert read_log(file, IDS).places == [(2, 1), (2, 2), (4, 1), (4, 2)]
    file.write_text(f"{json.dumps(LINE)}\n\n{{\n")
    with pytest.raises(UserError, match="line 3 is no JSON"):
        read_log(file, IDS)


def test_a_csv_file_has_tokens_and_perhaps_keys_and_times(tmp_path):
    file = tmp_path / "own.csv"
    file.write_text("key,time,history\nann,1970-01-01,a b\nbob,1970-01-01T00:01:00Z,c z\nbob,90,z\n")
    found = read_log(file, IDS)
    assert (found.histories, found.keys) == ([[1, 2], [3]], ["ann", "bob"])
    assert found.times == ["1970-01-01", "1970-01-01T00:01:00Z"]
    assert (found.left_out, found.unknown) == (1, 2)
    file.write_text("history\na b\n")
    assert read_log(file, IDS).keys == [""]


def test_rows_of_a_csv_file_are_sorted_by_time_and_keep_their_numbers(tmp_path):
    (tmp_path / "own.csv").write_text("history,time\nb,60\na,1970-01-01T00:00:30\nc,1970-01-01T01:00:30+01:00\na,70\n")
    found = read_log(tmp_path / "own.csv", IDS)
    assert (found.histories, found.places) == ([[1], [3], [2], [1]], [(2, 1), (3, 1), (1, 1), (4, 1)])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("key,items\nann,a\n", "has no column history; a csv file has key, time, history, this one key, items"),
        ("history\nz\n", "has no query with an item of the catalogue; line 2: 'z' is no item of the catalogue"),
        ("history\n", "log has no query with an item of the catalogue$"),
        ("key,history\nbob,a\nbob,a,b\n", "log: .*log, line 3 has more than the 2 fields of the first line"),
        ("key,history\nbob,a\nbob\n", "log: .*log, line 3 has fewer than the 2 fields of the first line"),
        ('{"refused": null, "sequences": [[1]], "time": "1970"}\n{"refused', "log: .*log, line 2 is no JSON: "),
        (
            "history,time\na,10\na,yesterday\n",
            r"log: .*log, line 3: time 'yesterday' is not a time since 1970, of ISO 8601 such as 2",
        ),
        ("history,time\na,\n", "line 2: time '' is not"),
        ("history,time\na,1\na,1700000000000\n", "log: .*log, line 3: time '1700000000000' is beyond the year 9999"),
        ("history,time\na,253402300800\n", "it takes seconds since 1970, and this seems to be milliseconds"),
        ("", "log: .*log is empty; it takes a ledger, a jsonl file, or a csv file with the column history$"),
        (b"\xef\xbb\xbf \n\n", "log is empty; it takes"),
        (" " * 40 + "\n" * 9, "log is empty; it takes"),
        ("history,time\na,nan\n", "line 2: time 'nan' is not"),
        ("{no json", "line 1 is no JSON: Expecting property name"),
        ("history,time\na,5\na,-5\n", "log: .*log, line 3: time '-5' is not a time since 1970"),
        ("history,time\na,1969-12-31\n", "log: .*log, line 2: time '1969-12-31' is not"),
        (b"history\n\xff", "csv file: it is not UTF-8 text; unpack or convert it$"),
    ],
)
def test_invalid_logs_end_in_one_line(tmp_path, text, message):
    (tmp_path / "log").write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(UserError, match=message) as error:
        read_log(tmp_path / "log", IDS)
    assert "\n" not in str(error.value)


LINE = {"time": "1970-01-02", "lists": 1, "refused": None, "sequences": [[1, 2], [3]]}


@pytest.mark.parametrize("name", ["log", "access.jsonl"])
@pytest.mark.parametrize(
    ("line", "message"),
    [
        (LINE | {"sequences": [[1, -3], [5, 6]]}, "item id -3 is not in the target's catalogue of 3 items"),
        (LINE | {"sequences": [[1, 2], [4]]}, "item id 4 is not in the target's catalogue of 3 items"),
        (LINE | {"sequences": [[0]]}, "item id 0 is not"),
        (LINE | {"sequences": [["x", -2]]}, "'x' is no item id, a whole number from 1 to 3"),
        (LINE | {"sequences": [[None]]}, "None is no item id"),
        (LINE | {"sequences": [[True]]}, "True is no item id"),
        (LINE | {"sequences": [[1.0]]}, "1.0 is no item id"),
        (LINE | {"sequences": [1, 2]}, "sequences is no list of lists of item ids"),
        (LINE | {"sequences": "1 2"}, "sequences is no list of lists of item ids"),
        (LINE | {"time": -5}, "time -5 is not a time since 1970"),
        (LINE | {"time": 1700000000000}, "time 1700000000000 is beyond the year 9999; it takes seconds"),
        (LINE | {"time": "noon"}, "time 'noon' is not a time since 1970"),
        (LINE | {"refused": "budget", "lists": None}, "it has no number of lists"),
        ({"sequences": [[1]]}, "it has no time"),
        ({"sequences": [[1]], "time": "1970-01-02"}, "it has no refused"),
        ({"sequences": [[1]], "Time": "1970-01-02"}, "it has no time; did you mean 'Time'?"),
        (LINE | {"time": None}, "time None is not a time since 1970"),
        (LINE | {"time": True}, "time True is not a time since 1970"),
        (LINE | {"time": ["1970"]}, "time a list is not a time since 1970"),
        (LINE | {"sequences": None}, "sequences is no list of lists of item ids"),
        (LINE | {"sequences": [None]}, "sequences is no list of lists of item ids"),
        (LINE | {"sequences": [[10**400]]}, "item id 1000000000000000000000000000000000000000000000000000000000"),
        (LINE | {"key": {"name": "ann"}}, "key an object is no text of one line"),
        (LINE | {"key": "ann\nbob"}, "key 'ann\\nbob' is no text of one line"),
        (LINE | {"key": "\ud800"}, "key '\\ud800' is no text of one line"),
        (LINE | {"key": True}, "key True is no text"),
        (LINE | {"refused": False}, "refused False is no text with a reason, nor null"),
        (LINE | {"refused": "budget", "lists": -3}, "it has no number of lists"),
        ([], "it is no object with time, refused, sequences"),
        ([LINE], "it is no object with time, refused, sequences"),
    ],
)
def test_an_invalid_line_is_reported_with_its_number(tmp_path, name, line, message):
    file = tmp_path / name
    file.write_text(f"{json.dumps(LINE)}\n{json.dumps(line)}\n")
    with pytest.raises(UserError) as error:
        read_log(file, IDS)
    assert str(error.value).startswith(f"log: {file}, line 2: {message}")
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("name", ["log", "access.jsonl"])
def test_a_line_of_deeply_nested_json_is_reported_with_its_number(tmp_path, name):
    (tmp_path / name).write_text(f"{json.dumps(LINE)}\n" + '{"time": ' * 99999)
    with pytest.raises(UserError, match=r"^log: .*, line 2 is JSON that is nested too deeply$"):
        read_log(tmp_path / name, IDS)


def test_a_history_of_brackets_is_none_of_known_items(tmp_path):
    (tmp_path / "own.csv").write_text("history\nx y\n" + "[" * 99999 + "\n")
    assert read_log(tmp_path / "own.csv", {"x": 1, "y": 2}).histories == [[1, 2]]


@pytest.mark.parametrize(("name", "text"), [("log", "[]"), ("access.jsonl", "[]"), ("ACCESS.JSONL", "5")])
def test_a_first_line_that_is_no_object_is_not_read_as_csv(tmp_path, name, text):
    (tmp_path / name).write_text(text)
    with pytest.raises(UserError, match=f"{name}, line 1: it is no object with time, refused, sequences"):
        read_log(tmp_path / name, IDS)


def test_an_item_of_a_ledger_that_the_target_lacks_is_reported_with_its_query(tmp_path, ledger):
    ledger.create_key("ann")
    ledger.admit([Entry(1, [[1]], 5), Entry(1, [[2, 9]], 5)])
    with pytest.raises(UserError, match=r"service\.db, query 2: item id 9 is not in the target's catalogue of 3"):
        read_log(tmp_path / "service.db", IDS)


def test_an_empty_history_is_left_out(tmp_path):
    (tmp_path / "log").write_text(json.dumps(LINE | {"sequences": [[], [1]]}))
    found = read_log(tmp_path / "log", IDS)
    assert (found.histories, found.places, found.left_out) == ([[1]], [(1, 2)], 1)


def test_a_missing_log_is_named(tmp_path):
    with pytest.raises(UserError, match=r"log: .*none\.db cannot be read .*No such file"):
        read_log(tmp_path / "none.db", IDS)


def test_a_byte_order_mark_is_no_part_of_a_log(tmp_path):
    """Spreadsheets write one before the first column's name."""
    (tmp_path / "own.csv").write_bytes("\ufeffkey,time,history\r\nann,60,b\r\nbob,30,a\r\n".encode())
    found = read_log(tmp_path / "own.csv", IDS)
    assert (found.keys, found.histories) == (["bob", "ann"], [[1], [2]])
    (tmp_path / "own.csv").write_bytes("\ufefftime,key,history\r\n60,ann,b\r\n30,bob,a\r\n".encode())
    assert read_log(tmp_path / "own.csv", IDS).histories == [[1], [2]]
    line = {"time": "2026-01-31", "lists": 1, "refused": None, "sequences": [[3]]}
    (tmp_path / "access").write_text("\ufeff" + json.dumps(line) + "\n", encoding="utf-8")
    assert read_log(tmp_path / "access", IDS).histories == [[3]]


def test_items_with_blanks_stand_in_a_json_list(tmp_path):
    ids = {"a b": 1, "c\u3000d": 2, "007": 3, "7": 4, "[x]": 5}
    with (tmp_path / "own.csv").open("w", newline="", encoding="utf-8") as stream:
        rows = csv.writer(stream)
        rows.writerows([["history"], [json.dumps(["a b", "c\u3000d", "007"])], ["[7]"], ["[x] 007"], ["[]"]])
    found = read_log(tmp_path / "own.csv", ids)
    assert found.histories == [[1, 2, 3], [4], [5, 3]]
    assert (found.left_out, found.unknown) == (1, 0)


def test_a_csv_file_of_another_catalogue_is_refused(tmp_path):
    file = tmp_path / "own.csv"
    file.write_text("history\na x y\nz\n")
    with pytest.raises(
        UserError, match=r"another catalogue than the target's, or in another notation: 3 of its 4 items are not in"
    ):
        read_log(file, IDS)
    file.write_text("history\na x\nb z\n")  # half of them
    assert read_log(file, IDS).unknown == 2
    file.write_text("history\nx\n")
    with pytest.raises(UserError, match="no query with an item of the catalogue"):
        read_log(file, IDS)


def test_a_csv_file_with_a_column_twice_is_refused(tmp_path):
    (tmp_path / "own.csv").write_text("history,history\na,b\n")
    with pytest.raises(UserError, match="two columns history; rename one"):
        read_log(tmp_path / "own.csv", IDS)


def test_null_is_no_key_and_no_catalogue(tmp_path):
    own = [{"key": None}, {}, {"key": ""}, {"key": "None"}, {"key": 7}, {"catalogue": None}]
    lines = [LINE | one | {"sequences": [[1]]} for one in own]
    (tmp_path / "access.jsonl").write_text("".join(f"{json.dumps(line)}\n" for line in lines))
    assert read_log(tmp_path / "access.jsonl", IDS).keys == ["", "", "", "None", "7", ""]


def test_null_in_a_history_of_a_csv_file_is_no_item_of_that_name(tmp_path):
    (tmp_path / "own.csv").write_text('history\n"[""a"", null]"\n')
    found = read_log(tmp_path / "own.csv", IDS | {"null": 4, "None": 5})
    assert (found.histories, found.unknown) == ([[1]], 1)


@pytest.mark.parametrize("field", ["time", "sequences"])
def test_a_number_of_thousands_of_digits_is_reported_with_its_line(tmp_path, field):
    text = json.dumps(LINE | {field: "it"}).replace('"it"', "9" * 5000)
    (tmp_path / "access.jsonl").write_text(f"{json.dumps(LINE)}\n{text}\n")
    with pytest.raises(UserError, match=r"jsonl, line 2 has a number of thousands of digits; item ids are") as error:
        read_log(tmp_path / "access.jsonl", IDS)
    assert len(str(error.value)) < 400


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("own.csv.gz", "\ufeffkey,history\r\nann,a b\r\nbob,c\r\n"),
        ("log", "key,history\nann,a b\nbob,c\n"),
        ("access.jsonl.gz", "".join(json.dumps(LINE | {"key": key, "sequences": rows}) + "\n"
                                    for key, rows in (("ann", [[1, 2]]), ("bob", [[3]])))),
    ],
)  # fmt: skip
def test_a_log_may_be_compressed(tmp_path, name, text):
    (tmp_path / name).write_bytes(gzip.compress(text.encode()))
    found = read_log(tmp_path / name, IDS)
    assert (found.histories, found.keys) == ([[1, 2], [3]], ["ann", "bob"])


@pytest.mark.parametrize("kept", [3, 15, -12, -1])
def test_a_compressed_log_that_is_cut_short_is_reported(tmp_path, kept):
    whole = gzip.compress(b"history\n" + b"".join(b"a b c" + b" a" * (n % 7) + b"\n" for n in range(999)))
    (tmp_path / "own.csv.gz").write_bytes(whole[:kept])
    with pytest.raises(UserError, match=r"own\.csv\.gz cannot be read as .*: its gzip data are damaged or incomplete$"):
        read_log(tmp_path / "own.csv.gz", IDS)


def test_a_damaged_compressed_log_is_reported(tmp_path):
    whole = bytearray(gzip.compress(b"history\n" + b"a b c\n" * 999))
    whole[20:24] = b"\xff" * 4
    (tmp_path / "own.csv.gz").write_bytes(whole)
    with pytest.raises(UserError, match=r"its gzip data are damaged or incomplete$"):
        read_log(tmp_path / "own.csv.gz", IDS)


def test_a_compressed_ledger_is_to_be_unpacked(tmp_path, ledger):
    (tmp_path / "service.db.gz").write_bytes(gzip.compress((tmp_path / "service.db").read_bytes()))
    with pytest.raises(UserError, match=r"^log: .*service\.db\.gz is a compressed ledger; unpack it$"):
        read_log(tmp_path / "service.db.gz", IDS)


def test_a_pipe_is_refused(tmp_path):
    os.mkfifo(tmp_path / "log")  # opening it would wait for a writer
    with pytest.raises(UserError, match=r"^log: .*log is a pipe, which cannot be read twice; write it to a file"):
        read_log(tmp_path / "log", IDS)


def test_keys_of_lines_that_are_not_read_are_named_once(tmp_path, capsys):
    file = tmp_path / "access.jsonl"
    file.write_text("".join(f"{json.dumps(LINE | {'api_key': 'ann', 'ip': n})}\n" for n in range(3)))
    assert read_log(file, IDS).keys == [""] * 6
    assert capsys.readouterr().out == (
        f"log: {file}: keys of its lines that are not read: 'api_key' (did you mean key?), 'ip'; known are time, "
        "refused, sequences, lists, key, catalogue\n"
    )


def test_logs_of_the_package_have_no_key_that_is_not_read(tmp_path, ledger, capsys):
    ledger.create_key("ann")
    ledger.admit([Entry(1, [[1]], 5)])
    read_log(tmp_path / "service.db", IDS)
    AccessLog(tmp_path / "access.jsonl", Catalogue.of(IDS)).add([[3, 1]])
    read_log(tmp_path / "access.jsonl", IDS)
    assert not capsys.readouterr().out


def test_refusals_are_named_where_a_log_has_no_other_queries(tmp_path):
    log = AccessLog(tmp_path / "access.jsonl")
    log.add([[3, 1], [2]], refused="budget")
    with pytest.raises(UserError, match=r"no query with an item of the catalogue; 2 histories were refused$"):
        read_log(tmp_path / "access.jsonl", IDS)
    log.add([[1]])
    found = read_log(tmp_path / "access.jsonl", IDS)
    assert (found.left_out, found.refused, found.incomplete, found.example) == (2, 2, 0, "")


@pytest.mark.parametrize(
    ("histories", "message"),
    [
        (["B-1", "B-1,B-2", "B-1,B-2,B-3"], "'B-1,B-2' is no item of the catalogue, which has 'B-1'; items stand"),
        (["['B-2']", "['B-2', 'B-1']"], "\"['B-2']\" is no item of the catalogue, which has 'B-2'; items stand"),
        (["B-3|B-2"], "'B-3|B-2' is no item of the catalogue, which has 'B-3'; items stand"),
        (["B-1", "a b c d"], "'a' in the history 'a b c d' is no item of the catalogue, which has 'a b'; items"),
        (["[[1, 2]]"], "null, or another value in the history '[[1, 2]]' is no item of the catalogue, which has 'B-1'"),
        (["x" * 999], f"'{'x' * 60}...' is no item of the catalogue, which has 'B-1'; items stand"),
    ],
)
def test_histories_in_another_notation_are_shown_with_what_is_expected(tmp_path, histories, message):
    with (tmp_path / "own.csv").open("w", newline="") as stream:
        csv.writer(stream).writerows([["history"], *([history] for history in histories)])
    with pytest.raises(UserError) as error:
        read_log(tmp_path / "own.csv", {"B-1": 1, "B-2": 2, "B-3": 3, "a b": 4})
    text = str(error.value)
    assert message in text
    assert text.index("blanks in a JSON list; if they do, give a checkpoint") > text.index(message)


def test_histories_with_an_unknown_item_are_counted(tmp_path):
    (tmp_path / "own.csv").write_text("time,history\n3,a x y\n2,a b\n1,b z c\n4,q\n")
    found = read_log(tmp_path / "own.csv", IDS)
    assert (found.unknown, found.incomplete, found.left_out, found.refused) == (4, 3, 1, 0)
    assert found.example.startswith("line 4: 'z' in the history 'b z c' is no item")  # the first by time


@pytest.mark.parametrize(("grouped", "key"), [('"user"', ""), ('["key", "user"]', "k,")])
def test_the_recipe_of_the_documentation_makes_a_log_of_an_event_log(tmp_path, monkeypatch, grouped, key):
    monkeypatch.chdir(tmp_path)
    rows = ["07,a b,30", "bob,NA,20", "07,b,40", '07,"say ""c"", d",10', "bob,b,20", "null,b,5"]
    head = f"{'key,' if key else ''}user,item,time"
    (tmp_path / "views.csv").write_text("\n".join([head, *(key + row for row in rows)]))
    page = (Path(__file__).parents[2] / "docs" / "how-to" / "detect.md").read_text(encoding="utf-8")
    recipe = re.search(r"```python\n(.*?)```", page, flags=re.DOTALL)[1].replace('groupby("user"', f"groupby({grouped}")
    exec(recipe.replace('.rename_axis("key")', "") if key else recipe, {})
    found = read_log(tmp_path / "requests.csv", {"a b": 1, "b": 2, 'say "c", d': 3, "NA": 4})
    assert (found.histories, found.unknown) == ([[2], [3, 1, 2], [4, 2]], 0)
    assert found.times == ["5", "10", "20"]
    assert found.keys == (["k"] * 3 if key else ["null", "07", "bob"])


@pytest.mark.parametrize(
    "damage", ["time = 'noon'", "time = 1e20", "time = 9e999", "sequences = '[1'", "sequences = x'ff'",
               "sequences = '[[' || replace(hex(zeroblob(2500)), '0', '9') || ']]'"]
)  # fmt: skip
def test_a_damaged_query_of_a_ledger_is_reported_with_its_number(tmp_path, ledger, damage):
    ledger.create_key("ann")
    ledger.admit([Entry(1, [[1]], 5), Entry(1, [[2]], 5)])
    with sqlite3.connect(tmp_path / "service.db") as database:
        database.execute(f"UPDATE query SET {damage} WHERE id = 2")
    with pytest.raises(UserError, match=r"^log: .*service\.db, query 2: its time or histories are damaged$"):
        read_log(tmp_path / "service.db", IDS)
