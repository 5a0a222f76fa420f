"""Detection of extraction in an access log: histories, windows and API keys that are not like benign users'."""

import os
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from recbole_gro.config.files import value_of
from recbole_gro.config.settings import declared_keys
from recbole_gro.config.values import as_names
from recbole_gro.data.histories import read_histories
from recbole_gro.detection import detectors
from recbole_gro.detection.benign import BenignHistories
from recbole_gro.detection.calibration import CalibratedDetector, calibrated
from recbole_gro.detection.histories import LoggedHistories, logged_histories, padded, versions_read
from recbole_gro.detection.judgement import judge
from recbole_gro.detection.looks import LOOKS
from recbole_gro.detection.settings import DetectionSettings
from recbole_gro.detection.traces import Tracer
from recbole_gro.http_service.detect_report import write_detection
from recbole_gro.http_service.logs import LoggedQueries, read_log
from recbole_gro.serving.saved_target import SavedTarget, load_target
from recbole_gro.serving.settings import ServiceSettings
from recbole_gro.utils.errors import UserError
from recbole_gro.utils.log import say
from recbole_gro.utils.random_state import global_state_kept, seeded, stage_seed
from recbole_gro.utils.units import counted
from recbole_gro.utils.work_folder import refuse_other_work, work_folder

MOST_BENIGN = 2000  # users that thresholds come from
AT_ONCE = 2**12  # histories that are traced at a time
OF_KEYS = ("histories", "flagged", "reached", "unusual", "evidence", "key_flagged")


@global_state_kept()
def run_detect(
    target: str,
    log: str,
    benign: str | None = None,
    output: str | None = None,
    settings: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """Judge the queries of an access log, write a report, and return the contents of results.json.

    A detector that draws from the process's generators draws the same in each command of the same arguments: they are
    seeded from the seed of the target's run.

    Args:
        target: checkpoint of the served model.
        log: as of `read_log`.
        benign: RecBole's atomic file of benign users' histories; None: the data that the target was trained on.
        output: folder of the report, new or empty; None: runs/detect-TIME.
        settings: of DetectionSettings, ServiceSettings and of the detectors; values may be texts.

    Raises:
        UserError: invalid input.
    """
    served = load_target(target)
    own = detection_settings(served, settings or {})
    tracer = Tracer(served.model, ServiceSettings.of(served.config).served_k)
    queries = read_log(log, token_ids(served))
    if unjudged := _left_out(queries):
        say(unjudged)
    folder = work_folder(output, "detect")
    refuse_other_work(folder)
    with_thresholds = calibrate(served, tracer, benign, own)
    names = list(dict.fromkeys(queries.keys))
    number = {name: place for place, name in enumerate(names)}
    keys = torch.tensor([number[name] for name in queries.keys])
    logged = logged_histories(queries.histories, keys)
    read, history = versions_read(queries.histories, keys, logged, tracer.longest)
    items = padded([queries.histories[row] for row in read.tolist()], tracer.longest)
    left_out = torch.tensor([max(0, len(queries.histories[row]) - tracer.longest) for row in read.tolist()])
    left_out += logged.dropped[read]
    traces = (tracer.trace(part) for part in items.split(AT_ONCE))
    with seeded(stage_seed(served.config["seed"], "detection")):  # a detector of a user's own may draw
        found = judge(with_thresholds, traces, keys[logged.rows], own, history=history, left_out=left_out)
    results = {
        "target": str(target),
        "log": str(log),
        "benign": benign or "the target's data",
        "false_positive_rate": own.false_positive_rate,
        "window": own.detection_window,
        "queries": len(queries.histories),
        "histories": len(logged.rows),
        "left_out": queries.left_out,
        "unanswered": queries.unanswered,
        "unknown_items": queries.unknown,
        "detectors": {
            name: _thresholds(with_thresholds[name]) | _facts(one, queries, logged, names)
            for name, one in found.items()
        },
    }
    write_detection(results, folder)
    return results


def _left_out(queries: LoggedQueries) -> str:
    """Return one line on what of a log is not judged; nothing where all of it is."""
    parts, without = [], queries.left_out - queries.refused
    if n := queries.refused:
        parts.append(counted(n, "refused history", "refused histories"))
    if without:
        parts.append(f"{counted(without, 'history', 'histories')} without an item of the target's catalogue")
    if n := queries.unknown:
        own = counted(queries.incomplete, "history", "histories")
        parts.append(f"{counted(n, 'item')} of {own} that the catalogue does not have; {queries.example}")
    return f"log: left out: {', and '.join(parts)}" if parts else ""


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
        given: settings of DetectionSettings, ServiceSettings and of the detectors; values may be texts.

    Raises:
        UserError: one is invalid.
    """
    of_detectors = {key for name in detectors for own in detectors[name].settings for key in own.names}
    known = {*DetectionSettings.names, *ServiceSettings.names} | of_detectors
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
        UserError: the file is invalid or does not exist, has too few users, or is of another catalogue.
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
    histories = read_histories(file, config)
    known = [[ids[token] for token in row if token in ids] for row in histories]
    n_items, n_known = (sum(map(len, rows)) for rows in (histories, known))
    known = [row for row in known if row]
    draw = torch.Generator().manual_seed(0)
    kept = torch.randperm(len(known), generator=draw)[:MOST_BENIGN].sort().values
    if not known:
        raise UserError(f"benign: {file}: no user has an item of the target's catalogue")
    absent = f"{n_items - n_known:,} of the {n_items:,} items in {file} are not in the target's catalogue"
    if n_known < n_items / 2:
        raise UserError(f"benign: {absent}; give histories of users of the service")
    if n_known < n_items:
        say(f"benign: {absent}; thresholds come from the others, of {len(known):,} of {len(histories):,} users")
    say(f"thresholds: {', '.join(as_names(own.detector))} score what {len(kept):,} benign users may have sent")
    users = BenignHistories(tracer, [known[row] for row in kept.tolist()])
    with seeded(stage_seed(config["seed"], "detectors")):  # as a grid does
        return calibrated(as_names(own.detector), config, users, own.false_positive_rate, own.detection_window)


def _thresholds(detector: CalibratedDetector) -> dict[str, Any]:
    """Return the scores above which histories and windows are flagged."""
    return {name: round(getattr(detector, name), 4) for name in ("threshold", "window_threshold")}


def _facts(
    found: dict[str, Tensor], queries: LoggedQueries, logged: LoggedHistories, names: list[str]
) -> dict[str, Any]:
    """Return what results.json holds of a detector: keys, and flagged histories and windows, the worst first."""
    alarms, scores, starts = found["alarms"], found["scores"], found["window_start"]
    flagged = (alarms > 0).nonzero().squeeze(1)
    worst = flagged[scores[flagged].argsort(descending=True, stable=True)].tolist()
    items = logged.dropped[logged.rows] + torch.tensor([len(queries.histories[row]) for row in logged.rows.tolist()])
    windows = found["window_flagged"].nonzero().squeeze(1).tolist()

    def at(row: int) -> dict[str, Any]:
        place = int(logged.rows[row])
        query, history = queries.places[place]
        return {"key": queries.keys[place], "time": queries.times[place], "query": query, "history": history}

    return {
        "flagged_histories": len(worst),
        "keys": [
            {
                "key": name,
                "histories": int(n),
                "flagged": int(bad),
                "looks": {
                    str(n): {"histories": had, "unusual": unusual}
                    for n, had, unusual in zip(LOOKS, reached.tolist(), of_these.tolist(), strict=True)
                },
                "log_evidence": round(float(e), 2),
                "alarm": bool(a),
            }
            for name, n, bad, reached, of_these, e, a in zip(names, *(found[part] for part in OF_KEYS), strict=True)
        ],
        "windows": len(starts),
        "flagged_windows": [
            at(int(starts[place])) | {"score": round(float(found["window_scores"][place]), 4)} for place in windows
        ],
        "histories": [
            at(row)
            | {"items": int(items[row]), "alarm_after": int(alarms[row])}
            | {"score": round(float(scores[row]), 4)}
            for row in worst
        ],
    }
