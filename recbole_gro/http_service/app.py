"""The HTTP routes of a service, as a Starlette application."""

import asyncio
import contextlib
import logging
import os
import sqlite3
import time
from collections import Counter
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

from recbole_gro.http_service.batching import QUEUED, Batcher
from recbole_gro.http_service.guard import alarm_totals
from recbole_gro.http_service.ledger import Entry, Ledger
from recbole_gro.http_service.open_file import LedgerMoved
from recbole_gro.http_service.openapi import openapi
from recbole_gro.http_service.options import Options
from recbole_gro.http_service.query import read_request
from recbole_gro.http_service.refusal import HttpRefusal
from recbole_gro.http_service.service import DefendedService

logger = logging.getLogger("recbole_gro.http_service")
RETRY_SECONDS = 10  # after which a ledger that cannot be used may be usable again
WATCH_SECONDS = 1  # between looks at the place of the ledger, in a service without requests too
BODY_SECONDS = 10  # that a client may take to send a body
BOUNDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0)  # seconds: buckets of the latency


class Routes:
    """Answer the requests of one process.

    Args:
        options: of the service.
        detector_file: as `DefendedService` takes it.
        ledger: as `DefendedService` takes it.

    Raises:
        UserError: as `DefendedService`.
    """

    def __init__(self, options: Options, detector_file: str | None = None, ledger: tuple[int, int] | None = None):
        self.service = DefendedService(options, detector_file, ledger)
        self.recommender = self.service.recommender
        self.limits = replace(options.limits, k=self.recommender.served_k)
        self.ledger_file = options.ledger_file
        self.keys = Ledger(self.ledger_file)  # the service's own is used in the thread of the batches
        queued = max(QUEUED, self.limits.histories)  # else no time would be right for the largest request
        self.batcher = Batcher(self.service.respond, options.batch, options.wait, queued)
        self.document = openapi(self.limits, options.catalogue)
        self.responses: Counter[int] = Counter()  # by status
        self.latencies = [0] * (len(BOUNDS) + 1)
        self.seconds = 0.0

    def close(self) -> None:
        """End the thread of the batches, and close the ledger."""
        self.batcher.close()
        self.service.close()
        self.keys.close()

    async def watch_ledger(self) -> None:
        """Say in the log, once each, that the ledger was moved away or replaced, and that it is back."""
        is_moved = False
        while True:
            await asyncio.sleep(WATCH_SECONDS)
            try:
                self.keys.check_in_place()
            except LedgerMoved as error:
                if not is_moved:
                    logger.error("%s", error)
                is_moved = True
            else:
                if is_moved:
                    logger.warning("ledger: %s is back; requests are answered again", self.ledger_file)
                is_moved = False

    async def recommend(self, request: Request) -> Response:
        """Answer POST /v1/recommend."""
        start = time.perf_counter()
        key = self._key(request)
        wanted = read_request(await self._body(request), self.recommender.ids, self.limits)
        lists = await self.batcher.lists(Entry(key, wanted.histories, wanted.k))
        tokens = [[self.recommender.tokens[item] for item in row] for row in lists]
        self._observe(time.perf_counter() - start)
        return JSONResponse({"list": tokens[0]} if wanted.single else {"lists": tokens})

    async def catalogue(self, request: Request) -> Response:
        """Answer GET /v1/catalogue."""
        self._key(request)
        return JSONResponse({"items": self.recommender.tokens[1:]})

    async def openapi(self, _: Request) -> Response:
        """Answer GET /openapi.json."""
        return JSONResponse(self.document)

    async def healthz(self, _: Request) -> Response:
        """Answer GET /healthz."""
        return JSONResponse({"status": "ok"})

    async def metrics(self, _: Request) -> Response:
        """Answer GET /metrics: queries and lists of all processes, responses and latencies of this one."""
        self.keys.check_in_place()  # alarms are read from the file of that name
        totals, worker = self.keys.totals(), f'worker="{os.getpid()}"'
        lines = []
        for place, name in enumerate(("queries", "lists")):
            lines.append(f"# TYPE recbole_gro_{name}_total counter")
            lines += [f'recbole_gro_{name}_total{{outcome="{key}"}} {both[place]}' for key, both in totals.items()]
        if self.service.guard:
            lines.append("# TYPE recbole_gro_flagged gauge")  # two flagged histories may turn out to be one
            alarms = alarm_totals(self.ledger_file, self.service.guard.judge)
            lines += [f'recbole_gro_flagged{{what="{what}"}} {count}' for what, count in alarms.items()]
        lines += ["# TYPE recbole_gro_batches_total counter"]
        lines += [f"recbole_gro_batches_total{{{worker}}} {self.batcher.batches}"]
        lines += ["# TYPE recbole_gro_errors_total counter"]
        for status, count in sorted(self.responses.items()):
            lines.append(f'recbole_gro_errors_total{{status="{status}",{worker}}} {count}')
        lines += ["# TYPE recbole_gro_latency_seconds histogram"]
        for place, bound in enumerate([*BOUNDS, "+Inf"]):
            count = sum(self.latencies[: place + 1])
            lines.append(f'recbole_gro_latency_seconds_bucket{{le="{bound}",{worker}}} {count}')
        lines.append(f"recbole_gro_latency_seconds_sum{{{worker}}} {self.seconds:.6f}")
        lines.append(f"recbole_gro_latency_seconds_count{{{worker}}} {sum(self.latencies)}")
        return PlainTextResponse("\n".join(lines) + "\n", media_type="text/plain; version=0.0.4")

    async def refused(self, _: Request, error: Exception) -> Response:
        """Answer a request that raised an exception with one sentence, of which none names anything of this machine."""
        if isinstance(error, HttpRefusal):
            refusal = error
        elif isinstance(error, HTTPException):
            refusal = HttpRefusal(error.status_code, error.detail)  # Starlette's, such as Not Found
        elif isinstance(error, sqlite3.Error):  # such as a full disk, or a lock that another process holds
            if not isinstance(error, LedgerMoved):  # of which `watch_ledger` says so once
                logger.error("ledger: %s cannot be used: %s; a request is answered with 503", self.ledger_file, error)
            refusal = HttpRefusal(503, "requests cannot be counted at present", retry_after=RETRY_SECONDS)
        else:
            refusal = HttpRefusal(500, "internal error")
        self.responses[refusal.status] += 1
        of_starlette = getattr(error, "headers", None) or {}  # such as Allow of status 405
        return JSONResponse({"error": refusal.sentence}, refusal.status, {**of_starlette, **refusal.headers})

    def _key(self, request: Request) -> int:
        scheme, _, token = request.headers.get("authorization", "").partition(" ")
        if scheme.lower() != "bearer" or not token:
            raise HttpRefusal(401, "an API key is needed, in the header Authorization: Bearer KEY")
        return self.keys.key_of(token.strip())

    async def _body(self, request: Request) -> bytes:
        too_large = HttpRefusal(413, f"the body may have {self.limits.body} bytes")
        declared = request.headers.get("content-length", "0")
        if declared.isdecimal() and int(declared[:20]) > self.limits.body:
            raise too_large
        body = bytearray()
        try:
            async with asyncio.timeout(BODY_SECONDS):
                async for part in request.stream():
                    body += part
                    if len(body) > self.limits.body:
                        raise too_large
        except TimeoutError:
            raise HttpRefusal(408, f"the body did not arrive within {BODY_SECONDS} seconds") from None
        except ClientDisconnect:
            raise HttpRefusal(400, "the client left before its body was complete") from None
        return bytes(body)

    def _observe(self, seconds: float) -> None:
        self.seconds += seconds
        self.latencies[sum(seconds > bound for bound in BOUNDS)] += 1


def create_app(options: Options, detector_file: str | None = None, ledger: tuple[int, int] | None = None) -> Starlette:
    """Return the application of a service.

    Its `state.detector` judges queries, or is None, and its `state.lists` says in words what it serves.

    Args:
        options: of the service.
        detector_file: as `DefendedService` takes it.
        ledger: as `DefendedService` takes it.

    Raises:
        UserError: as `DefendedService`.
    """
    routes = Routes(options, detector_file, ledger)

    @contextlib.asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        tasks = [asyncio.create_task(routes.batcher.run()), asyncio.create_task(routes.watch_ledger())]
        yield
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        routes.close()

    paths: dict[str, Any] = {
        "/healthz": routes.healthz,
        "/metrics": routes.metrics,
        "/openapi.json": routes.openapi,
        **({"/v1/catalogue": routes.catalogue} if options.catalogue else {}),
    }
    table = [Route("/v1/recommend", routes.recommend, methods=["POST"])]
    table += [Route(path, answer, methods=["GET"]) for path, answer in paths.items()]
    handlers: dict[Any, Any] = dict.fromkeys((HttpRefusal, HTTPException, sqlite3.Error, Exception), routes.refused)
    app = Starlette(routes=table, exception_handlers=handlers, lifespan=lifespan)
    app.router.redirect_slashes = False  # to a URL of http, behind a proxy with TLS too
    app.state.detector = routes.service.detector
    app.state.lists = routes.service.lists
    return app
