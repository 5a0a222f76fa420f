"""Accuracy of a service and its surrogate on the test histories of the owner."""

from collections.abc import Container, Iterable, Sequence
from typing import Any

import numpy as np
import torch

from recbole_gro.audit.live_service import Client, LiveService
from recbole_gro.config.config_like import ConfigLike
from recbole_gro.evaluator.agreement import agreement
from recbole_gro.evaluator.ranks import hits, ndcg, ranks
from recbole_gro.evaluator.seen_items import without_seen
from recbole_gro.scoring import pad_sequences
from recbole_gro.serving.service import Service
from recbole_gro.utils.units import counted


def accuracy(
    client: Client, live: LiveService, surrogate: torch.nn.Module, histories: list[list[str]], config: ConfigLike
) -> dict[str, Any]:
    """Return HR and NDCG of service and surrogate on the last item of each history, and their agreement@10.

    Items outside the catalogue are left out of histories; users whose test item is one of them, or whose history
    is then empty, and those who got no list, are left out and counted. The service gives one list per user.

    Args:
        client: obtains answers.
        live: the service.
        surrogate: the extracted model.
        histories: from `read_histories`.
        config: `topk`, `exclude_seen`, and MAX_ITEM_LIST_LENGTH, the number of most recent items that are sent.
    """
    longest = config["MAX_ITEM_LIST_LENGTH"]
    kept = tested(histories, {*live.catalogue})
    answers = client.lists([(tuple(seen[-longest:]), 0) for seen, _ in kept])
    listed = [(*user, live.known(items)) for user, items in zip(kept, answers, strict=True)]
    listed = [user for user in listed if user[2]]
    result: dict[str, Any] = {"users": len(listed), "left_out": len(histories) - len(listed)}
    if not listed:
        return result
    served = torch.tensor([numbers + [0] * (live.k - len(numbers)) for _, _, numbers in listed])
    items = torch.tensor([live.known([item])[0] for _, item, _ in listed])
    sequences = [[live.known([token])[0] for token in seen] for seen, _, _ in listed]
    extracted = Service(surrogate, live.k).recommend([sequence[-longest:] for sequence in sequences]).cpu()
    if config["exclude_seen"]:
        complete, _ = pad_sequences(sequences)
        served, extracted = without_seen(served, complete), without_seen(extracted, complete)
        result["exclude_seen"] = True
    for side, lists in (("service", served), ("surrogate", extracted)):
        result[side] = _metrics(ranks(lists, items), config["topk"])
    at = min(10, live.k)
    return result | {f"agreement@{at}": round(agreement(extracted, served, [at])[at], 4)}


def tested(histories: Iterable[Sequence[str]], catalogue: Container[str]) -> list[tuple[list[str], str]]:
    """Return the history and the test item of each user who has both, less the items outside a catalogue.

    >>> tested([["a", "x", "b"], ["x", "a"], ["a", "x"], ["a"]], {"a", "b"})
    [(['a'], 'b')]
    """
    known = [([token for token in items[:-1] if token in catalogue], items[-1]) for items in histories]
    return [(seen, item) for seen, item in known if seen and item in catalogue]


def users_left_out(histories: Sequence[Sequence[str]], catalogue: Sequence[str]) -> str:
    """Return one line on the users whom accuracy cannot be measured on; empty where there are none.

    Args:
        histories: from `read_histories`.
        catalogue: item ids.
    """
    known = {*catalogue}
    left_out = len(histories) - len(tested(histories, known))
    if not left_out:
        return ""
    unknown = next((token for items in histories for token in items if token not in known), None)
    such = "" if unknown is None else f" (such as {unknown!r}; the catalogue has {catalogue[0]!r})"
    return (
        f"histories: {left_out:,} of {counted(len(histories), 'user')} left out, without a history and a test item of "
        f"the catalogue{such}"
    )


def _metrics(found: np.ndarray, topk: list[int]) -> dict[str, float]:
    metrics = {"hit": hits, "ndcg": ndcg}
    return {f"{name}@{k}": round(float(of(found, k).mean()), 4) for k in topk for name, of in metrics.items()}
