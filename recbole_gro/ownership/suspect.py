"""The suspect as a black box: a service over HTTP, a checkpoint or a Python function."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from recbole_gro.audit.description import KEYS, Description, check_numbers, read_description
from recbole_gro.audit.journal import Journal
from recbole_gro.audit.live_service import Client
from recbole_gro.audit.sources import open_source
from recbole_gro.ownership.method import NoVerdict
from recbole_gro.serving.saved_target import load_target
from recbole_gro.utils.errors import UserError

REPEATED = 50  # maximum probes that are sent twice
MOST_CHANGED = 0.05  # share of them whose lists may differ
MOST_UNKNOWN = 0.1  # share of items, or of lists, that may lack a counterpart
LONGEST = 10  # items of a list, where nothing else is said


@dataclass(frozen=True)
class Answers:
    """The answers of a suspect.

    Attributes:
        lists: [N, k] item ids of the owner, best first, padded with 0.
        repeated: number of different probes that were sent twice.
        changed: number of them with other items the second time, or for methods that read ranks in another order.
        unknown: share of listed items that the owner's catalogue lacks.
        failed: number of probes without a list.
    """

    lists: Tensor
    repeated: int
    changed: int
    unknown: float
    failed: int

    def check(self) -> None:
        """Check that these lists bear a verdict.

        Raises:
            NoVerdict: they do not; the message says why.
        """
        if self.changed > MOST_CHANGED * self.repeated:
            raise NoVerdict(
                f"the suspect's lists differ when it is queried twice: for {self.changed} of {self.repeated} histories"
            )
        if self.failed > MOST_UNKNOWN * len(self.lists):
            raise NoVerdict(f"the suspect gave no list for {self.failed} of {len(self.lists)} histories")
        if self.unknown > MOST_UNKNOWN:
            raise NoVerdict(
                f"the suspect has another catalogue: {100 * self.unknown:.0f} % of the items in its lists are not in "
                "the owner's"
            )


def describe_suspect(suspect: str, item_tokens: Sequence[str]) -> Description:
    """Return the description of a suspect, after a check of its catalogue where that is known.

    Args:
        suspect: a yaml file as of an audit, module:function, or a checkpoint (.pth).
        item_tokens: of the owner by item id, padding first.

    Raises:
        UserError: it is none of these, or invalid.
        NoVerdict: it lacks more than a tenth of the owner's items.
    """
    if suspect.endswith(".pth"):
        described = _checkpoint(suspect, item_tokens)
    elif suspect.endswith((".yaml", ".yml")):
        described = read_description(suspect, {}, "suspect")
        if described["item_type"] == "int":
            check_numbers(item_tokens[1:])
    elif suspect.count(":") != 1:
        raise UserError(f"suspect: {suspect!r} is neither a checkpoint (.pth), a yaml file nor module:function")
    else:  # the catalogue is the owner's; seeds stand for it where the file names none
        described = read_description(suspect, {"seeds": [item_tokens[1]]}, "suspect")
    if described.catalogue is not None:
        lacking = len({*item_tokens[1:]} - {*described.catalogue})
        if lacking > MOST_UNKNOWN * (len(item_tokens) - 1):
            raise NoVerdict(
                f"the suspect has another catalogue: it lacks {lacking} of the owner's {len(item_tokens) - 1} items"
            )
    return described


def _checkpoint(file: str, item_tokens: Sequence[str]) -> Description:
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
        found = model.recommend([row or tokens[1:2] for row in rows], min(LONGEST, len(tokens) - 1))
        return [items if row else [] for row, items in zip(rows, found, strict=True)]

    values = {name: key.default for name, key in KEYS.items()} | {"k": LONGEST}
    return Description(file, values, tokens[1:], lists)


def query_suspect(
    description: Description,
    histories: list[list[int]],
    item_tokens: Sequence[str],
    journal: Journal,
    *,
    reads_order: bool = True,
) -> Answers:
    """Send histories to a suspect, the first of them twice.

    Args:
        description: of the suspect.
        histories: item ids of the owner.
        item_tokens: of the owner by item id, padding first.
        journal: keeps the answers; queries that it answers are not sent again.
        reads_order: whether a list in another order is another list.

    Raises:
        UserError: the suspect gives no lists.
    """
    queries = [(tuple(item_tokens[item] for item in row), 0) for row in histories]
    first = list(dict.fromkeys(queries))[:REPEATED]  # an equal query is sent once
    again = [(tokens, 1) for tokens, _ in first]
    with open_source(description) as source:
        client = Client(source, journal, description)
        answers, second = client.lists(queries), client.lists(again)
    ids = {token: item for item, token in enumerate(item_tokens) if item}
    k = description["k"]
    listed = [token for answer in answers for token in (answer or ())[:k]]
    known = [list(dict.fromkeys(ids[token] for token in answer or () if token in ids))[:k] for answer in answers]
    compared = list if reads_order else set
    answer_to = dict(zip(queries, answers, strict=True))
    changed = [
        compared(one[:k]) != compared(two[:k])
        for one, two in zip(map(answer_to.get, first), second, strict=True)
        if one is not None and two is not None
    ]
    return Answers(
        torch.tensor([row + [0] * (k - len(row)) for row in known]),
        len(changed),
        sum(changed),
        sum(token not in ids for token in listed) / max(1, len(listed)),
        sum(not row for row in known),
    )
