"""API keys of an experiment on detection: when that of an attack is flagged, and how many of users' keys are."""

from collections.abc import Mapping

import torch
from torch import Tensor

from recbole_gro.detection.api_keys import KeyCounts, highest_evidence, key_evidence, threshold_of
from recbole_gro.detection.benign import SLIDING, STEPS, BenignHistories
from recbole_gro.detection.calibration import CalibratedDetector, Judged, joined_judgements
from recbole_gro.detection.histories import SHORTEST_SLIDING
from recbole_gro.detection.looks import LOOKS


def lists_before_alarm(judged: Judged, lengths: Tensor, detector: CalibratedDetector, rate: float) -> tuple[int, bool]:
    """Return the lists answered before the key of an attack is flagged, and whether it is.

    The histories grow side by side, one item each in turn, as the query strategies do.

    Args:
        judged: what the detector says of the S histories.
        lengths: [S] items of each.
        detector: with its thresholds.
        rate: of false positives.
    """
    step = torch.arange(1, int(lengths.max()) + 1).unsqueeze(1)

    def so_many(marks: Tensor) -> Tensor:
        """Count marks [steps, S] by step, then by history."""
        return marks.flatten().long().cumsum(0)

    answered = so_many(step <= lengths)
    at_look = [(step == n) & (lengths >= n) for n in LOOKS]
    counts = KeyCounts(
        answered.clamp(max=len(lengths)),
        so_many((step == judged.alarms) & (judged.alarms > 0)),
        torch.stack([so_many(marks) for marks in at_look], 1),
        torch.stack([so_many(marks & (look == 1)) for marks, look in zip(at_look, judged.looks.T, strict=True)], 1),
    )
    alarm = key_evidence(counts, detector, rate) > threshold_of(rate)
    if not bool(alarm.any()):
        return int(lengths.sum()), False
    return int(answered[int(alarm.int().argmax())]), True


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
        owners = []
        for traces, of_part in users.sliding(n, step) if n <= longest else ():
            owners.append(of_part)
            for name, detector in detectors.items():
                parts[name].append(detector.judged(traces))
        if owners:
            for name, detector in detectors.items():
                found = keys_flagged(joined_judgements(parts[name]), torch.cat(owners), detector, rate)
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
