"""What detectors say of the histories of a log: of each history, each window of histories and each API key."""

from collections.abc import Iterable, Mapping

import torch
from torch import Tensor

from recbole_gro.detection.api_keys import highest_evidence, threshold_of
from recbole_gro.detection.calibration import CalibratedDetector, Judged, joined_judgements
from recbole_gro.detection.looks import NOT_REACHED, of_first_versions
from recbole_gro.detection.settings import DetectionSettings
from recbole_gro.detection.traces import Traces, joined_traces

NEVER = 2**62  # items after which a history that is not flagged is


def judge(
    calibrated: Mapping[str, CalibratedDetector],
    traces: Iterable[Traces],
    keys: Tensor,
    own: DetectionSettings,
    *,
    history: Tensor | None = None,
    left_out: Tensor | None = None,
) -> dict[str, dict[str, Tensor]]:
    """Return what each detector says of histories, which are sorted by key.

    Args:
        calibrated: detectors with their thresholds, by name.
        traces: of versions of the histories, in parts, of which one is held at a time.
        keys: [N] number of the key of each history.
        own: settings.
        history: [n] number of the history that each trace is a version of, in ascending order, the last version last;
            None: each is a history.
        left_out: [n] items of each before those that are traced; None: 0.

    Returns:
        By name: `alarms` [N] items after which a history is flagged, 0 for none; `scores` [N]; by key [K] `histories`,
        `flagged`, `evidence`, the highest after any history, and `key_flagged`, and [K, looks] `reached` and `unusual`,
        histories that had the items of a look and those of them above its threshold; by window [W] `window_start` (row
        of its first history), `window_scores` and `window_flagged`.
    """
    history = torch.arange(len(keys)) if history is None else history
    left_out = torch.zeros_like(history) if left_out is None else left_out
    of_versions, whole = _judged_versions(calibrated, traces, history)
    histories, size = keys.bincount(), own.detection_window
    starts = window_starts(histories, size)
    members = (starts.unsqueeze(1) + torch.arange(size)).flatten()
    found = {}
    for name, detector in calibrated.items():
        versions = of_versions[name]
        alarms = first_alarms(versions.alarms, left_out, history, len(keys))
        looks = of_first_versions(versions.looks, history, len(keys))
        flagged = torch.zeros_like(histories).scatter_add_(0, keys, (alarms > 0).long())
        evidence = highest_evidence(keys, alarms > 0, looks, detector, own.false_positive_rate)
        in_windows, window_flagged = detector.window_alarms(whole[members])
        found[name] = {
            "alarms": alarms,
            "scores": torch.full(keys.shape, -torch.inf).scatter_reduce(0, history, versions.highest, "amax"),
            "histories": histories,
            "flagged": flagged,
            "reached": _by_key(looks != NOT_REACHED, keys, len(histories)),
            "unusual": _by_key(looks == 1, keys, len(histories)),
            "evidence": evidence,
            "key_flagged": evidence > threshold_of(own.false_positive_rate),
            "window_start": starts,
            "window_scores": in_windows,
            "window_flagged": window_flagged,
        }
    return found


def _by_key(marks: Tensor, keys: Tensor, n_keys: int) -> Tensor:
    """Return how many histories [K, looks] of each key are marked [N, looks]."""
    counts = torch.zeros(n_keys, marks.shape[1], dtype=torch.long)
    return counts.index_add_(0, keys, marks.long())


def _judged_versions(
    calibrated: Mapping[str, CalibratedDetector], traces: Iterable[Traces], history: Tensor
) -> tuple[dict[str, Judged], Traces]:
    """Return what each detector says of each version by itself, and the traces [N] of the last versions."""
    is_last = history != torch.cat([history[1:], torch.tensor([-1])])
    by_name: dict[str, list[Judged]] = {name: [] for name in calibrated}
    last_versions, n_traced = [], 0
    for part in traces:
        for name, detector in calibrated.items():
            by_name[name].append(detector.judged(part))
        last = is_last[n_traced : n_traced + len(part)].nonzero().squeeze(1)
        last_versions.append(part.whole(last, part.lengths[last]))
        n_traced += len(part)
    joined = {name: joined_judgements(parts) for name, parts in by_name.items()}
    return joined, joined_traces(last_versions)


def window_starts(histories: Tensor, size: int) -> Tensor:
    """Return the row [W] of the first history of each window; a key's last histories that fill none are in none.

    Args:
        histories: [K] number of histories of each key, whose rows follow each other.
        size: histories of a window.

    >>> window_starts(torch.tensor([5, 1, 4]), 2)
    tensor([0, 2, 6, 8])
    """
    first_of_key = histories.cumsum(0) - histories
    windows = histories // size
    key = torch.arange(len(histories)).repeat_interleave(windows)
    number_in_key = torch.arange(len(key)) - (windows.cumsum(0) - windows)[key]
    return first_of_key[key] + number_in_key * size


def first_alarms(version_alarms: Tensor, left_out: Tensor, history: Tensor, n: int) -> Tensor:
    """Return after how many items each history is flagged first, in any of its versions [N]; 0 for none.

    Args:
        version_alarms: [n] items of a version that are read until it is flagged; 0 for none.
        left_out: [n] items of each before those that are read.
        history: [n] number of the history that each is a version of.
        n: number N of histories.

    >>> first_alarms(torch.tensor([0, 3, 2, 0]), torch.tensor([0, 0, 5, 0]), torch.tensor([0, 1, 1, 2]), 3)
    tensor([0, 3, 0])
    """
    after = torch.where(version_alarms > 0, left_out + version_alarms, NEVER)
    first = torch.full((n,), NEVER).scatter_reduce(0, history, after, "amin")
    return first.masked_fill(first == NEVER, 0)
