"""The processes of a service, under uvicorn."""

import json
import logging
import multiprocessing.process
import os
import signal
import socket
import tempfile
import threading
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
import uvicorn
from starlette.applications import Starlette

from recbole_gro.detection.calibration import CalibratedDetector
from recbole_gro.http_service.app import create_app
from recbole_gro.http_service.open_file import identity
from recbole_gro.http_service.options import Options
from recbole_gro.http_service.query import Limits
from recbole_gro.http_service.watched_worker import watched_workers
from recbole_gro.utils.errors import UserError
from recbole_gro.utils.log import say

logger = logging.getLogger("recbole_gro.http_service")
VARIABLE = "RECBOLE_GRO_SERVE"  # hands the options to worker processes
SECONDS_TO_ANSWER = 60  # a ping, of a worker that imports torch first; while it makes its model a thread answers
CONNECTIONS = 1000  # per worker; uvicorn answers others with 503


def serve(options: Options, host: str, port: int, workers: int, announce: Callable[[], None]) -> None:
    """Serve until the process is stopped; workers that end are replaced.

    Args:
        options: of the service.
        host: address to listen on.
        port: to listen on.
        workers: processes that answer.
        announce: called before they start, where the options are valid.

    Raises:
        UserError: as `create_app`, or the port cannot be listened on.
    """
    listener = bound(host, port)  # first, so that a port in use leaves no ledger
    try:
        app = create_app(options)  # invalid options end here, before a worker starts
    except BaseException:
        listener.close()
        raise
    say(app.state.lists)
    announce()
    settings: dict[str, Any] = {"fd": listener.fileno(), "log_level": "warning", "access_log": False}
    settings |= {"server_header": False, "limit_concurrency": CONNECTIONS, "ws": "none"}
    settings |= {"workers": workers}  # else uvicorn reads WEB_CONCURRENCY
    if workers == 1:
        signal.signal(signal.SIGTERM, _stopped)  # which uvicorn raises again once it has stopped
        uvicorn.run(app, **settings)
        return
    with tempfile.TemporaryDirectory(prefix="recbole-gro-serve-") as folder:  # in reach of this user alone
        file = _saved(app.state.detector, Path(folder))
        del app
        handed = {"options": asdict(options), "detector_file": file, "ledger": identity(options.ledger_file)}
        os.environ[VARIABLE] = json.dumps(handed)
        settings |= {"timeout_worker_healthcheck": SECONDS_TO_ANSWER}
        with watched_workers():
            uvicorn.run(f"{__name__}:worker_app", factory=True, **settings)


def _saved(detector: CalibratedDetector | None, folder: Path) -> str | None:
    """Return the file of a detector with its thresholds for the workers; None where it cannot be saved."""
    if detector is None:
        return None
    file = str(folder / "detector.pth")
    try:
        torch.save(detector, file)
    except Exception:  # of a user's detector, such as one with an open file: each worker makes its own
        return None
    return file


def _stopped(*_: object) -> None:
    """End the process as its several workers end: with the status of a service that was asked to stop."""
    raise SystemExit(0)


def bound(host: str, port: int) -> socket.socket:
    """Return a socket for the connections of all processes, bound to an address.

    Its connections send at once (TCP_NODELAY): with Nagle's algorithm the body of a response, which is written after
    the head, waits for a delayed acknowledgement of 40 ms. asyncio switches it off for sockets that it has made itself,
    but not for those that uvicorn makes for several workers.

    Args:
        host: address or name; of IPv6 where it has a colon.
        port: to listen on.

    Raises:
        UserError: the address cannot be bound.
    """
    listener = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)  # which accepted connections inherit
    try:
        listener.bind((host, port))
    except OSError as error:
        listener.close()
        raise UserError(f"--host, --port: {host} port {port} cannot be used: {error.strerror or error}") from error
    listener.set_inheritable(True)
    return listener


def _stop_after(parent: multiprocessing.process.BaseProcess) -> None:
    """Stop this process once another one has ended."""
    parent.join()
    os.kill(os.getpid(), signal.SIGTERM)


def worker_app() -> Starlette:
    """Return the application of a worker process, which stops where its parent was killed: it would keep the port.

    One that replaces another may find a ledger or checkpoint that was changed meanwhile: it ends with one line in the
    log, and the parent starts another.

    Raises:
        SystemExit: something is invalid by now.
    """
    if parent := multiprocessing.parent_process():
        threading.Thread(target=_stop_after, args=(parent,), daemon=True).start()
    given = json.loads(os.environ[VARIABLE])
    options = given["options"]
    options = Options(**{**options, "limits": Limits(**options["limits"])})
    try:
        return create_app(options, given["detector_file"], given["ledger"] and tuple(given["ledger"]))
    except UserError as error:
        logger.error("a worker cannot start, and is tried again: %s", error)
        raise SystemExit(1) from None
