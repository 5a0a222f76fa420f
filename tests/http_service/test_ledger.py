import contextlib
import errno
import os
import sqlite3
import stat
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from recbole_gro import UserError
from recbole_gro.http_service import database
from recbole_gro.http_service.ledger import Entry, Ledger
from recbole_gro.http_service.refusal import HttpRefusal
from recbole_gro.serving.catalogue import Catalogue


@pytest.fixture
def file(tmp_path):
    return tmp_path / "service.db"


@pytest.fixture
def ledger(file):
    return Ledger(file)


def statuses(outcomes):
    return [outcome.status if isinstance(outcome, HttpRefusal) else 200 for outcome in outcomes]


def entry(ledger, token, lists=1):
    return Entry(ledger.key_of(token), [[3, 1]] * lists, 10)


def at(monkeypatch, seconds):
    monkeypatch.setattr("recbole_gro.http_service.ledger.time.time", lambda: seconds)


def test_a_key_is_kept_as_a_hash_in_a_file_of_its_owner(ledger, file):
    token = ledger.create_key("ann")
    ledger.close()
    assert token.encode() not in file.read_bytes()
    assert stat.S_IMODE(os.stat(file).st_mode) == 0o600
    assert Ledger(file).key_of(token) == 1


def test_queries_of_one_transaction_share_a_budget(ledger):
    token = ledger.create_key("ann", budget=5)
    outcomes = ledger.admit([entry(ledger, token, lists) for lists in (3, 3, 2, 1)])
    assert statuses(outcomes) == [200, 402, 200, 402]
    assert ledger.all_keys() == [{"name": "ann", "budget": 5, "spent": 5, "rate": None, "revoked": 0}]
    assert ledger.totals() == {"402": (2, 4), "answered": (2, 5)}


def test_a_key_that_is_deleted_meanwhile_is_refused_and_others_are_answered(ledger, file):
    entries = [entry(ledger, ledger.create_key(name)) for name in ("ann", "ben")]
    with contextlib.closing(sqlite3.connect(file)) as other, other:
        other.execute("DELETE FROM key WHERE name = 'ben'")
    assert statuses(ledger.admit(entries)) == [200, 401]


def test_a_budget_is_exact_among_connections(ledger, file):
    wanted = entry(ledger, ledger.create_key("ann", budget=30))
    own = threading.local()

    def admit(_):
        own.ledger = getattr(own, "ledger", None) or Ledger(file)
        return statuses(own.ledger.admit([wanted]))[0]

    with ThreadPoolExecutor(4) as pool:
        assert sorted(pool.map(admit, range(50))) == [200] * 30 + [402] * 20


def test_a_rate_refills_with_time_up_to_a_minute(ledger, monkeypatch):
    at(monkeypatch, 1000.0)
    token = ledger.create_key("ann", rate=60)

    def status(seconds, lists):
        at(monkeypatch, seconds)
        (outcome,) = ledger.admit([entry(ledger, token, lists)])
        return (outcome.status, outcome.retry_after) if isinstance(outcome, HttpRefusal) else 200

    assert status(1000.0, 60) == 200
    assert status(1000.0, 10) == (429, 10)
    assert status(1004.5, 10) == (429, 6)
    assert status(1010.0, 10) == 200
    assert status(990.0, 1) == (429, 1)  # a clock that was set back gives nothing
    assert status(9999.0, 61) == (422, None)
    assert status(9999.0, 60) == 200
    assert status(9999.0, 1) == (429, 1)


def test_changes_of_a_key_count_from_the_next_query(ledger):
    wanted = entry(ledger, ledger.create_key("ann", budget=1))
    assert statuses(ledger.admit([wanted, wanted])) == [200, 402]
    ledger.change_key("ann", budget=2)
    assert statuses(ledger.admit([wanted, wanted])) == [200, 402]
    ledger.change_key("ann", revoked=1)
    assert statuses(ledger.admit([wanted])) == [401]
    ledger.change_key("ann", revoked=0, budget=None, rate=5)
    assert statuses(ledger.admit([wanted])) == [429]  # a new rate starts with nothing


def test_the_log_has_the_form_of_an_access_log(ledger, monkeypatch):
    at(monkeypatch, 0.25)
    token = ledger.create_key("ann", budget=1)
    ledger.admit([entry(ledger, token), entry(ledger, token)])
    common = {"time": "1970-01-01T00:00:00.250000+00:00", "key": "ann", "k": 10, "lists": 1}
    answered, refused = ledger.lines()
    assert answered == {**common, "id": 1, "refused": None, "sequences": [[3, 1]]}
    assert refused == {**common, "id": 2, "refused": "402", "sequences": None}


def test_lines_keep_their_ids_and_stay_where_a_key_was_deleted(ledger, file):
    for name in ("ann", "bob"):
        wanted = entry(ledger, ledger.create_key(name))
        ledger.admit([wanted, wanted])
    with sqlite3.connect(file) as database:
        database.execute("DELETE FROM query WHERE id = 1")
        database.execute("DELETE FROM key WHERE name = 'bob'")
    lines = [(line["id"], line["key"]) for line in ledger.lines()]
    assert lines == [(2, "ann"), (3, "(deleted key 2)"), (4, "(deleted key 2)")]


ITEMS, MORE, OTHERS = (Catalogue.of(tokens) for tokens in ("abc", "abcd", "acb"))


def test_a_ledger_is_of_the_catalogue_of_its_first_service(ledger, file):
    ledger.create_key("ann")
    assert ledger.catalogue() is None
    ledger.bind(ITEMS)
    Ledger(file).bind(ITEMS)  # several services of one catalogue
    for other, what in (
        (MORE, "3 items, not 4"),
        (OTHERS, "other items, or in another order"),
    ):
        with pytest.raises(
            UserError, match=rf"service\.db is of another catalogue than the checkpoint's \({what}\)"
        ) as error:
            Ledger(file).bind(other)
        assert "\n" not in str(error.value)
    assert Ledger(file).catalogue() == ITEMS


def test_the_catalogue_outlasts_a_log_that_is_emptied_and_a_file_that_is_compacted(ledger, file):
    ledger.bind(ITEMS)
    with sqlite3.connect(file) as database:
        database.execute("DELETE FROM query")
        database.commit()
        database.execute("VACUUM")
    with pytest.raises(UserError, match="another catalogue"):
        Ledger(file).bind(MORE)


def test_concurrent_services_agree_on_one_catalogue(file):
    start = threading.Barrier(8)

    def bound(catalogue):
        start.wait()
        try:
            own = Ledger(file)
            own.bind(catalogue)
        except UserError as error:
            return str(error)
        own.close()
        return catalogue

    with ThreadPoolExecutor(8) as pool:
        outcomes = list(pool.map(bound, [ITEMS, MORE] * 4))
    kept = Ledger(file).catalogue()
    assert [outcome == kept for outcome in outcomes] in ([True, False] * 4, [False, True] * 4)
    assert all("another catalogue" in outcome for outcome in outcomes if outcome != kept)


@pytest.mark.parametrize("may_write", [True, False])
@pytest.mark.parametrize("statement", ["CREATE TABLE song (title)", "CREATE TABLE key (door)"])
def test_another_database_is_refused_and_stays_as_it_is(file, statement, may_write):
    with sqlite3.connect(file) as database:
        database.execute(statement)
    before = file.read_bytes()
    with pytest.raises(UserError, match=r"service\.db is a database, but no ledger of recbole-gro serve"):
        Ledger(file, may_write)
    assert file.read_bytes() == before


def test_a_ledger_cut_short_is_named(ledger, file):
    for number in range(200):
        ledger.create_key(f"client {number}")
    wanted = Entry(1, [[3, 1] * 100] * 10, 10)
    ledger.admit([wanted] * 50)
    ledger.close()
    whole = file.read_bytes()

    def read(may_write):
        opened = Ledger(file, may_write)
        opened.all_keys()
        return list(opened.lines())

    for part in (0.9, 0.5, 0.1):
        file.write_bytes(whole[: int(part * len(whole))])
        for may_write in (True, False):
            with pytest.raises(UserError, match=r"ledger: .*service\.db cannot be used: ") as error:
                read(may_write)
            assert "\n" not in str(error.value)


def test_withdrawn_lists_return_to_the_budget(ledger):
    wanted = entry(ledger, ledger.create_key("ann", budget=2))
    first, _ = ledger.admit([wanted, wanted])
    ledger.withdraw([first])
    assert statuses(ledger.admit([wanted, wanted])) == [200, 402]
    assert [line["refused"] for line in ledger.lines()] == ["500", None, None, "402"]
    assert ledger.totals() == {"402": (1, 1), "500": (1, 1), "answered": (2, 2)}


def test_withdrawn_lists_return_to_the_rate(ledger, monkeypatch):
    at(monkeypatch, 1000.0)
    limited, free = (
        entry(ledger, ledger.create_key(name, rate=rate), 6) for name, rate in (("ann", 10), ("bob", None))
    )
    (line,) = ledger.admit([limited])
    assert statuses(ledger.admit([limited])) == [429]
    ledger.withdraw([line])
    assert statuses(ledger.admit([limited, limited])) == [200, 429]
    at(monkeypatch, 1060.0)
    ledger.withdraw([line])  # no more than a minute's lists
    assert statuses(ledger.admit([limited, limited])) == [200, 429]
    (line,) = ledger.admit([free])
    ledger.withdraw([line])
    assert statuses(ledger.admit([free])) == [200]


def test_withdrawn_lists_of_a_key_without_a_rate_count_in_no_later_one(ledger, monkeypatch):
    at(monkeypatch, 1000.0)
    wanted = entry(ledger, ledger.create_key("ann"))
    ledger.withdraw(ledger.admit([wanted]))
    ledger.change_key("ann", rate=10)
    assert statuses(ledger.admit([wanted])) == [429]  # a new rate starts with nothing


def test_refused_lists_return_to_the_budget_and_not_to_the_rate(ledger, monkeypatch):
    at(monkeypatch, 1000.0)
    wanted = entry(ledger, ledger.create_key("ann", budget=10, rate=10), 6)
    (line,) = ledger.admit([wanted])
    ledger.withdraw([line], 429)  # flagged by a detector, once the query had reached the model
    assert [key["spent"] for key in ledger.all_keys()] == [0]
    assert statuses(ledger.admit([wanted])) == [429]
    at(monkeypatch, 1060.0)
    assert statuses(ledger.admit([wanted])) == [200]


def test_a_transaction_that_fails_leaves_nothing(ledger):
    wanted = entry(ledger, ledger.create_key("ann"))
    with pytest.raises(TypeError):
        ledger.admit([wanted, Entry(wanted.key, [[object()]], 10)])
    assert list(ledger.lines()) == []
    assert ledger.all_keys()[0]["spent"] == 0


def test_names_are_unique_and_known(ledger):
    ledger.create_key("ann")
    with pytest.raises(UserError, match="'ann' is taken"):
        ledger.create_key("ann")
    with pytest.raises(UserError, match="there is no 'bob'"):
        ledger.change_key("bob", budget=1)


@pytest.mark.parametrize("name", ["", "  ", "ann\nbob", "ann\x1b[2J", "ann\tbob", "ann\u2028"])
def test_names_that_break_tables_and_logs_are_refused(ledger, name):
    with pytest.raises(UserError, match=r"^key: the name .* is to be printable") as caught:
        ledger.create_key(name)
    assert str(caught.value).isprintable()
    assert ledger.all_keys() == []
    ledger.create_key("Zoë, shop 1")


@pytest.mark.parametrize("may_write", [True, False])
def test_a_folder_in_place_of_the_file_is_named(tmp_path, may_write):
    with pytest.raises(UserError, match=rf"^ledger: {tmp_path} is a folder; name a file$"):
        Ledger(tmp_path, may_write)


@pytest.mark.parametrize("code", [sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR_WRITE])
def test_a_full_disk_is_named(tmp_path, monkeypatch, code):
    def full(**_):
        raise OSError(errno.ENOSPC, "No space left on device")

    def used():
        error = sqlite3.OperationalError("disk I/O error")
        error.sqlite_errorcode = code
        with database.errors_named(tmp_path / "service.db"):
            raise error

    if code != sqlite3.SQLITE_FULL:
        with pytest.raises(UserError, match=r"cannot be used: disk I/O error$"):
            used()
    monkeypatch.setattr("tempfile.TemporaryFile", full)
    with pytest.raises(UserError, match=rf"service\.db cannot be used: the disk of {tmp_path} is full$"):
        used()


def test_another_file_is_refused(tmp_path):
    (tmp_path / "text").write_text("no database at all, but a text of some length" * 50)
    with pytest.raises(UserError, match="text cannot be used: file is not a database"):
        Ledger(tmp_path / "text")
    with pytest.raises(UserError, match="cannot be used"):
        Ledger(tmp_path / "nowhere" / "service.db")


def test_a_second_ledger_in_a_process_keeps_the_locks_of_the_first(ledger, file):
    """Closing a descriptor releases a process's locks, and another process would then drop the write-ahead log."""
    import subprocess
    import sys

    ledger.create_key("ann")
    Ledger(file).close()
    code = "import sqlite3, sys; d = sqlite3.connect(sys.argv[1]); d.execute('SELECT * FROM key').fetchall(); d.close()"
    subprocess.run([sys.executable, "-c", code, str(file)], check=True)
    ledger.create_key("bob")
    with sqlite3.connect(file) as database:
        assert database.execute("SELECT name FROM key").fetchall() == [("ann",), ("bob",)]


def test_a_clock_that_is_set_back_stops_no_key(ledger, monkeypatch):
    at(monkeypatch, 7200.0)
    wanted = entry(ledger, ledger.create_key("ann", rate=60), 60)
    assert statuses(ledger.admit([wanted])) == [200]
    at(monkeypatch, 3600.0)
    [refusal] = ledger.admit([wanted])
    assert (refusal.status, refusal.headers["Retry-After"]) == (429, "60")
    at(monkeypatch, 3660.0)
    assert statuses(ledger.admit([wanted])) == [200]


def test_a_new_ledger_waits_for_a_process_that_opens_it_too(file):
    other = sqlite3.connect(file, isolation_level=None, check_same_thread=False)
    for statement in ("CREATE TABLE one (a)", "BEGIN IMMEDIATE", "INSERT INTO one VALUES (1)"):
        other.execute(statement)
    done = threading.Timer(0.3, other.execute, ["COMMIT"])
    done.start()
    database.use_write_ahead_log(sqlite3.connect(file, timeout=0, isolation_level=None))
    done.join()
    assert sqlite3.connect(file).execute("PRAGMA journal_mode").fetchone() == ("wal",)


def test_a_full_disk_ends_a_transaction_without_a_trace(tmp_path):
    ledger = Ledger(tmp_path / "service.db")
    ledger.create_key("ann", budget=10**6)
    long = [Entry(1, [[item] * 400], 5) for item in range(1, 400)]
    pages = ledger._database.execute("PRAGMA page_count").fetchone()[0]
    ledger._database.execute(f"PRAGMA max_page_count = {pages + 1}")
    for _ in range(2):  # neither the first nor a later one finds a transaction that is open
        with pytest.raises(sqlite3.OperationalError, match="full"):
            ledger.admit(long)
    assert ledger.all_keys()[0]["spent"] == 0
    ledger._database.execute("PRAGMA max_page_count = 10000")
    assert len(ledger.admit(long)) == len(long)
    assert ledger.all_keys()[0]["spent"] == len(long)


def test_a_transaction_whose_commit_fails_is_rolled_back():
    statements = []

    class Database:
        in_transaction = True

        def execute(self, statement):
            statements.append(statement)
            if statement == "COMMIT":
                raise sqlite3.OperationalError("disk I/O error")

    with pytest.raises(sqlite3.OperationalError), database.transaction(Database()):
        pass
    assert statements == ["BEGIN IMMEDIATE", "COMMIT", "ROLLBACK"]


@pytest.fixture
def unwritable(file):
    """What SQLite writes beside a file cannot be made, as in a folder without the right to write, for root too."""

    def make():
        file.with_name("service.db-shm").unlink(missing_ok=True)
        file.with_name("service.db-shm").symlink_to(file.parent / "absent" / "file")

    return make


def test_a_ledger_is_read_where_its_folder_cannot_be_written(ledger, file, unwritable):
    ledger.create_key("ann")
    ledger.admit([Entry(1, [[3]], 5)])
    ledger.close()
    unwritable()
    with pytest.raises(UserError, match="unable to open database file"):
        Ledger(file)
    read = Ledger(file, may_write=False)
    assert [line["sequences"] for line in read.lines()] == [[[3]]]
    assert read.all_keys()[0]["spent"] == 1


def test_transactions_beside_a_ledger_that_cannot_be_read_are_named(ledger, file, tmp_path, unwritable):
    ledger.create_key("ann")
    log = file.with_name("service.db-wal")
    pending = log.read_bytes()
    ledger.close()
    log.write_bytes(pending)
    unwritable()
    with pytest.raises(UserError, match=r"service\.db-wal has transactions that are not in the file yet; copy both"):
        Ledger(file, may_write=False)


def test_a_ledger_that_is_read_leaves_no_file_behind(ledger, file, tmp_path):
    ledger.create_key("ann")
    ledger.close()
    read = Ledger(file, may_write=False)
    assert len(read.all_keys()) == 1
    read.close()
    assert [one.name for one in tmp_path.iterdir()] == ["service.db"]
    with pytest.raises(UserError, match=r"absent #1\.db cannot be used: unable to open database file"):
        Ledger(tmp_path / "absent #1.db", may_write=False)
    assert [one.name for one in tmp_path.iterdir()] == ["service.db"]
