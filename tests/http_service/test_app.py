"""The routes, as uvicorn serves them on 127.0.0.1."""

import asyncio
import contextlib
import os
import random
import socket
import sqlite3
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest

pytest.importorskip("starlette")

from recbole_gro import Service, create_defense, load_target
from recbole_gro.http_service.ledger import Ledger
from recbole_gro.http_service.query import Limits
from recbole_gro.http_service.recommender import Recommender

DRAW = random.Random(5)
HISTORIES = [[f"i{DRAW.randrange(30)}" for _ in range(DRAW.randint(1, 12))] for _ in range(40)]


@pytest.fixture
def client(start, checkpoint_of):
    return start(checkpoint_of("GRU4Rec"))


def alone(checkpoint, history, k):
    return load_target(checkpoint).recommend([history], k=k)[0]


@pytest.mark.parametrize("model", ["GRU4Rec", "BERT4Rec"])
def test_lists_equal_recommend_one_by_one_together_and_concurrently(start, checkpoint_of, model):
    file = checkpoint_of(model)
    client = start(file)
    key = client.key()
    right = [alone(file, history, 7) for history in HISTORIES]
    assert client.post(key, histories=HISTORIES, k=7).body == {"lists": right}
    assert client.post(key, history=HISTORIES[0], k=7).body == {"list": right[0]}
    with ThreadPoolExecutor(12) as pool:
        answers = list(pool.map(lambda history: client.post(key, history=history, k=7), HISTORIES))
    assert [answer.body["list"] for answer in answers] == right
    assert client.spent() == 2 * len(HISTORIES) + 1


@pytest.mark.parametrize("defense", ["tail_decoy", "tail_shuffle", "reverse", "truncate"])
def test_lists_are_the_first_k_of_the_defense(start, checkpoint_of, defense, monkeypatch):
    monkeypatch.setenv("RECBOLE_GRO_DEFENSE_KEY", "a secret of some length")
    file = checkpoint_of("GRU4Rec")
    client = start(file, defense=defense, settings={} if defense == "reverse" else {"head_k": "3"})
    target = load_target(file)
    target.config["head_k"], target.config["defense_key"] = 3, "secret"
    answer, ids = create_defense(defense, target.config).answer, target._ids
    rows = [[ids[token] for token in history] for history in HISTORIES]
    lists = [Service(target.model, 12, answer).recommend([row])[0, :8].tolist() for row in rows]
    right = [[target.item_tokens[item] for item in row if item] for row in lists]
    assert client.post(client.key(), histories=HISTORIES, k=8).body == {"lists": right}


def test_a_budget_is_spent_to_the_last_list_under_concurrent_clients(client):
    key = client.key(budget=25)
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda _: client.post(key, history=["i1"]), range(40)))
    assert sorted(answer.status for answer in answers) == [200] * 25 + [402] * 15
    assert client.spent() == 25
    spent = client.post(key, history=["i1"])
    assert spent.body == {"error": "too few lists are left in the budget of this API key: 0, and this request takes 1"}
    answered = [line for line in Ledger(client.ledger).lines() if line["refused"] is None]
    assert [line["lists"] for line in answered] == [1] * 25


def test_a_request_beyond_the_budget_takes_nothing_of_it(client):
    key = client.key(budget=3)
    assert client.post(key, histories=[["i1"]] * 4).status == 402
    assert client.spent() == 0
    assert client.post(key, histories=[["i1"]] * 3).status == 200


def test_a_rate_is_429_with_the_seconds_to_wait(client):
    key = client.key(rate=6)
    assert client.post(key, histories=[["i1"]] * 6).status == 200
    refused = client.post(key, histories=[["i1"]] * 2)
    assert refused.status == 429
    assert 18 <= int(refused.headers["retry-after"]) <= 20
    assert refused.body == {"error": "this API key gets 6 lists per minute"}
    assert client.post(key, histories=[["i1"]] * 7).status == 422


@pytest.mark.parametrize("header", [{}, {"Authorization": "Bearer rg_wrong"}, {"Authorization": "Basic abc"}])
def test_without_a_valid_key_nothing_is_answered(client, header):
    answer = client.send("POST", "/v1/recommend", b'{"history": ["i1"]}', header)
    assert answer.status == 401
    assert answer.headers["www-authenticate"] == "Bearer"
    assert list(answer.body) == ["error"]


def test_a_revoked_key_is_unknown_at_once(client):
    key = client.key()
    assert client.post(key, history=["i1"]).status == 200
    Ledger(client.ledger).change_key("ann", revoked=1)
    assert client.post(key, history=["i1"]).status == 401


def test_an_invalid_body_is_422_and_costs_nothing(client):
    key = client.key(budget=1)
    answer = client.post(key, history=["i1", "x"])
    assert (answer.status, answer.body) == (422, {"error": "history[1]: 'x' is not in the catalogue"})
    assert client.spent() == 0


@pytest.mark.parametrize("chunked", [False, True])
def test_a_large_body_is_413(start, checkpoint_of, chunked):
    client = start(checkpoint_of("GRU4Rec"), limits=replace(Limits(), body=100))
    header = {"Authorization": f"Bearer {client.key()}", **({"Transfer-Encoding": "chunked"} if chunked else {})}
    body = iter([b" " * 60, b" " * 60]) if chunked else b" " * 120
    answer = client.send("POST", "/v1/recommend", body, header, chunked)
    assert (answer.status, answer.body) == (413, {"error": "the body may have 100 bytes"})


def test_a_request_of_as_many_histories_as_allowed_is_answered(start, checkpoint_of):
    client = start(checkpoint_of("GRU4Rec"), limits=replace(Limits(), histories=5000))
    assert len(client.post(client.key(), histories=[["i1"]] * 5000, k=1).body["lists"]) == 5000


def test_a_fault_inside_names_nothing_and_is_not_counted(start, checkpoint_of, monkeypatch):
    file = checkpoint_of("GRU4Rec")
    client = start(file)
    key = client.key()

    def broken(*_):
        raise RuntimeError(f"cannot read {file}")

    monkeypatch.setattr(Recommender, "answer", broken)
    answer = client.post(key, history=["i1"])
    assert (answer.status, answer.body) == (500, {"error": "internal error"})
    assert client.spent() == 0
    assert [line["refused"] for line in Ledger(client.ledger).lines()] == ["500"]
    monkeypatch.setattr("recbole_gro.http_service.app.read_request", broken)
    answer = client.post(key, history=["i1"])
    assert (answer.status, answer.body) == (500, {"error": "internal error"})


def test_a_client_that_leaves_early_is_no_fault_of_the_service(client, caplog):
    key = client.key()
    head = f"POST /v1/recommend HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer {key}\r\nContent-Length: 100\r\n\r\n"
    with socket.create_connection(("127.0.0.1", client.port)) as connection:
        connection.sendall(f"{head}{{".encode())
        time.sleep(0.2)  # until it waits for the rest
    deadline = time.monotonic() + 20
    while not (errors := [line for line in client.get("/metrics").body.splitlines() if "errors_total{" in line]):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    assert [line.partition(",")[0] for line in errors] == ['recbole_gro_errors_total{status="400"']
    assert client.spent() == 0
    assert "Traceback" not in caplog.text


@pytest.mark.parametrize("of_key", [False, True])
def test_a_ledger_that_cannot_be_used_is_503_and_one_line(client, monkeypatch, caplog, of_key):
    key = client.key()

    def full(*_):
        raise sqlite3.OperationalError("database or disk is full")

    with monkeypatch.context() as patch:
        patch.setattr(Ledger, "key_of" if of_key else "admit", full)
        answer = client.post(key, history=["i1"])
    assert (answer.status, answer.body) == (503, {"error": "requests cannot be counted at present"})
    assert answer.headers["retry-after"] == "10"
    line = f"ledger: {client.ledger} cannot be used: database or disk is full; a request is answered with 503"
    assert [record.getMessage() for record in caplog.records] == [line]
    assert caplog.records[0].exc_info is None
    assert client.spent() == 0
    assert client.post(key, history=["i1"]).status == 200
    assert client.spent() == 1


@pytest.mark.parametrize("replaced", [False, True])
def test_a_ledger_that_is_moved_away_gets_503_and_one_line_and_loses_nothing(
    start, checkpoint_of, tmp_path, monkeypatch, caplog, replaced
):
    monkeypatch.setattr("recbole_gro.http_service.app.WATCH_SECONDS", 0.05)
    client = start(checkpoint_of("GRU4Rec"))
    key = client.key()
    assert client.post(key, history=["i1"]).status == 200
    place, away = Path(client.ledger), tmp_path / "away" / "service.db"
    away.parent.mkdir()
    place.rename(away)
    if replaced:
        place.write_bytes(b"")
    answers = [client.post(key, history=["i2"]) for _ in range(3)]
    assert {answer.status for answer in answers} == {503}
    assert answers[0].headers["retry-after"] == "10"
    time.sleep(0.3)
    (line,) = caplog.messages
    what = "was replaced by another file" if replaced else "was moved away or deleted"
    assert line.startswith(f"ledger: {place} {what} while the service has it open; put the file back, or start the")
    moved = away.parent / "seen.db"
    moved.write_bytes(away.read_bytes())  # alone, without a write-ahead log
    with contextlib.closing(Ledger(moved)) as ledger:
        assert [line["lists"] for line in ledger.lines()] == [1]
        assert ledger.all_keys()[0]["spent"] == 1
    away.rename(place)
    assert client.post(key, history=["i2"]).status == 200
    assert client.spent() == 2
    time.sleep(0.3)
    assert caplog.messages[1:] == [f"ledger: {place} is back; requests are answered again"]


def test_metrics_of_a_ledger_that_was_moved_away_make_no_file_in_its_place(start, checkpoint_of, monkeypatch):
    monkeypatch.setattr("recbole_gro.http_service.app.WATCH_SECONDS", 60)  # metrics come before the service looks
    client = start(checkpoint_of("GRU4Rec"), detector="coverage", false_positive_rate=0.05)
    key = client.key()
    assert client.post(key, history=["i1"]).status == 200
    place = Path(client.ledger)
    away = place.with_name("away.db")
    place.rename(away)
    assert client.get("/metrics").status == 503
    assert not place.exists()
    assert client.post(key, history=["i1"]).status == 503
    alone = place.with_name("alone.db")  # without the write-ahead log
    alone.write_bytes(away.read_bytes())
    with contextlib.closing(Ledger(alone)) as ledger:
        assert [line["lists"] for line in ledger.lines()] == [1]
    away.rename(place)
    assert client.get("/metrics").status == 200
    assert client.spent() == 1


def test_a_ledger_that_another_process_locks_is_503(start, checkpoint_of, monkeypatch, caplog):
    monkeypatch.setattr("recbole_gro.http_service.database.WAIT", 0.1)
    client = start(checkpoint_of("GRU4Rec"))
    key = client.key()
    with contextlib.closing(sqlite3.connect(client.ledger, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        assert client.post(key, history=["i1"]).status == 503
        other.execute("ROLLBACK")
    assert "cannot be used: database is locked" in caplog.text
    assert client.post(key, history=["i1"]).status == 200
    assert client.spent() == 1


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [("GET", "/v1/recommend", 405), ("GET", "/../etc/passwd", 404), ("POST", "/v1/recommend/", 404)],
)
def test_other_paths_and_methods_are_refused_in_json(client, method, path, status):
    answer = client.send(method, path)
    assert answer.status == status
    assert list(answer.body) == ["error"]
    assert answer.headers.get("allow") == ("POST" if status == 405 else None)
    assert "server" not in answer.headers or "python" not in answer.headers["server"].lower()


def test_the_catalogue_is_off_by_default_and_needs_a_key(client, start, checkpoint_of):
    assert client.get("/v1/catalogue", client.key()).status == 404
    assert "/v1/catalogue" not in client.get("/openapi.json").body["paths"]
    open_one = start(checkpoint_of("GRU4Rec"), catalogue=True)
    assert open_one.get("/v1/catalogue").status == 401
    items = open_one.get("/v1/catalogue", open_one.key()).body["items"]
    assert sorted(items) == sorted(f"i{item}" for item in range(30))


def test_metrics_count_queries_lists_and_errors(client):
    assert client.get("/healthz").body == {"status": "ok"}
    key = client.key(budget=4)
    client.post(key, histories=[["i1"], ["i2"], ["i3"]])
    client.post(key, histories=[["i1"], ["i2"]])
    lines = client.get("/metrics").body.splitlines()
    assert 'recbole_gro_lists_total{outcome="answered"} 3' in lines
    assert 'recbole_gro_lists_total{outcome="402"} 2' in lines
    assert any(line.startswith('recbole_gro_errors_total{status="402"') and line.endswith(" 1") for line in lines)
    assert any(line.startswith("recbole_gro_latency_seconds_count{") and line.endswith(" 1") for line in lines)


def test_the_document_describes_what_is_answered(client):
    jsonschema = pytest.importorskip("jsonschema")
    document = client.get("/openapi.json").body
    call = document["paths"]["/v1/recommend"]["post"]
    sent, answered = {"history": ["i1"], "k": 3}, call["responses"]
    jsonschema.validate(sent, call["requestBody"]["content"]["application/json"]["schema"])
    answer = client.post(client.key(), **sent)
    jsonschema.validate(answer.body, answered["200"]["content"]["application/json"]["schema"])
    refused = client.post("wrong", **sent)
    jsonschema.validate(refused.body, answered["401"]["content"]["application/json"]["schema"])
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate({"k": 13}, call["requestBody"]["content"]["application/json"]["schema"])


def test_at_the_end_the_ledger_is_closed_and_no_thread_is_left(checkpoint_of, tmp_path):
    from recbole_gro.http_service.app import create_app
    from recbole_gro.http_service.options import Options

    ledger = str(tmp_path / "ledger.db")
    threads = {*threading.enumerate()}

    def open_files():
        links = [f"/proc/self/fd/{name}" for name in os.listdir("/proc/self/fd")]
        return [name for name in map(os.path.realpath, links) if name.startswith(ledger)]

    async def start_and_end():
        options = {"ledger": ledger, "detector": "coverage", "false_positive_rate": 0.05}
        app = create_app(Options(checkpoint_of("GRU4Rec"), **options))
        async with app.router.lifespan_context(app):
            assert open_files()

    asyncio.run(start_and_end())
    assert not open_files()
    assert {*threading.enumerate()} <= threads


def test_rows_that_are_deleted_while_their_requests_are_refused_fail_no_other_request(checkpoint_of, start):
    client = start(checkpoint_of("GRU4Rec"), detector="coverage", on_alarm="refuse", false_positive_rate=0.05)
    ann, bob = client.key("ann", budget=20), client.key("bob", budget=20)
    with contextlib.closing(sqlite3.connect(client.ledger)) as other, other:
        other.execute("CREATE TRIGGER gone AFTER INSERT ON query BEGIN DELETE FROM query WHERE id = NEW.id; END")
    item = load_target(checkpoint_of("GRU4Rec")).item_tokens[3]
    assert client.post(ann, history=[item] * 8).status == 429
    assert [client.post(bob, history=[item]).status for _ in range(2)] == [200, 200]
    assert (client.spent("ann"), client.spent("bob")) == (0, 2)
