"""The command `recbole-gro serve`: a defended model over HTTP."""

import argparse
import contextlib
import importlib.util

from recbole_gro.cli.plugin_option import add_plugins
from recbole_gro.http_service.options import Options
from recbole_gro.http_service.query import Limits
from recbole_gro.utils.command_line import Parser, options_and_settings
from recbole_gro.utils.errors import UserError
from recbole_gro.utils.packaged import listed_keys, packaged_properties

EXAMPLES = {
    "recbole-gro serve runs/NAME/target.pth --defense=tail_decoy --port=8000": "the first head_k unchanged",
    "recbole-gro serve runs/NAME/target-gro.pth --workers=2 --served_k=50": "a model that a defense trained",
}
MOST = 1024  # processes, or threads of one


def parser() -> Parser:
    """Return the parser of the options; all else is --KEY=VALUE."""
    made = Parser(
        prog="recbole-gro serve",
        usage="recbole-gro serve CHECKPOINT [--defense=NAME] [--KEY=VALUE ...]",
        description="Serve a model through a defense over HTTP, with API keys, budgets and an access log.\n"
        "--KEY=VALUE sets served_k or a setting of the defense; others are those of the checkpoint's run.\n"
        "Clients need a key: recbole-gro keys --help.",
        examples=EXAMPLES,
    )
    add = made.add_argument
    [rate] = [key for key in listed_keys(packaged_properties() / "overall.yaml") if key.name == "false_positive_rate"]
    add("checkpoint", metavar="CHECKPOINT", help="target.pth or target-gro.pth of a run")
    add(
        "--defense",
        default=Options.defense,
        metavar="NAME",
        help=f"defense of the list, or several joined by + ({Options.defense})",
    )
    add("--host", default="127.0.0.1", help="address to listen on (127.0.0.1)")
    add("--port", type=int, default=8000, help="port to listen on (8000)")
    add("--workers", type=int, default=1, metavar="N", help="processes that answer (1)")
    add(
        "--threads",
        type=int,
        default=Options.threads,
        metavar="N",
        help=f"threads of torch per process ({Options.threads})",
    )
    add("--device", help="such as cuda:0 (the GPU that torch sees first, else the CPU)")
    add_plugins(made)
    add("--model", metavar="MODULE:CLASS", help="class of a model outside RecBole, where plugins have another of it")
    add("--ledger", metavar="FILE", help="SQLite file of keys and access log (service.db beside the checkpoint)")
    add("--catalogue", action="store_true", help="let clients with a key list all items")
    add(
        "--batch",
        type=int,
        default=Options.batch,
        metavar="N",
        help=f"most histories that are scored together ({Options.batch})",
    )
    add(
        "--wait_ms",
        type=float,
        default=1000 * Options.wait,
        metavar="MS",
        help=f"most milliseconds that a request waits for others ({1000 * Options.wait:g})",
    )
    add("--max_body", type=int, default=Limits.body, metavar="BYTES", help=f"largest body ({Limits.body})")
    add(
        "--max_histories",
        type=int,
        default=Limits.histories,
        metavar="N",
        help=f"most histories of a request ({Limits.histories})",
    )
    add(
        "--max_history",
        type=int,
        default=Limits.history,
        metavar="N",
        help=f"most items of a history ({Limits.history})",
    )
    add("--detector", metavar="NAME", help="detector of extraction that judges each history, such as transitions")
    add(
        "--on_alarm",
        default=Options.on_alarm,
        help=f"flagged histories and keys: log, decoy (random items) or refuse (429) ({Options.on_alarm})",
    )
    add("--benign", metavar="FILE", help="benign users' histories, for thresholds (the target's own data)")
    add("--false_positive_rate", type=float, metavar="SHARE", help=f"of benign users flagged ({rate.default})")
    return made


def work(words: list[str]) -> None:
    """Serve until the process is stopped.

    Raises:
        UserError: an invalid word, setting, checkpoint or ledger, plugin, or a missing library.
    """
    given, settings = options_and_settings(parser(), words)
    _check(given)
    from recbole_gro.http_service.ledger import Ledger
    from recbole_gro.http_service.process import serve
    from recbole_gro.utils.log import say

    options = Options(
        checkpoint=given.checkpoint,
        defense=given.defense,
        settings=settings,
        ledger=given.ledger,
        plugins=given.plugins,
        model=given.model,
        device=given.device,
        catalogue=given.catalogue,
        limits=Limits(given.max_body, given.max_histories, given.max_history),
        batch=given.batch,
        wait=given.wait_ms / 1000,
        threads=given.threads,
        detector=given.detector,
        on_alarm=given.on_alarm,
        benign=given.benign,
        false_positive_rate=given.false_positive_rate,
    )

    def announce() -> None:
        host = f"[{given.host}]" if ":" in given.host else given.host  # of IPv6
        say(f"serving {given.checkpoint} through {given.defense} on http://{host}:{given.port}")
        with contextlib.closing(Ledger(options.ledger_file)) as ledger:
            has_keys = bool(ledger.all_keys())
        if not has_keys:
            say(f"no client has a key yet: recbole-gro keys {options.ledger_file} create NAME")

    serve(options, given.host, given.port, given.workers, announce)


def _check(given: argparse.Namespace) -> None:
    """Refuse options out of range, and a service without the libraries that it needs."""
    for name in ("workers", "threads", "batch", "max_body", "max_histories", "max_history"):
        if getattr(given, name) < 1:
            raise UserError(f"--{name}: {getattr(given, name)} is too few; give 1 or more")
    for name in ("workers", "threads"):
        if getattr(given, name) > MOST:  # the system ends a process that starts too many, without a message
            raise UserError(f"--{name}: {getattr(given, name)} is too many; give at most {MOST}")
    if not 0 <= given.wait_ms <= 1000:
        raise UserError(f"--wait_ms: {given.wait_ms:g} is not allowed; it lies between 0 and 1000")
    if not 0 < given.port < 2**16:
        raise UserError(f"--port: {given.port} is not allowed; it lies between 1 and 65535")
    of_detection = (given.on_alarm != Options.on_alarm, given.benign, given.false_positive_rate is not None)
    if given.detector is None and any(of_detection):
        raise UserError("--on_alarm, --benign and --false_positive_rate need --detector=NAME, such as transitions")
    for library in ("starlette", "uvicorn"):
        if importlib.util.find_spec(library) is None:
            raise UserError(f"serve needs {library}; pip install starlette uvicorn httptools")
