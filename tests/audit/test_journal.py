import json
from concurrent.futures import ThreadPoolExecutor

import pytest

from recbole_gro.audit.journal import BudgetReached, Journal
from recbole_gro.utils.errors import UserError

A, B = (("x", "y"), 0), (("x",), 1)


def test_an_earlier_process_is_read(tmp_path):
    file = tmp_path / "answers.jsonl"
    journal = Journal(file, 10)
    journal.reserve(2)
    journal.answered([A, B], [["p", "q"], []])
    journal.release(journal.reserve(3), 3)
    journal.reserve(1)
    journal.failed([(("z",), 0)], "status 400")
    again = Journal(file, 10)
    assert again.answers == journal.answers == {A: ["p", "q"], B: [], (("z",), 0): None}
    assert again.reasons == {"status 400": 1}
    assert again.spent == journal.spent == 3
    assert again.reserve(1) == 3


def test_a_request_in_flight_at_a_kill_counts_and_its_cut_off_line_does_not(tmp_path):
    file = tmp_path / "answers.jsonl"
    Journal(file, 4).reserve(3)
    with file.open("a") as stream:
        stream.write('{"queries": [[["x"], 0]], "li')
    journal = Journal(file, 4)
    assert journal.answers == {}
    with pytest.raises(BudgetReached):
        journal.reserve(2)
    journal.reserve(1)
    assert [json.loads(line)["sent"] for line in file.read_text().splitlines()] == [0, 1]


def test_threads_never_exceed_the_limit(tmp_path):
    journal = Journal(tmp_path / "answers.jsonl", 50)

    def reserve(_):
        try:
            return journal.reserve(3)
        except BudgetReached:
            return None

    with ThreadPoolExecutor(16) as pool:
        tickets = [ticket for ticket in pool.map(reserve, range(100)) if ticket is not None]
    assert sorted(tickets) == list(range(16))
    assert journal.spent == 48


@pytest.mark.parametrize("line", [b"no json", b"[]", b'{"queries": [[["x"], 0]], "lists": []}', b"{}", b"\xff"])
def test_a_file_that_is_no_journal_is_refused(tmp_path, line):
    (tmp_path / "answers.jsonl").write_bytes(b'{"sent": 0, "lists": 1}\n' + line + b"\n")
    with pytest.raises(UserError, match="line 2: not a line of a journal of answers"):
        Journal(tmp_path / "answers.jsonl", 5)
