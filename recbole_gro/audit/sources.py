"""Where lists come from: an HTTP service or a Python function."""

import contextlib
import datetime
import email.utils
import json
import logging
import threading
import time
from collections.abc import Iterator
from concurrent.futures import CancelledError
from typing import Any, Protocol
from urllib.parse import urlsplit, urlunsplit

from recbole_gro.audit.answer_text import MOST_READ, as_tokens, beginning, sentence
from recbole_gro.audit.description import Description, expanded
from recbole_gro.audit.function_source import FunctionSource
from recbole_gro.audit.http_status import OF_THE_ACCOUNT, is_refused, is_temporary
from recbole_gro.audit.journal import BudgetReached, Journal, Refused, Unanswered
from recbole_gro.audit.template import fill
from recbole_gro.audit.transport_errors import transport_failure
from recbole_gro.utils.errors import UserError

LONGEST_WAIT = 600.0  # seconds; a service that demands more ends the audit, which the same command resumes
DAY = 86_400.0  # seconds, the most that a retry waits
LONGEST_PLACE = 200  # characters of a URL in a message
# headers that fit the body of a request, and what httpx can read; those copied out of a browser fit another request
OF_THE_CLIENT = ("Content-Length", "Transfer-Encoding", "Accept-Encoding")
LARGEST = 2**28  # bytes of an answer with lists; what is longer is no answer of a recommender


@contextlib.contextmanager
def open_source(description: Description) -> Iterator["Source"]:
    """Yield the source of a described service, and close its connections.

    Raises:
        UserError: as `HttpSource`.
    """
    if description.function:
        yield FunctionSource(description.function)
        return
    source = HttpSource(description)
    try:
        yield source
    finally:
        source.close()


class Source(Protocol):
    """What answers histories."""

    batch: int  # maximum histories per request
    concurrency: int  # maximum requests at a time

    def lists(self, histories: list[list[Any]], journal: Journal) -> list[list[str]]:
        """Return a list of item ids per history; each attempt is counted in the journal.

        Raises:
            Unanswered: the request failed permanently.
        """

    def stop(self) -> None:
        """Send no further request."""


class _NoJson(Unanswered):
    """An answer that is no JSON.

    Args:
        gave_none: whether it holds no list either, as a maintenance page; else it may be the first part of JSON.
        said: what the service says in it.
    """

    def __init__(self, *, gave_none: bool, said: str):
        super().__init__("an answer that is no JSON", said=said)
        self.gave_none = gave_none


class HttpSource:
    """Lists of a service over HTTP; failed requests are repeated, more slowly each time.

    Args:
        description: of the service.
        client: of httpx; None: a new one.

    Raises:
        UserError: `items` is no JMESPath expression, httpx or jmespath is not installed, or httpx does not take the
            proxy or the certificates that the environment names.
    """

    def __init__(self, description: Description, client: Any = None):
        try:
            import httpx
            import jmespath
        except ImportError as error:
            raise UserError(f"black_box: {error.name} is not installed; pip install httpx jmespath adds it") from None
        for name in ("httpx", "httpcore"):  # whose lines hold URLs, and headers at the level debug
            logging.getLogger(name).setLevel(logging.WARNING)
        self.description, self._http = description, httpx
        self._not_sent = (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout)  # such a try gave no list
        self.batch, self.concurrency = description["batch"], description["concurrency"]
        try:
            self._items = jmespath.compile(description["items"])
        except jmespath.exceptions.JMESPathError as error:
            reason = str(error).splitlines()[0]
            raise UserError(f"{description.name}: items: not a JMESPath expression: {reason}") from None
        self._url, self._request = (expanded(description[key], key) for key in ("url", "request"))
        try:
            self._headers = httpx.Headers(expanded(description["headers"], "headers"))
        except UnicodeError:  # whose message may hold the value
            raise UserError(f"{description.name}: headers: it has characters that cannot be sent") from None
        if own := [name for name in OF_THE_CLIENT if name in self._headers]:
            raise UserError(f"{description.name}: headers: {own[0]} is set for each request by itself; leave it out")
        try:
            address = httpx.URL(self._url)
        except httpx.InvalidURL:
            raise UserError(f"{description.name}: url: it has characters that cannot be sent") from None
        try:
            address.host, address.raw_host.decode("ascii").encode("idna")  # as httpx and socket read it for a request
        except UnicodeError:
            raise UserError(
                f"{description.name}: url: its host is no name of a host: each part between dots has 1 to 63 "
                f"characters, and one that starts with xn-- is Punycode"
            ) from None
        self._hangs = False  # every try of the latest request was lost
        try:
            self._client = client or httpx.Client(timeout=description["timeout"])
        except (ImportError, OSError, ValueError, httpx.InvalidURL) as error:  # whose message may hold a password
            raise UserError(
                f"{description.name}: httpx takes no proxy or certificates as the environment has them "
                f"({type(error).__name__}): see ALL_PROXY, HTTP_PROXY, HTTPS_PROXY, NO_PROXY and SSL_CERT_FILE; "
                "for a SOCKS proxy, pip install httpx[socks]"
            ) from error
        self._next, self._lock = 0.0, threading.Lock()
        self._stopped = threading.Event()

    def stop(self) -> None:
        """Send no further request, and end the waits between attempts."""
        self._stopped.set()

    def close(self) -> None:
        """Close the connections."""
        self._client.close()

    def lists(self, histories: list[list[Any]], journal: Journal) -> list[list[str]]:
        """Return a list of item ids per history."""
        body = fill(self._request, histories, self.description["k"], self.batch)
        failure, last = None, self.description["retries"]
        for attempt in range(last + 1):
            self._wait_for_turn()
            try:
                ticket = journal.reserve(len(histories))
            except BudgetReached:
                raise BudgetReached(failure) from None  # what its tries met says more
            try:
                response, content = self._send(body)
            # UnicodeError, InvalidURL: of the host that a redirect names; the service may have given the lists
            except (self._http.HTTPError, self._http.InvalidURL, UnicodeError) as error:
                url, timeout = self.description.public["url"], self.description["timeout"]
                failure = Unanswered(transport_failure(error, url, timeout))
                if isinstance(error, self._not_sent):
                    journal.release(ticket, len(histories))
                elif self._is_lost_again(attempt == last):
                    break
            else:
                if response.is_success:
                    self._hangs = False
                    try:
                        return self._read(response, content, len(histories))
                    except _NoJson as error:
                        if error.gave_none:
                            journal.release(ticket, len(histories))
                        raise
                status = response.status_code
                reason, said = f"status {status}{self._redirected(response)}", self._said(response, content)
                failure = Unanswered(reason, said=said, status=status)
                if is_refused(status):
                    self._hangs = False
                    journal.release(ticket, len(histories))
                    if status in OF_THE_ACCOUNT:
                        raise Refused(f"{reason}, {OF_THE_ACCOUNT[status]}", said=said, status=status)
                elif self._is_lost_again(attempt == last):
                    break
                if not is_temporary(status):
                    break
                if (demanded := self._demanded(response, journal)) is not None:
                    self._delay_all(demanded)
                    continue
            if attempt < last:
                self._stopped.wait(min(self.description["backoff"] * 2**attempt, DAY))
        assert failure is not None  # the first try was made
        raise failure

    def _is_lost_again(self, is_last: bool) -> bool:
        """Note that a try was lost; return whether to try no more: retries would spend the budget of a service that
        hangs before ten requests have failed.
        """
        if self._hangs:
            return True
        self._hangs = is_last
        return False

    def _send(self, body: Any) -> tuple[Any, bytes]:
        """Return the answer to a request and its body, of which a failure has MOST_READ bytes at most."""
        method, url = self.description["method"], self._http.URL(self._url)
        if method == "GET":
            url, body = url.copy_merge_params(body), None  # where the argument params would replace a query of the URL
        content = bytearray()
        with self._client.stream(method, url, headers=self._headers, json=body) as response:
            most, until = LARGEST, float("inf")
            if not response.is_success:
                most, until = MOST_READ, time.monotonic() + self.description["timeout"]
            try:
                for part in response.iter_bytes():
                    content += part
                    if len(content) >= most or time.monotonic() > until:
                        break
            except self._http.HTTPError:
                if response.is_success:  # else its status says enough
                    raise
        return response, bytes(content[:most])

    def _said(self, response: Any, content: bytes) -> str:
        """Return what a service says in an answer without lists; nothing of a redirect, whose place is named."""
        if response.has_redirect_location:
            return ""
        return sentence(content, response.charset_encoding or "utf-8", self.description.hidden)

    def _read(self, response: Any, content: bytes, n_histories: int) -> list[list[str]]:
        if len(content) >= LARGEST:
            raise Unanswered(f"an answer of more than {LARGEST // 2**20} MiB")
        try:
            answer = json.loads(content)
        except ValueError:
            gave_none = not content.lstrip().startswith((b"[", b"{"))
            raise _NoJson(gave_none=gave_none, said=self._said(response, content[:MOST_READ])) from None
        except RecursionError:
            raise Unanswered("an answer of JSON that is nested too deeply") from None
        expression = f"where the JMESPath expression of items looks, {self.description['items']}"
        try:
            found = self._items.search(answer)
        except (ValueError, RecursionError):  # of JMESPath
            raise Unanswered(f"an answer that has other types {expression}") from None
        try:
            return as_tokens(found if self.batch > 1 else [found], n_histories)
        except Unanswered as error:
            came = answer if found is None else error.came
            raise Unanswered(f"{error} {expression}", said=beginning(came, self.description.hidden)) from None

    def _redirected(self, response: Any) -> str:
        """Return where a redirect leads, less its query and all secrets; nothing for another answer."""
        if not response.has_redirect_location:
            return ""
        address = urlsplit(response.headers["Location"])
        place = urlunsplit((address.scheme, address.netloc.rpartition("@")[2], address.path, "", ""))
        place = self.description.hidden(place)[:LONGEST_PLACE]
        shown = place if place and place.isprintable() else "another URL"
        return f", a redirect to {shown}; redirects are not followed: set url to where the service is"

    def _demanded(self, response: Any, journal: Journal) -> float | None:
        """Return the seconds to wait that Retry-After demands, as a number or a date; None without one."""
        demand = response.headers.get("Retry-After", "").strip()
        try:
            until = None if demand.isdecimal() else email.utils.parsedate_to_datetime(demand)
            wait = float(demand) if until is None else (until - datetime.datetime.now(datetime.UTC)).total_seconds()
        except (TypeError, ValueError):
            return None
        if wait > LONGEST_WAIT:
            raise UserError(
                f"{self.description.name}: the service demands a wait of {wait:,.0f} s (Retry-After); "
                f"afterwards {journal.resume}"
            )
        return wait

    def _delay_all(self, seconds: float) -> None:
        """Let no request start for some time, those of other threads included."""
        with self._lock:
            self._next = max(self._next, time.monotonic() + seconds)

    def _wait_for_turn(self) -> None:
        """Wait until the rate allows a request."""
        while True:
            with self._lock:
                if self._stopped.is_set():
                    raise CancelledError
                if (wait := self._next - time.monotonic()) <= 0:
                    self._next = time.monotonic() + 1 / self.description["rate"]
                    return
            self._stopped.wait(wait)
