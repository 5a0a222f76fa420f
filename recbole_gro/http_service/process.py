"""The processes of a service, under uvicorn."""

import json
import os
from collections.abc import Callable
from dataclasses import asdict
from typing import Any

import uvicorn
from starlette.applications import Starlette

from recbole_gro.http_service.app import create_app
from recbole_gro.http_service.query import Limits
from recbole_gro.http_service.service import Options

VARIABLE = "RECBOLE_GRO_SERVE"  # hands the options to worker processes
SECONDS_TO_START = 60  # of a worker, which imports torch first
SECONDS_TO_CALIBRATE = 600  # a detector, besides
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
        UserError: as `create_app`.
    """
    app = create_app(options)  # invalid options end here, before a worker starts
    announce()
    settings: dict[str, Any] = {"host": host, "port": port, "log_level": "warning", "access_log": False}
    settings |= {"server_header": False, "limit_concurrency": CONNECTIONS, "ws": "none"}
    if workers == 1:
        uvicorn.run(app, **settings)
        return
    del app
    os.environ[VARIABLE] = json.dumps(asdict(options))
    seconds = SECONDS_TO_START + SECONDS_TO_CALIBRATE * (options.detector is not None)
    settings |= {"workers": workers, "timeout_worker_healthcheck": seconds}
    uvicorn.run(f"{__name__}:worker_app", factory=True, **settings)


def worker_app() -> Starlette:
    """Return the application of a worker process."""
    options = json.loads(os.environ[VARIABLE])
    return create_app(Options(**{**options, "limits": Limits(**options["limits"])}))
