import contextlib
import datetime
import email.utils
import logging
import sys
import time
import types
from concurrent.futures import ThreadPoolExecutor
from urllib.parse import parse_qs, urlsplit

import pytest
from audit.cases import Recommender, ring, service_file

from recbole_gro.audit.answer_text import MOST_READ
from recbole_gro.audit.description import read_description
from recbole_gro.audit.journal import Journal, Refused, Unanswered
from recbole_gro.audit.sources import HttpSource, open_source
from recbole_gro.utils.errors import UserError

H = [["item-3"]]


@pytest.fixture(autouse=True)
def _token(monkeypatch):
    monkeypatch.setenv("AUDIT_TOKEN", "token")


@pytest.fixture
def journal(tmp_path):
    return Journal(tmp_path / "answers.jsonl", 100)


def http(folder, recommender, **changed):
    pytest.importorskip("httpx")
    pytest.importorskip("jmespath")
    return HttpSource(read_description(service_file(folder, changed.pop("url", recommender.url), **changed), {}))


@pytest.mark.parametrize("package", ["httpx", "jmespath"])
def test_a_missing_package_is_named_with_what_adds_it(tmp_path, monkeypatch, package):
    description = read_description(service_file(tmp_path, "http://127.0.0.1:9/"), {})
    monkeypatch.setitem(sys.modules, "httpx", types.ModuleType("httpx"))  # which may be missing here
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(UserError, match=rf"{package} is not installed; pip install httpx jmespath"):
        HttpSource(description)


def first(*answers):
    """Misbehave with one answer after the other."""
    return lambda number, histories: answers[number] if number < len(answers) else None


@pytest.mark.parametrize(
    ("status", "spent"), [(429, 1), (503, 1), (529, 1), (521, 1), (500, 4), (502, 4), (504, 4), (520, 4), (524, 4)]
)
def test_requests_are_repeated_more_slowly_each_time(tmp_path, journal, status, spent):
    with Recommender(first(*[(status, {}, "no")] * 3)) as recommender:
        assert http(tmp_path, recommender, backoff=0.1).lists(H, journal) == [ring(H[0])]
    waits = [after - before for before, after in zip(recommender.times, recommender.times[1:], strict=False)]
    assert [wait >= least for wait, least in zip(waits, (0.1, 0.2, 0.4), strict=True)] == [True] * 3
    assert journal.spent == spent


@pytest.mark.parametrize(("status", "reason"), [(401, "not authorized"), (402, "payment required: a budget is spent")])
def test_a_refusal_of_the_account_is_not_repeated_and_costs_no_list(tmp_path, journal, status, reason):
    with Recommender(first((status, {}, "no"))) as recommender, pytest.raises(Refused, match=reason):
        http(tmp_path, recommender).lists(H, journal)
    assert len(recommender.requests) == 1
    assert journal.spent == 0


@pytest.mark.parametrize("as_date", [False, True])
def test_retry_after_holds_for_every_request(tmp_path, journal, as_date):
    until = datetime.datetime.now(datetime.UTC) + datetime.timedelta(seconds=3)
    demand = email.utils.format_datetime(until, usegmt=True) if as_date else "1"
    with Recommender(first((429, {"Retry-After": demand}, "no"))) as recommender:
        source = http(tmp_path, recommender, concurrency=2)
        source.lists(H, journal)
        waited = recommender.times[1] - recommender.times[0]
    assert waited >= 0.9


def test_retry_after_takes_the_place_of_a_longer_backoff(tmp_path, journal):
    with Recommender(first((429, {"Retry-After": "0"}, "no"), (503, {"Retry-After": "1"}, "no"))) as recommender:
        http(tmp_path, recommender, backoff=4).lists(H, journal)
    waits = [after - before for before, after in zip(recommender.times, recommender.times[1:], strict=False)]
    assert waits[0] < 1
    assert 0.9 <= waits[1] < 3


def test_a_demand_to_wait_for_hours_ends_the_audit(tmp_path, journal):
    with Recommender(first((429, {"Retry-After": "7200"}, "no"))) as recommender:
        source = http(tmp_path, recommender)
        with pytest.raises(UserError, match=r"a wait of 7,200 s \(Retry-After\); afterwards the same command"):
            source.lists(H, journal)


@pytest.mark.parametrize(
    ("answer", "reason", "requests", "spent"),
    [
        ((400, {}, "no"), "status 400", 1, 0),
        *(
            (
                (status, {"Location": "http://me:word@127.0.0.1:9/v2?key=secret"}, "no"),
                f"^status {status}, a redirect to http://127.0.0.1:9/v2; redirects are not followed: set url to",
                1,
                0,
            )
            for status in (301, 302, 303, 307, 308)
        ),
        ((302, {"Location": "/v2/"}, "no"), "status 302, a redirect to /v2/; redirects are not followed", 1, 0),
        ((302, {"Location": "/\x9b"}, "no"), "status 302, a redirect to another URL; redirects are", 1, 0),
        ((302, {}, "no"), "^status 302$", 1, 0),
        ((302, {"Location": "http://xn--a/"}, "no"), "^(an answer that redirects to an invalid URL|status 302)", 3, 3),
        ((503, {}, "no"), "status 503", 3, 0),
        ((504, {}, "no"), "status 504", 3, 3),
        ((408, {}, "no"), "status 408", 1, 1),
        ((499, {}, "no"), "status 499", 1, 1),
        ((200, {}, b"\n<html>"), "no JSON", 1, 0),
        ((200, {}, b"busy"), "no JSON", 1, 0),
        ((200, {}, b' {"result": [{"it'), "no JSON", 1, 1),
        ((200, {}, b"[" * 100_000), "^an answer of JSON that is nested too deeply$", 1, 1),
        ((200, {}, {"other": 1}), "no list of item ids where the JMESPath expression of items looks, ", 1, 1),
        ((200, {}, {"result": [{"items": [{"id": 1}]}]}), "no list of item ids", 1, 1),
        ((200, {}, {"result": [{"items": [True]}]}), "no list of item ids", 1, 1),
        ((200, {"Content-Encoding": "gzip"}, b"no gzip"), "not encoded as its header Content-Encoding says", 3, 3),
    ],
)
def test_permanent_failures(tmp_path, journal, answer, reason, requests, spent):
    with Recommender(lambda number, histories: answer) as recommender, pytest.raises(Unanswered, match=reason):
        http(tmp_path, recommender, retries=2).lists(H, journal)
    assert len(recommender.requests) == requests
    assert journal.spent == spent


@pytest.mark.parametrize("path", ["/hook/a%2Fb+c%20d/r/", "/hook/A%252fb%2bC%20D", "/x/" + "x" * 190 + "/a/b+c d"])
def test_a_redirect_that_repeats_a_variable_of_the_url_is_named_without_its_value(tmp_path, monkeypatch, path):
    monkeypatch.setenv("AUDIT_TOKEN", "a/b+c d")
    journal = Journal(tmp_path / "answers.jsonl", 100)
    with Recommender(lambda number, histories: (307, {"Location": path}, "")) as recommender:
        source = http(tmp_path, recommender, url=f"{recommender.url}/${{AUDIT_TOKEN}}")
        with pytest.raises(Unanswered, match=r"a redirect to /\S*\$\S*; redirects are not followed") as raised:
            source.lists(H, journal)
    assert "b+c" not in str(raised.value).lower().replace("%2b", "+")


@pytest.mark.parametrize(
    ("status", "body", "said"),
    [
        (422, {"detail": "k must be\tbetween 1 and 10"}, r'{"detail": "k must be\tbetween 1 and 10"}'),
        (503, b"<html><title>Busy</title><p>Come\nback</p></html>", "Busy Come back"),
        (422, b"\x00\x01\xff\xfe" * 9, ""),
        (422, {"key": "Bearer word-4711-word"}, '{"key": "Bearer ${AUDIT_TOKEN}"}'),
        (402, {"sent": "d29yZC00NzExLXdvcmQ= bWU6d29yZC00NzEy"}, '{"sent": "... ..."}'),
    ],
)
def test_what_a_service_says_in_a_failure_is_shown_without_secrets(tmp_path, monkeypatch, journal, status, body, said):
    monkeypatch.setenv("AUDIT_TOKEN", "word-4711-word")
    headers = {"Authorization": "Bearer ${AUDIT_TOKEN}", "X-Twice": "d29yZC00NzExLXdvcmQ="}
    with Recommender(lambda number, histories: (status, {}, body)) as recommender:
        url = recommender.url.replace("//", "//me:word-4712@")
        source = http(tmp_path, recommender, url=url, headers=headers, retries=0)
        with pytest.raises(Unanswered) as raised:
            source.lists(H, journal)
    assert raised.value.said == said
    assert raised.value.status == status
    assert raised.value.in_full.startswith(f"status {status}")
    assert raised.value.in_full.endswith(f": {said}" if said else "422")
    assert not said or said not in str(raised.value)  # the journal has reasons alone


@pytest.mark.parametrize(("status", "read"), [(422, MOST_READ), (200, 2**20)])
def test_no_answer_is_read_without_a_bound(tmp_path, monkeypatch, journal, status, read):
    httpx = pytest.importorskip("httpx")
    pytest.importorskip("jmespath")
    monkeypatch.setattr("recbole_gro.audit.sources.LARGEST", 2**20)
    sent = 0

    def body():
        nonlocal sent
        while True:
            sent += 1024
            yield b"no! " * 256

    transport = httpx.MockTransport(lambda request: httpx.Response(status, content=body()))
    description = read_description(service_file(tmp_path, "http://127.0.0.1:9/", retries=0), {})
    with pytest.raises(Unanswered, match=r"status 422|an answer of more than 1 MiB"):
        HttpSource(description, httpx.Client(transport=transport)).lists(H, journal)
    assert sent <= read + 1024


def test_a_failure_whose_body_breaks_off_is_one_of_its_status(tmp_path, journal):
    answer = (422, {"Content-Encoding": "gzip"}, b"no gzip")
    with Recommender(lambda *_: answer) as recommender, pytest.raises(Unanswered, match=r"^status 422$") as raised:
        http(tmp_path, recommender).lists(H, journal)
    assert raised.value.in_full == "status 422"
    assert journal.spent == 0


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        ({"other": 1}, "{'other': 1}"),
        ({"result": [{"items": [["item-1", 0.5]]}]}, "[['item-1', 0.5]]"),
        ({"result": [{"items": ["word-4711-word", 0.5]}]}, "['${AUDIT_TOKEN}', 0.5]"),
        (b"we are closed", "we are closed"),
    ],
)
def test_an_answer_without_item_ids_is_shown_by_its_beginning(tmp_path, monkeypatch, journal, answer, said):
    monkeypatch.setenv("AUDIT_TOKEN", "word-4711-word")
    with Recommender(lambda *_: (200, {}, answer)) as recommender, pytest.raises(Unanswered) as raised:
        http(tmp_path, recommender).lists(H, journal)
    assert raised.value.said == said


def test_a_service_that_nobody_runs_gives_no_list(tmp_path, journal):
    with Recommender() as recommender:
        source = http(tmp_path, recommender, retries=1)
    with pytest.raises(Unanswered, match=r"cannot connect to http://127\.0\.0\.1:\d+"):
        source.lists(H, journal)
    assert journal.spent == 0


def test_a_list_that_comes_too_late_may_have_been_given(tmp_path, journal):
    with Recommender(lambda number, histories: time.sleep(0.5) if number == 0 else None) as recommender:
        assert http(tmp_path, recommender, timeout=0.2).lists(H, journal) == [ring(H[0])]
    assert journal.spent == 2


@pytest.mark.parametrize(("between", "n_requests"), [((200, {}, None), 3 + 1 + 3), ((504, {}, "no"), 3 + 1 + 1)])
def test_after_a_request_that_was_lost_in_every_try_the_next_is_sent_once_until_one_is_answered(
    tmp_path, journal, between, n_requests
):
    with Recommender(lambda number, histories: between if number == 3 else (504, {}, "no")) as recommender:
        source = http(tmp_path, recommender, retries=2)
        for _ in range(3):
            with contextlib.suppress(Unanswered):
                source.lists(H, journal)
    assert len(recommender.requests) == n_requests


def test_rate_and_concurrency_hold(tmp_path, journal):
    with Recommender(lambda number, histories: time.sleep(0.1)) as recommender:
        source = http(tmp_path, recommender, rate=20, concurrency=4)
        with ThreadPoolExecutor(4) as pool:
            list(pool.map(lambda _: source.lists(H, journal), range(8)))
    assert recommender.times[-1] - recommender.times[0] >= 7 / 20 - 0.05
    assert recommender.most_at_once <= 4


def test_get_sends_the_request_as_query(tmp_path, journal):
    with Recommender() as recommender:
        source = http(tmp_path, recommender, method="GET", request={"seen": "{history}", "n": "{k}"})
        assert source.lists([["item-3", "item-4"]], journal) == [ring(["item-4"])]
    assert recommender.requests == [[["item-3", "item-4"]]]


def test_get_keeps_the_query_of_the_url(tmp_path, journal):
    with Recommender() as recommender:
        given = {"url": f"{recommender.url}?key=${{AUDIT_TOKEN}}&site=de%26at", "method": "GET"}
        source = http(tmp_path, recommender, **given, request={"seen": "{history}", "n": "{k}"})
        assert source.lists([["item-3", "item-4"]], journal) == [ring(["item-4"])]
    query = parse_qs(urlsplit(recommender.paths[0]).query)
    assert query == {"key": ["token"], "site": ["de&at"], "seen": ["item-3", "item-4"], "n": ["5"]}


def test_lines_of_httpx_which_hold_urls_and_headers_are_not_logged(tmp_path, journal, caplog):
    caplog.set_level(logging.DEBUG)
    with Recommender() as recommender:
        http(tmp_path, recommender).lists(H, journal)
    assert not [record for record in caplog.records if record.name.startswith(("httpx", "httpcore"))]


def test_a_batch_is_answered_in_order(tmp_path, journal):
    with Recommender() as recommender:
        source = http(tmp_path, recommender, batch=3, items="result[].items")
        assert source.lists([["item-3"], ["item-9"]], journal) == [ring(["item-3"]), ring(["item-9"])]
        recommender.misbehave = lambda number, histories: (200, {}, {"result": [{"items": []}]})
        with pytest.raises(Unanswered, match="without one list per history"):
            source.lists([["item-3"], ["item-9"]], journal)
    assert journal.spent == 4


def test_connections_are_closed_at_the_end(tmp_path):
    pytest.importorskip("httpx")
    pytest.importorskip("jmespath")
    with open_source(read_description(service_file(tmp_path, "http://127.0.0.1:9/"), {})) as source:
        assert not source._client.is_closed
    assert source._client.is_closed
