"""Accuracy of a service and its surrogate on the test histories of the owner."""

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
    known = [[token for token in items[:-1] if live.known([token])] for items in histories]
    kept = [(seen, items[-1]) for seen, items in zip(known, histories, strict=True) if seen and live.known(items[-1:])]
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


def _metrics(found: np.ndarray, topk: list[int]) -> dict[str, float]:
    metrics = {"hit": hits, "ndcg": ndcg}
    return {f"{name}@{k}": round(float(of(found, k).mean()), 4) for k in topk for name, of in metrics.items()}
