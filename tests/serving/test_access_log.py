"""The access log: one line per query that a service received."""

import datetime
import json
import os
import resource
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
from pipeline import files_below

from recbole_gro import BlackBox, BudgetSpent, Service, UserError

QUERIES = [[[1, 2, 3], [4], [5, 6]], [[7]], [[8, 9], [10, 11]]]


def padded(rows):
    return torch.nn.utils.rnn.pad_sequence([torch.tensor(row) for row in rows], batch_first=True)


def lines_of(file):
    return [json.loads(line) for line in file.read_text().splitlines()]


@pytest.fixture
def file(tmp_path):
    return tmp_path / "access.jsonl"


@pytest.fixture
def open_box(make_model, file):
    """Make a black box that logs to `file`: `box = open_box(budget=3)`."""
    return lambda **settings: BlackBox(make_model("NARM"), k=5, access_log=file, **settings)


@pytest.mark.parametrize("form", [list, padded])
def test_queries_are_logged_in_order_without_padding(open_box, file, form):
    box = open_box()
    for rows in QUERIES:
        box.query(form(rows))
    lines = lines_of(file)
    assert [line["sequences"] for line in lines] == QUERIES
    assert [line["lists"] for line in lines] == [3, 1, 2]
    assert [line["refused"] for line in lines] == [None] * 3


def test_times_are_utc_and_in_order(open_box, file):
    box, times = open_box(), [datetime.datetime.now(datetime.UTC)]
    for rows in QUERIES:
        box.query(rows)
    times += [datetime.datetime.fromisoformat(line["time"]) for line in lines_of(file)]
    times.append(datetime.datetime.now(datetime.UTC))
    assert times == sorted(times)
    assert {time.utcoffset() for time in times} == {datetime.timedelta(0)}


def test_each_query_is_logged_before_the_next(open_box, file):
    box = open_box()
    for n_queries, rows in enumerate(QUERIES, start=1):
        box.query(rows)
        assert len(lines_of(file)) == n_queries


def test_lists_are_those_of_a_black_box_without_a_log(open_box, make_model):
    sequences = padded(QUERIES[0])
    assert torch.equal(open_box().query(sequences), BlackBox(make_model("NARM"), k=5).query(sequences))


def test_a_query_over_the_budget_is_logged_as_refused(open_box, file):
    box = open_box(budget=3)
    box.query([[1], [2]])
    with pytest.raises(BudgetSpent):
        box.query([[3, 4], [5]])
    box.query([[6]])
    refused = "query budget: 2 more lists requested, 1 of 3 are left"
    lines = lines_of(file)
    assert [(line["sequences"], line["lists"], line["refused"]) for line in lines] == [
        ([[1], [2]], 2, None),
        ([[3, 4], [5]], 2, refused),
        ([[6]], 1, None),
    ]


@pytest.mark.parametrize(
    ("sequences", "logged", "reason"),
    [
        ([[2, 3], [31]], [[2, 3], [31]], "item ids lie between 1 and 30"),
        (torch.tensor([[-4, 1, 0]]), [[-4, 1]], "item ids lie between 1 and 30"),
        ([[1, 2], []], "[[1, 2], []]", "an empty sequence has no next item"),
        (torch.tensor([[0, 1]]), "[[0, 1]]", "sequences are padded on the right"),
        ([["one", 2]], "[['one', 2]]", "sequences must be integer ids"),
        ([[float("nan")]], "[[nan]]", "sequences must be integer ids"),
        ([], "[]", "sequences must be integer ids"),
    ],
)
def test_an_invalid_query_is_logged_as_refused(open_box, file, sequences, logged, reason):
    box = open_box()
    with pytest.raises(ValueError, match=reason):
        box.query(sequences)
    box.query([[1]])
    refused, answered = lines_of(file)
    assert (refused["sequences"], refused["lists"]) == (logged, len(sequences))
    assert refused["refused"].startswith(reason)
    assert (answered["sequences"], answered["refused"]) == ([[1]], None)


def test_a_long_invalid_query_is_cut(open_box, file):
    with pytest.raises(ValueError, match="integer ids"):
        open_box().query([["x" * 100_000]])
    assert len(file.read_text()) < 2000


def test_a_failing_service_logs_no_refusal(file, make_model):
    model = make_model("NARM")
    model.item_embedding.weight.data.fill_(float("nan"))
    with pytest.raises(UserError, match="scores of NARM are NaN"):
        BlackBox(Service(model, 5), access_log=file).query([[1]])
    assert lines_of(file) == []


def test_a_function_that_fails_logs_no_refusal(file):
    box = BlackBox(lambda histories: int("none"), k=2, access_log=file, n_items=9)
    with pytest.raises(ValueError, match="invalid literal"):
        box.query([[1]])
    assert lines_of(file) == []


def test_threads_write_whole_lines(open_box, file):
    box, histories = open_box(budget=40), [[1 + thread] * 8 for thread in range(12)]

    def query(thread):
        for width in (1, 2, 3):
            try:
                box.query([histories[thread]] * width)
            except BudgetSpent:
                continue

    with ThreadPoolExecutor(12) as threads:
        list(threads.map(query, range(12)))
    lines = lines_of(file)
    assert sorted(line["sequences"] for line in lines) == sorted(
        [history] * width for history in histories for width in (1, 2, 3)
    )
    assert sum(line["lists"] for line in lines if line["refused"] is None) == box.lists_returned
    assert 38 <= box.lists_returned <= 40  # a refused query has 3 sequences at most
    assert [line["time"] for line in lines] == sorted(line["time"] for line in lines)


def test_without_a_file_nothing_is_written(make_model, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    before = files_below(tmp_path)
    BlackBox(make_model("NARM"), k=5).query([[1]])
    assert files_below(tmp_path) == before


def test_a_second_black_box_appends_to_the_file(open_box, file):
    open_box().query([[1]])
    open_box().query([[1]])
    assert [line["sequences"] for line in lines_of(file)] == [[[1]]] * 2


def test_the_incomplete_line_of_an_interrupted_process_is_removed(open_box, file):
    open_box().query([[1]])
    with file.open("a") as stream:
        stream.write('{"time": "2024-')
    open_box().query([[2]])
    assert [line["sequences"] for line in lines_of(file)] == [[[1]], [[2]]]


def test_a_full_disk_is_reported_in_one_line_and_no_list_returned(open_box, file, tmp_path):
    box = open_box()
    file.unlink()
    file.symlink_to("/dev/full")
    with pytest.raises(UserError) as error:
        box.query([[1]])
    assert str(error.value) == f"{file} cannot be written: No space left on device"
    assert box.lists_returned == 0


def test_a_disk_that_fills_up_within_a_line_keeps_the_lines_before(open_box, file):
    box = open_box()
    box.query([[1]])
    box.query([[2]])
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (os.path.getsize(file) + 10, hard))
    try:
        with pytest.raises(UserError, match=r"access\.jsonl cannot be written: File too large"):
            box.query([[3]])
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    box.query([[4]])
    assert [line["sequences"] for line in lines_of(file)] == [[[1]], [[2]], [[4]]]


def test_a_file_that_cannot_be_written_is_reported_before_any_query(make_model, tmp_path):
    file = tmp_path / "absent" / "access.jsonl"
    with pytest.raises(UserError, match="cannot be written: No such file or directory"):
        BlackBox(make_model("NARM"), k=5, access_log=file)
