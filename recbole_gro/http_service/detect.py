"""Detection of extraction in an access log: histories, windows and API keys that are not like benign users'."""

import datetime
import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from recbole_gro.config.files import value_of
from recbole_gro.config.settings import declared_keys
from recbole_gro.config.values import as_names
from recbole_gro.data.histories import read_histories
from recbole_gro.detection import detectors
from recbole_gro.detection.calibration import CalibratedDetector, benign_traces
from recbole_gro.detection.histories import maximal, padded
from recbole_gro.detection.keys import key_is_flagged, log_evidence
from recbole_gro.detection.settings import DetectionSettings
from recbole_gro.detection.traces import Tracer, Traces, joined
from recbole_gro.http_service.detect_report import write_detection
from recbole_gro.http_service.logs import LoggedQueries, read_log
from recbole_gro.serving.saved_target import SavedTarget, load_target
from recbole_gro.serving.settings import ServiceSettings
from recbole_gro.utils.errors import UserError

MOST_BENIGN = 2000  # users that thresholds come from
AT_ONCE = 2**12  # histories that are traced at a time
NEVER = 2**62  # items after which a history that is not flagged is


def run_detect(
    target: str,
    log: str,
    benign: str | None = None,
    output: str | None = None,
    settings: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """Judge the queries of an access log, write a report, and return the contents of results.json.

    Args:
        target: checkpoint of the served model.
        log: as of `read_log`.
        benign: RecBole's atomic file of benign users' histories; None: the data that the target was trained on.
        output: folder of the report; None: runs/detect-TIME.
        settings: of DetectionSettings and of the detectors; values may be texts.

    Raises:
        UserError: invalid input.
    """
    served = load_target(target)
    own = detection_settings(served, settings or {})
    tracer = Tracer(served.model, ServiceSettings.of(served.config).served_k)
    queries = read_log(log, token_ids(served))
    if output and os.path.exists(output) and not os.path.isdir(output):
        raise UserError(f"output: {output} is a file; it takes a folder")
    folder = Path(output or f"runs/detect-{datetime.datetime.now():%Y%m%d-%H%M%S-%f}")
    calibrated = calibrate(served, tracer, benign, own)
    names = list(dict.fromkeys(queries.keys))
    number = {name: place for place, name in enumerate(names)}
    keys = torch.tensor([number[name] for name in queries.keys])
    rows, history_of = maximal(queries.histories, keys)
    rows = rows[keys[rows].argsort(stable=True)]  # those of a key together, in the order of their arrival
    place = torch.zeros(len(keys), dtype=torch.long)
    place[rows] = torch.arange(len(rows))
    read, history = _read_by_the_model(queries.histories, keys, place[history_of], tracer.longest)
    items = padded([queries.histories[row] for row in read.tolist()], tracer.longest)
    left_out = torch.tensor([max(0, len(queries.histories[row]) - tracer.longest) for row in read.tolist()])
    traces = (tracer.trace(part) for part in items.split(AT_ONCE))
    found = judged(calibrated, traces, keys[rows], own, history=history, left_out=left_out)
    results = {
        "target": str(target),
        "log": str(log),
        "benign": benign or "the target's data",
        "false_positive_rate": own.false_positive_rate,
        "window": own.detection_window,
        "queries": len(queries.histories),
        "histories": len(rows),
        "left_out": queries.left_out,
        "unknown_items": queries.unknown,
        "detectors": {name: _facts(one, queries, rows, names) for name, one in found.items()},
    }
    write_detection(results, folder)
    return results


def _read_by_the_model(
    histories: Sequence[Sequence[int]], keys: Tensor, history: Tensor, longest: int
) -> tuple[Tensor, Tensor]:
    """Return which versions of histories are judged [n], and which history each is a version of [n].

    That is the longest one of those that the model reads as a whole, whose score up to any of its items is known, and
    each of the longer ones, of which it reads the most recent items. The last version of a history comes last.

    Args:
        histories: all that were logged.
        keys: [N] number of the API key.
        history: [N] number of the history that each is a version of.
        longest: items that the model reads.
    """
    lengths = torch.tensor([len(one) for one in histories])
    short = (lengths <= longest).nonzero().squeeze(1)
    kept, _ = maximal([histories[row] for row in short.tolist()], keys[short])
    long = {(int(history[row]), len(histories[row])): row for row in reversed(range(len(histories)))
            if lengths[row] > longest}  # fmt: skip
    read = torch.cat([short[kept], torch.tensor([*long.values()], dtype=torch.long)])
    read = read[lengths[read].argsort(stable=True)]
    read = read[history[read].argsort(stable=True)]
    return read, history[read]


def token_ids(target: SavedTarget) -> dict[str, int]:
    """Return the item id of each token of a target.

    Raises:
        UserError: its checkpoint holds no tokens.
    """
    if target.item_tokens is None:
        raise UserError("target: the checkpoint holds no item tokens, as a surrogate's; give a target")
    return {token: item for item, token in enumerate(target.item_tokens) if item}


def detection_settings(target: SavedTarget, given: Mapping[str, Any]) -> DetectionSettings:
    """Return the settings of detection, which the target's config has from then on.

    Args:
        target: that is served.
        given: settings of DetectionSettings and of the detectors; values may be texts.

    Raises:
        UserError: one is invalid.
    """
    of_detectors = {key for name in detectors for own in detectors[name].settings for key in own.names}
    known = {*DetectionSettings.names} | of_detectors
    for name, value in given.items():
        if name not in known:
            raise UserError(f"{name}: no setting of detection; it reads {', '.join(sorted(known))}")
        read = value_of(name, value) if isinstance(value, str) else value
        declared_keys()[name].check(read)
        target.config[name] = read
    own = DetectionSettings.of(target.config)
    for name in as_names(own.detector):
        detectors[name]  # an unknown one ends here, before anything is computed
    return own


def calibrate(
    target: SavedTarget, tracer: Tracer, benign: str | None, own: DetectionSettings
) -> dict[str, CalibratedDetector]:
    """Return the detectors that settings name, with thresholds from benign users.

    Args:
        target: that is served.
        tracer: of its model.
        benign: atomic file of users' histories; None: the data that the target was trained on.
        own: settings.

    Raises:
        UserError: the file is invalid or does not exist, or has too few users.
    """
    config = target.config
    file = benign or os.path.join(config["data_path"], f"{config['dataset']}.inter")
    if not os.path.exists(file):
        hint = (
            "no such file"
            if benign
            else "the target's data are not here; give histories of benign users with --benign=FILE"
        )
        raise UserError(f"benign: {file}: {hint}")
    ids = token_ids(target)
    known = [[ids[token] for token in row if token in ids] for row in read_histories(file, config)]
    known = [row for row in known if row]
    draw = torch.Generator().manual_seed(0)
    kept = torch.randperm(len(known), generator=draw)[:MOST_BENIGN].sort().values
    if not known:
        raise UserError(f"benign: {file}: no user has an item of the target's catalogue")
    traces = benign_traces(tracer, padded([known[row] for row in kept.tolist()], tracer.longest))
    return {
        name: CalibratedDetector(name, config, traces, own.false_positive_rate, own.detection_window)
        for name in as_names(own.detector)
    }


def judged(
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
        `flagged`, `evidence` and `key_flagged`; by window [W] `window_start` (row of its first history),
        `window_scores` and `window_flagged`.
    """
    of_versions: dict[str, list[tuple[Tensor, Tensor]]] = {name: [] for name in calibrated}
    history = torch.arange(len(keys)) if history is None else history
    left_out = torch.zeros_like(history) if left_out is None else left_out
    is_last = history != torch.cat([history[1:], torch.tensor([-1])])
    parts, n_traced = [], 0
    for part in traces:
        for name, detector in calibrated.items():
            of_versions[name].append((detector.alarms(part), detector.scores(part).amax(1)))
        last = is_last[n_traced : n_traced + len(part)].nonzero().squeeze(1)
        parts.append(part.whole(last, part.lengths[last]))
        n_traced += len(part)
    whole, histories = joined(parts), keys.bincount()
    first = histories.cumsum(0) - histories
    size, whole_windows = own.detection_window, histories // own.detection_window
    number = torch.arange(int(whole_windows.sum()))
    key_of_window = torch.arange(len(histories)).repeat_interleave(whole_windows)
    before = (whole_windows.cumsum(0) - whole_windows)[key_of_window]
    starts = first[key_of_window] + (number - before) * size
    members = (starts.unsqueeze(1) + torch.arange(size)).flatten()
    found = {}
    for name, detector in calibrated.items():
        version_alarms, version_scores = (torch.cat(of_parts) for of_parts in zip(*of_versions[name], strict=True))
        scores = torch.full(keys.shape, -torch.inf).scatter_reduce(0, history, version_scores, "amax")
        after = torch.where(version_alarms > 0, left_out + version_alarms, NEVER)
        alarms = torch.full(keys.shape, NEVER).scatter_reduce(0, history, after, "amin")
        alarms[alarms == NEVER] = 0
        flagged = torch.zeros_like(histories).scatter_add_(0, keys, (alarms > 0).long())
        in_windows, window_flagged = detector.window_alarms(whole[members])
        found[name] = {
            "alarms": alarms,
            "scores": scores,
            "histories": histories,
            "flagged": flagged,
            "evidence": log_evidence(histories, flagged, own.false_positive_rate, detector.benign_users),
            "key_flagged": key_is_flagged(histories, flagged, own.false_positive_rate, detector.benign_users),
            "window_start": starts,
            "window_scores": in_windows,
            "window_flagged": window_flagged,
        }
    return found


def _facts(found: dict[str, Tensor], queries: LoggedQueries, rows: Tensor, names: list[str]) -> dict[str, Any]:
    """Return what results.json holds of a detector: keys, and flagged histories and windows, the worst first."""
    alarms, scores, starts = found["alarms"], found["scores"], found["window_start"]
    flagged = (alarms > 0).nonzero().squeeze(1)
    worst = flagged[scores[flagged].argsort(descending=True, stable=True)].tolist()
    windows = found["window_flagged"].nonzero().squeeze(1).tolist()

    def at(row: int) -> dict[str, Any]:
        place = int(rows[row])
        query, history = queries.places[place]
        return {"key": queries.keys[place], "time": queries.times[place], "query": query, "history": history}

    return {
        "flagged_histories": len(worst),
        "keys": [
            {
                "key": name,
                "histories": int(n),
                "flagged": int(bad),
                "log_evidence": round(float(e), 2),
                "alarm": bool(a),
            }
            for name, n, bad, e, a in zip(
                names, *(found[part] for part in ("histories", "flagged", "evidence", "key_flagged")), strict=True
            )
        ],
        "windows": len(starts),
        "flagged_windows": [
            at(int(starts[place])) | {"score": round(float(found["window_scores"][place]), 4)} for place in windows
        ],
        "histories": [
            at(row)
            | {"items": len(queries.histories[int(rows[row])]), "alarm_after": int(alarms[row])}
            | {"score": round(float(scores[row]), 3)}
            for row in worst
        ],
    }
