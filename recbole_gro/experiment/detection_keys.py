"""API keys of an experiment on detection: when that of an attack is flagged, and how many of users' keys are."""

from collections.abc import Mapping

import torch
from torch import Tensor

from recbole_gro.detection.api_keys import KeyCounts, highest_evidence, key_evidence, threshold_of
from recbole_gro.detection.benign import SLIDING, STEPS, BenignHistories
from recbole_gro.detection.calibration import CalibratedDetector, Judged, joined_judgements
from recbole_gro.detection.histories import SHORTEST_SLIDING
from recbole_gro.detection.looks import LOOKS


def lists_before_alarm(judged: Judged, items: Tensor, detector: CalibratedDetector, rate: float) -> tuple[int, bool]:
    """Return the lists answered before the key of an attack is flagged, and whether it is.

    The histories grow side by side, one item each in turn, as the query strategies do.

    Args:
        judged: what the detector says of the S histories.
        items: [S, L] of each, padded right with 0.
        detector: with its thresholds.
        rate: of false positives.
    """
    lengths = (items != 0).sum(1)
    counts = counts_while_growing(judged, items)
    alarm = key_evidence(counts, detector, rate) > threshold_of(rate)
    answered = (torch.arange(1, items.shape[1] + 1).unsqueeze(1) <= lengths).flatten().long().cumsum(0)
    if not bool(alarm.any()):
        return int(lengths.sum()), False
    return int(answered[int(alarm.int().argmax())]), True


def counts_while_growing(judged: Judged, items: Tensor) -> KeyCounts:
    """Return what one API key has sent after each of the queries [L S] of histories that grow side by side.

    As a service counts (`KnownHistories`, `LookCounts`): equal beginnings are one history until they go on differently;
    each further one of these then counts as a history of its own, and at the looks of what they have in common.

    Args:
        judged: what the detector says of the S histories.
        items: [S, L] of each, padded right with 0.
    """
    n, looks = len(items), torch.tensor(LOOKS)
    unusual = judged.looks == 1
    beginning = torch.zeros(n, dtype=torch.long)  # number of what each history begins with, after the step before
    histories, flagged, reached, above = [], [], [], []
    for step, of_step in enumerate(items.T, 1):  # an item of the histories, not a history
        sent = of_step != 0
        _, now = torch.stack([beginning, of_step]).unique(dim=1, return_inverse=True)
        is_new = sent & _is_first(now, sent)
        is_fork = is_new & ~_is_first(beginning, is_new) if step > 1 else is_new
        is_flagged = (judged.alarms > 0) & (judged.alarms <= step)
        was_flagged = (judged.alarms > 0) & (judged.alarms < step) & ~is_fork
        counted = (is_new.unsqueeze(1) & (looks == step)) | (is_fork.unsqueeze(1) & (looks < step))
        histories.append(is_fork)
        flagged.append((is_flagged.long() - was_flagged.long()) * is_new)
        reached.append(counted)
        above.append(counted & unusual)
        beginning = now
    return KeyCounts(*(torch.cat(part).long().cumsum(0) for part in (histories, flagged, reached, above)))


def _is_first(values: Tensor, counted: Tensor) -> Tensor:
    """Return whether each of values [S], from 0, is the first one that is equal, of those that count.

    >>> _is_first(torch.tensor([0, 0, 1, 0]), torch.tensor([False, True, True, True])).tolist()
    [False, True, True, False]
    """
    place = torch.arange(len(values)).where(counted, len(values))
    first = torch.full((int(values.max()) + 1,), len(values)).scatter_reduce(0, values, place, "amin")
    return counted & (first[values] == place)


def own_keys_flagged(
    detectors: Mapping[str, CalibratedDetector], users: BenignHistories, longest: int, rate: float
) -> dict[str, float]:
    """Return by detector the share of users who are flagged where each has an API key, by any of five clients.

    These are the ones whose queries count as many histories, though they are of one user: the most recent 1, 2 or 4
    items are sent at each step, 10 items at every second step, or all that the model reads whenever a fifth is new.

    Args:
        detectors: with their thresholds.
        users: who gave no threshold.
        longest: items that the model reads.
        rate: of false positives.
    """
    flagged = {name: torch.zeros(len(users), dtype=torch.bool) for name in detectors}
    clients = [(1, 1), (2, 1), (SHORTEST_SLIDING - 1, 1), (SLIDING, SLIDING // STEPS)]
    for n, step in (*clients, (longest, max(1, longest // STEPS))):
        parts: dict[str, list[Judged]] = {name: [] for name in detectors}
        sent = []
        for traces, of_part in users.sliding(n, step) if n <= longest else ():
            sent.append(torch.cat([of_part.unsqueeze(1), traces.items], 1))
            for name, detector in detectors.items():
                parts[name].append(detector.judged(traces))
        if sent:
            queries = torch.cat(sent)
            kept = _is_first(queries.unique(dim=0, return_inverse=True)[1], torch.ones(len(queries), dtype=torch.bool))
            for name, detector in detectors.items():
                different = Judged(*(part[kept] for part in joined_judgements(parts[name])))
                found = keys_flagged(different, queries[kept, 0], detector, rate)
                flagged[name][: len(found)] |= found
    return {name: float(of_users.double().mean()) for name, of_users in flagged.items()}


def keys_flagged(judged: Judged, keys: Tensor, detector: CalibratedDetector, rate: float) -> Tensor:
    """Return whether each key [K] is flagged after any of its histories.

    Args:
        judged: what the detector says of the N histories.
        keys: [N] number of the key of each, in ascending order.
        detector: with its thresholds.
        rate: of false positives.
    """
    return highest_evidence(keys, judged.alarms > 0, judged.looks, detector, rate) > threshold_of(rate)
