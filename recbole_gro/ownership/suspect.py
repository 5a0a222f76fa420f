"""The suspect as a black box: a service over HTTP, a checkpoint or a Python function."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from recbole_gro.audit.description import KEYS, Description, read_description
from recbole_gro.audit.journal import Journal
from recbole_gro.audit.live_service import MOST_STRANGE, Client
from recbole_gro.audit.sources import open_source
from recbole_gro.config.files import read_config_file
from recbole_gro.ownership.method import NoVerdict
from recbole_gro.serving.saved_target import load_target
from recbole_gro.utils.errors import UserError
from recbole_gro.utils.log import console
from recbole_gro.utils.units import counted

REPEATED = 50  # maximum probes that are sent twice
LEAST_REPEATED = 0.8  # share of them that both answers are needed of
MOST_CHANGED = 0.05  # share of those with both answers whose lists may differ
MOST_UNKNOWN = 0.1  # share of items, or of lists, that may lack a counterpart


@dataclass(frozen=True)
class Answers:
    """The answers of a suspect.

    Attributes:
        lists: [N, k] item ids of the owner, best first, padded with 0.
        sent_twice: number of different probes to be sent twice; 0 for a model that is read in this process.
        repeated: number of them with both answers.
        changed: number of them with other items the second time, or for methods that read ranks in another order.
        unknown: share of listed items that the owner's catalogue lacks.
        failed: number of probes without a list, or without an item of the owner's in it.
        reason: why most queries that failed did; empty where none did.
    """

    lists: Tensor
    sent_twice: int
    repeated: int
    changed: int
    unknown: float
    failed: int
    reason: str = ""

    def check(self) -> None:
        """Check that these lists bear a verdict.

        Raises:
            NoVerdict: they do not; the message says why.
        """
        if self.changed > MOST_CHANGED * self.repeated:
            raise NoVerdict(
                f"the suspect's lists differ when it is queried twice: for {self.changed} of {self.repeated} histories"
            )
        if self.unknown > MOST_UNKNOWN:
            raise NoVerdict(
                f"the suspect has another catalogue: {100 * self.unknown:.0f} % of the items in its lists are not in "
                "the owner's"
            )
        if self.failed > MOST_UNKNOWN * len(self.lists):
            why = f", most often {self.reason}" if self.reason else ""
            raise NoVerdict(
                f"the suspect gave no list for {self.failed} of {len(self.lists)} histories{why}; one that refuses "
                "items that it lacks is described with its catalogue"
            )
        if self.repeated < (least := math.ceil(LEAST_REPEATED * self.sent_twice)):
            raise NoVerdict(
                f"only {self.repeated} of the {self.sent_twice} histories that are sent twice were answered both "
                f"times; {least} are needed to say that the suspect's lists do not differ"
            )


def list_length(k: int | None) -> int:
    """Return how many items of a list are read of a suspect whose description does not say, by default 10.

    Raises:
        UserError: k is no number that a description may hold.
    """
    if k is None:
        return int(KEYS["k"].default)
    KEYS["k"].check(k)
    return k


def describe_suspect(suspect: str, item_tokens: Sequence[str], k: int | None = None) -> Description:
    """Return the description of a suspect, after a check of its catalogue where that is known.

    Args:
        suspect: a yaml file as of an audit, module:function, or a checkpoint (.pth).
        item_tokens: of the owner by item id, padding first.
        k: as of `list_length`; None for a yaml file, which has its own.

    Raises:
        UserError: it is none of these, or invalid.
        NoVerdict: it lacks more than a tenth of the owner's items.
    """
    if suspect.endswith(".pth"):
        described = _checkpoint(suspect, item_tokens, list_length(k))
    elif suspect.endswith((".yaml", ".yml")):
        if k is not None:
            raise UserError(f"k: {suspect} says how long its lists are; leave --k out, and set k in this file")
        described = read_description(suspect, _items_if_none(suspect, item_tokens), "suspect")
        described.check_items(item_tokens[1:])
    elif Path(suspect).is_dir():
        raise UserError(f"suspect: {suspect} is a folder; name the checkpoint in it, such as {suspect}/target.pth")
    elif suspect.count(":") != 1:
        raise UserError(f"suspect: {suspect!r} is neither a checkpoint (.pth), a yaml file nor module:function")
    else:  # the catalogue is the owner's; seeds stand for it where the file names none
        described = read_description(suspect, {"seeds": [item_tokens[1]], "k": list_length(k)}, "suspect")
    if described.catalogue is not None:
        lacking = len({*item_tokens[1:]} - {*described.catalogue})
        if lacking > MOST_UNKNOWN * (len(item_tokens) - 1):
            raise NoVerdict(
                f"the suspect has another catalogue: it lacks {lacking} of the owner's {len(item_tokens) - 1} items"
            )
    return described


def _items_if_none(file: str, item_tokens: Sequence[str]) -> dict[str, Any]:
    """Return an item for a description that names none: nothing is collected, as the catalogue is the owner's."""
    stored = read_config_file(file, ["seeds"]) if Path(file).is_file() else {}
    named = stored.get("catalogue") is not None or stored.get("seeds")
    return {} if named else {"seeds": [item_tokens[1]]}


def _checkpoint(file: str, item_tokens: Sequence[str], k: int) -> Description:
    model = load_target(file)
    if model.item_tokens is None:  # a surrogate's, which numbers items as the service that it was trained on
        if model.model.n_items != len(item_tokens):
            raise NoVerdict(
                f"the suspect {file} holds no item tokens, and has another number of items than the owner's"
            )
        model.item_tokens = list(item_tokens)
    tokens = model.item_tokens
    known = {*tokens[1:]}

    def lists(histories: list[list[Any]]) -> list[list[str]]:
        rows = [[token for token in row if token in known] for row in histories]
        found = model.recommend([row or tokens[1:2] for row in rows], min(k, len(tokens) - 1))
        return [items if row else [] for row, items in zip(rows, found, strict=True)]

    values = {name: key.default for name, key in KEYS.items()} | {"k": k}
    return Description(file, values, tokens[1:], lists)


def n_sent_twice(histories: list[list[int]]) -> int:
    """Return how many probes are sent twice: different ones, REPEATED at most."""
    return min(REPEATED, len(set(map(tuple, histories))))


def query_suspect(
    description: Description,
    histories: list[list[int]],
    item_tokens: Sequence[str],
    journal: Journal,
    *,
    reads_order: bool = True,
) -> Answers:
    """Send histories to a suspect, the first of them that it answers twice.

    Args:
        description: of the suspect.
        histories: item ids of the owner.
        item_tokens: of the owner by item id, padding first.
        journal: keeps the answers; queries that it answers are not sent again.
        reads_order: whether a list in another order is another list.

    Raises:
        UserError: the suspect gives no lists, or its first ones have other items than the owner's.
    """
    known_to_suspect = {*(item_tokens if description.catalogue is None else description.catalogue)}
    tokens_of = [tuple(item_tokens[item] for item in row) for row in histories]
    # an item that the suspect lacks is left out: many services refuse it, and with it all histories of the request
    queries = [(tuple(token for token in tokens if token in known_to_suspect), 0) for tokens in tokens_of]
    sent = [query for query in queries if query[0]]
    twice = n_sent_twice(histories)
    missing = {*sent} - journal.answers.keys()  # an equal query is sent once
    console.info(
        f"verification: {len(missing) + twice - sum(before for _, before in journal.answers):,} lists of "
        f"{description.name} are to be obtained, of which {description['k']} items count"
    )
    if example := description.example(item_tokens[1:]):
        console.info(f"verification: {example}")
    with open_source(description) as source:
        client = Client(source, journal, description)
        answer_to: dict[Any, list[str] | None] = dict.fromkeys(queries)
        n_first = math.ceil(MOST_STRANGE / source.batch) * source.batch  # whole requests
        _check_first(description, client.lists(sent[:n_first]), item_tokens)
        answer_to |= dict(zip(sent, client.lists(sent), strict=True))
        answers = [answer_to[query] for query in queries]
        first = [query for query, answer in answer_to.items() if answer is not None][:REPEATED]
        second = client.lists([(tokens, 1) for tokens, _ in first])
        client.keep_failures()
    for reason, n in journal.reasons.items():
        console.info(f"verification: {n:,} queries failed: {reason}")
    ids = {token: item for item, token in enumerate(item_tokens) if item}
    k = description["k"]
    lists = [(answer or [])[:k] for answer in answers]
    listed = [token for tokens in lists for token in tokens]
    known = [list(dict.fromkeys(ids[token] for token in tokens if token in ids)) for tokens in lists]
    compared = list if reads_order else set
    changed = [
        compared((answer_to[query] or ())[:k]) != compared(two[:k])
        for query, two in zip(first, second, strict=True)
        if two is not None
    ]
    return Answers(
        torch.tensor([row + [0] * (k - len(row)) for row in known]),
        twice,
        len(changed),
        sum(changed),
        sum(token not in ids for token in listed) / max(1, len(listed)),
        sum(not row for row in known),
        most_frequent(journal.reasons),
    )


def most_frequent(reasons: Mapping[str, int]) -> str:
    """Return the reason that most queries failed for, the first one of equal; empty without any.

    >>> most_frequent({"status 500": 2, "status 404": 3}), most_frequent({})
    ('status 404', '')
    """
    return max(reasons, key=reasons.__getitem__, default="")


def _check_first(described: Description, lists: Sequence[list[str] | None], item_tokens: Sequence[str]) -> None:
    """Check that the first lists have an item of the owner's, before all probes are sent to a suspect.

    Raises:
        UserError: they have items, and none is the owner's, as where one of both writes them in another way.
    """
    listed = [token for tokens in lists for token in tokens or ()]
    if listed and not {*item_tokens[1:]} & {*listed}:
        such = described.hidden(", ".join(map(repr, listed[:3])))
        raise UserError(
            f"suspect: {described.name}: no item in its first {counted(len(lists), 'list')} is the owner's (such as "
            f"{such}; the owner has {item_tokens[1]!r}); have it give the owner's ids, in another folder"
        )
