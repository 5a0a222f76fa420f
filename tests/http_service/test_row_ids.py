"""Ids of queries and keys are given once, whatever rows are deleted, and no other row is changed by them."""

import contextlib
import sqlite3
from concurrent.futures import ThreadPoolExecutor

import pytest

from recbole_gro.http_service.ledger import Entry, Ledger


@pytest.fixture
def file(tmp_path):
    return tmp_path / "service.db"


@pytest.fixture
def ledger(file):
    made = Ledger(file)
    made.create_key("ann", budget=5)
    made.create_key("bob", budget=10)
    return made


def delete(file, rows):
    with contextlib.closing(sqlite3.connect(file, 30)) as other, other:
        other.execute(f"DELETE FROM {rows}")


def queries(ledger):
    return [(line["id"], line["key"], line["lists"], line["refused"]) for line in ledger.lines()]


def spent(ledger):
    return {key["name"]: key["spent"] for key in ledger.all_keys()}


def test_lists_are_given_back_to_their_key_where_the_row_was_deleted(ledger, file):
    other = Ledger(file)  # of another worker
    of_ann = ledger.admit([Entry(1, [[1]] * 5, 10)])
    delete(file, "query")
    other.admit([Entry(2, [[2]] * 10, 10)])
    ledger.withdraw(of_ann)
    assert queries(ledger) == [(2, "bob", 10, None)]
    assert spent(ledger) == {"ann": 0, "bob": 10}
    assert ledger.totals() == {"500": (1, 5), "answered": (1, 10)}
    [refused] = other.admit([Entry(2, [[2]], 10)])
    assert refused.status == 402


def test_workers_that_share_a_file_give_each_id_once_while_rows_are_deleted(ledger, file):
    def admitted(_):
        with contextlib.closing(Ledger(file)) as own:
            found = []
            for _ in range(10):
                found += own.admit([Entry(1, [], 10), Entry(2, [], 10)])
                delete(file, "query")
            return [query.line for query in found]

    with ThreadPoolExecutor(4) as pool:
        lines = sorted(line for lines in pool.map(admitted, range(4)) for line in lines)
    assert lines == list(range(1, 81))


def test_ids_are_given_once_after_the_file_is_opened_again_and_compacted(ledger, file):
    ledger.admit([Entry(1, [[1]], 10)] * 3)
    ledger.close()
    with contextlib.closing(sqlite3.connect(file, isolation_level=None)) as other:
        other.execute("DELETE FROM query")
        other.execute("VACUUM")
    [query] = Ledger(file).admit([Entry(1, [[1]], 10)])
    assert query.line == 4


def test_ids_are_counted_on_where_their_count_was_deleted(ledger, file):
    ledger.admit([Entry(1, [[1]], 10)])
    delete(file, "last_id")
    [query] = ledger.admit([Entry(1, [[1]], 10)])
    assert query.line == 2


def test_a_new_key_is_not_taken_for_one_that_was_deleted(ledger, file):
    of_bob = ledger.admit([Entry(2, [[1]] * 2, 10)])
    delete(file, "key WHERE name = 'bob'")
    assert Ledger(file).key_of(ledger.create_key("cay")) == 3
    ledger.admit([Entry(3, [[1]], 10)])
    ledger.withdraw(of_bob)
    assert queries(ledger) == [(1, "(deleted key 2)", 2, "500"), (2, "cay", 1, None)]
    assert spent(ledger) == {"ann": 0, "cay": 1}


def test_a_key_that_is_not_kept_takes_no_id(ledger):
    with pytest.raises(ValueError, match="stop"), ledger.new_key("cay"):
        raise ValueError("stop")
    assert ledger.key_of(ledger.create_key("cay")) == 3
