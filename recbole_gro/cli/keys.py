"""The command `recbole-gro keys`: the API keys of a service."""

import contextlib
from collections.abc import Callable
from pathlib import Path

from recbole_gro.utils import terminal
from recbole_gro.utils.command_line import Parser
from recbole_gro.utils.errors import UserError
from recbole_gro.utils.output import is_missing
from recbole_gro.utils.table import TextTable

ACTIONS = ("create", "set", "revoke", "list")
EXAMPLES = {
    "recbole-gro keys runs/NAME/service.db create ann --budget=1000 --rate=60": "1000 lists, 60 of them per minute",
    "recbole-gro keys runs/NAME/service.db set ann --budget=2000 --rate=none": "running services follow at once",
    "recbole-gro keys runs/NAME/service.db revoke ann": "the name stays in the access log",
    "recbole-gro keys runs/NAME/service.db list": "budgets and spent lists",
}


def parser() -> Parser:
    """Return the parser of the options."""
    made = Parser(
        prog="recbole-gro keys",
        description="Create, change, revoke and list the API keys of a service.\n"
        "A new key is printed once; the file holds its hash.",
        examples=EXAMPLES,
    )
    made.add_argument("file", metavar="FILE", help="service.db beside the checkpoint, or the --ledger of serve")
    made.add_argument("action", choices=ACTIONS, metavar="ACTION", help=", ".join(ACTIONS))
    made.add_argument("name", nargs="?", metavar="NAME", help="of a client; list takes none")
    made.add_argument("--budget", metavar="LISTS", help="lists in total, or none for no limit")
    made.add_argument("--rate", metavar="LISTS", help="lists per minute, or none for no limit")
    return made


def work(words: list[str]) -> None:
    """Do what the words say, and print the new key or the table of all.

    Raises:
        UserError: an invalid word, name or file.
    """
    given = parser().parse_args(words)
    limits = {
        name: _limit(name, text, kind)
        for name, text, kind in (("budget", given.budget, int), ("rate", given.rate, float))
        if text is not None
    }
    if (given.name is None) != (given.action == "list"):
        raise UserError(f"{given.action} takes {'no name' if given.name else 'the name of a key'}")
    if limits and given.action not in ("create", "set"):
        raise UserError(f"{given.action} takes neither --budget nor --rate")
    if not limits and given.action == "set":
        raise UserError("set takes --budget, --rate or both")
    if given.action != "create" and not Path(given.file).exists():
        raise UserError(f"{given.file}: no such file; create makes it")
    if given.action == "create" and is_missing():
        raise UserError("standard output is closed; create prints the new key there, and nothing else has it")
    from recbole_gro.http_service.ledger import Ledger

    with contextlib.closing(Ledger(given.file, may_write=given.action != "list")) as ledger:
        if given.action == "create":
            with ledger.new_key(given.name, **limits) as token:  # a key that cannot be printed is not kept
                print(token, flush=True)
        elif given.action == "list":
            rows = [["" if value is None else str(value) for value in key.values()] for key in ledger.all_keys()]
            print(terminal.for_output(TextTable(("key", "budget", "spent", "per minute", "revoked"), rows)))
        else:
            ledger.change_key(given.name, **(limits if given.action == "set" else {"revoked": 1}))


def _limit(name: str, text: str, kind: Callable[[str], float]) -> float | None:
    if text == "none":
        return None
    try:
        value = kind(text)
    except ValueError:
        value = 0
    if not 1 <= value < 2**53:
        raise UserError(f"--{name}: {text!r} is no number of lists; give 1 or more, or none")
    return value
