"""What a client may send: bounds, and the reading of a request's body."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from recbole_gro.http_service.refusal import HttpRefusal

USUAL_K = 10  # length of a list where a request gives none
SHOWN = 40  # characters of an unknown token in a message


@dataclass(frozen=True)
class Limits:
    """Bounds of a request.

    Attributes:
        body: most bytes of a body.
        histories: most histories of a request.
        history: most items of a history.
        k: longest list.
    """

    body: int = 2**20
    histories: int = 256
    history: int = 1000
    k: int = 100

    @property
    def default_k(self) -> int:
        """Length of a list where a request gives none."""
        return min(USUAL_K, self.k)


@dataclass(frozen=True)
class RequestedLists:
    """Hold a request that was read: `histories` as item ids of the model, lists of `k`; `single` for one history."""

    histories: list[list[int]]
    k: int
    single: bool


def read_request(body: bytes, ids: Mapping[str, int], limits: Limits) -> RequestedLists:
    """Read a body such as {"history": ["242", "302"], "k": 10} or {"histories": [["242"], ["302"]]}.

    Args:
        body: JSON; k is 10, or the longest list where that is shorter, unless it is given.
        ids: item id by token.
        limits: bounds.

    Raises:
        HttpRefusal: 422 with what is wrong.
    """
    try:
        given = json.loads(body)
    except (ValueError, RecursionError):
        raise HttpRefusal(422, "the body is not valid JSON") from None
    if not isinstance(given, dict) or ("history" in given) == ("histories" in given):
        raise HttpRefusal(422, "the body must be an object with either history or histories")
    if unknown := sorted(given.keys() - {"history", "histories", "k"}):
        raise HttpRefusal(422, f"unknown field {unknown[0][:SHOWN]!r}; there are history, histories and k")
    k = given.get("k", limits.default_k)
    if not isinstance(k, int) or isinstance(k, bool) or not 1 <= k <= limits.k:
        raise HttpRefusal(422, f"k must be a whole number between 1 and {limits.k}")
    single = "history" in given
    histories = [given["history"]] if single else given["histories"]
    if not isinstance(histories, list) or not 1 <= len(histories) <= limits.histories:
        raise HttpRefusal(422, f"histories must be a list of 1 to {limits.histories} histories")
    names = ["history"] if single else [f"histories[{place}]" for place in range(len(histories))]
    read = [_item_ids(name, history, ids, limits) for name, history in zip(names, histories, strict=True)]
    return RequestedLists(read, k, single)


def _item_ids(name: str, history: Any, ids: Mapping[str, int], limits: Limits) -> list[int]:
    if not isinstance(history, list) or not 1 <= len(history) <= limits.history:
        raise HttpRefusal(422, f"{name} must be a list of 1 to {limits.history} items")
    try:
        return [ids[token] for token in history]
    except (KeyError, TypeError):
        place, token = next((i, item) for i, item in enumerate(history) if not isinstance(item, str) or item not in ids)
    if not isinstance(token, str):
        raise HttpRefusal(422, f"{name}[{place}] must be an item as a string")
    raise HttpRefusal(422, f"{name}[{place}]: {token[:SHOWN]!r} is not in the catalogue")
