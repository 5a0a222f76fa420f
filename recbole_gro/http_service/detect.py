"""Detection of extraction in an access log: histories, windows and API keys that are not like benign users'."""

import datetime
import json
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from recbole_gro.config.config import Config
from recbole_gro.config.files import value_of
from recbole_gro.config.recbole_settings import as_names
from recbole_gro.config.settings import declared_keys
from recbole_gro.data.histories import read_histories
from recbole_gro.detection import detectors
from recbole_gro.detection.calibration import CalibratedDetector, benign_traces
from recbole_gro.detection.histories import maximal, padded
from recbole_gro.detection.keys import key_is_flagged, log_evidence
from recbole_gro.detection.settings import DetectionSettings
from recbole_gro.detection.traces import Tracer, Traces, joined
from recbole_gro.http_service.logs import LoggedQueries, read_log
from recbole_gro.report.document import Block, Heading, Paragraph, Table, csv_text, write_document
from recbole_gro.serving.saved_target import SavedTarget, load_target
from recbole_gro.serving.settings import ServiceSettings
from recbole_gro.utils.errors import UserError
from recbole_gro.utils.files import write_whole
from recbole_gro.utils.log import say

MOST_BENIGN = 2000  # users that thresholds come from
SHOWN = 20  # histories of a table
AT_ONCE = 2**12  # histories that are traced at a time


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
    folder = Path(output or f"runs/detect-{datetime.datetime.now():%Y%m%d-%H%M%S-%f}")
    calibrated = calibrate(served, tracer, benign, own)
    names = list(dict.fromkeys(queries.keys))
    number = {name: place for place, name in enumerate(names)}
    items, keys = padded(queries.histories, tracer.longest), torch.tensor([number[name] for name in queries.keys])
    rows = maximal(items, keys)
    rows = rows[keys[rows].argsort(stable=True)]  # those of a key together, in the order of their arrival
    traces = [tracer.trace(part) for part in items[rows].split(AT_ONCE)]
    found = {name: judged(detector, traces, keys[rows], own) for name, detector in calibrated.items()}
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
    _write(results, folder)
    return results


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
    config: Config = target.config
    file = benign or os.path.join(config["data_path"], f"{config['dataset']}.inter")
    if not os.path.exists(file):
        hint = "no such file" if benign else "the target's data are not here; give histories of benign users"
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
    detector: CalibratedDetector, traces: list[Traces], keys: Tensor, own: DetectionSettings
) -> dict[str, Tensor]:
    """Return what a detector says of histories, which are sorted by key.

    Args:
        detector: with its thresholds.
        traces: of the histories, in parts.
        keys: [N] number of the key of each history.
        own: settings.

    Returns:
        `alarms` [N] items after which a history is flagged, 0 for none; `scores` [N]; by key [K] `histories`,
        `flagged`, `evidence` and `key_flagged`; by window [W] `window_start` (row of its first history),
        `window_scores` and `window_flagged`.
    """
    alarms = torch.cat([detector.alarms(part) for part in traces])
    scores = torch.cat([detector.scores(part).amax(1) for part in traces])
    histories = keys.bincount()
    flagged = torch.zeros_like(histories).scatter_add_(0, keys, (alarms > 0).long())
    first = histories.cumsum(0) - histories
    size, whole_windows = own.detection_window, histories // own.detection_window
    number = torch.arange(int(whole_windows.sum()))
    key_of_window = torch.arange(len(histories)).repeat_interleave(whole_windows)
    before = (whole_windows.cumsum(0) - whole_windows)[key_of_window]
    starts = first[key_of_window] + (number - before) * size
    members = (starts.unsqueeze(1) + torch.arange(size)).flatten()
    whole = joined([part.whole(torch.arange(len(part)), part.lengths) for part in traces])
    in_windows, window_flagged = detector.window_alarms(whole[members])
    return {
        "alarms": alarms,
        "scores": scores,
        "histories": histories,
        "flagged": flagged,
        "evidence": log_evidence(histories, flagged, own.false_positive_rate),
        "key_flagged": key_is_flagged(histories, flagged, own.false_positive_rate),
        "window_start": starts,
        "window_scores": in_windows,
        "window_flagged": window_flagged,
    }


def _facts(found: dict[str, Tensor], queries: LoggedQueries, rows: Tensor, names: list[str]) -> dict[str, Any]:
    """Return what results.json holds of a detector: keys, and flagged histories and windows, the worst first."""
    alarms, scores, starts = found["alarms"], found["scores"], found["window_start"]
    flagged = (alarms > 0).nonzero().squeeze(1)
    worst = flagged[scores[flagged].argsort(descending=True, stable=True)].tolist()
    windows = found["window_flagged"].nonzero().squeeze(1).tolist()

    def at(row: int) -> dict[str, str]:
        return {"key": queries.keys[int(rows[row])], "time": queries.times[int(rows[row])]}

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


def _write(results: dict[str, Any], folder: Path) -> None:
    """Write report.md, report.html, results.csv with the flagged histories, and last results.json."""
    head = ["detector", "key", "time", "items", "alarm_after", "score"]
    lines = [
        [name, *(one[column] for column in head[1:])]
        for name, found in results["detectors"].items()
        for one in found["histories"]
    ]
    blocks = list(report_blocks(results))
    write_document(f"Detection in {Path(results['log']).name}", blocks, csv_text(head, lines), folder)
    write_whole(folder / "results.json", json.dumps(results, indent=2) + "\n")
    for block in blocks[1:3]:
        say(block.markdown())
    say(f"report.md, report.html, results.csv and results.json are in {folder}")


def report_blocks(results: dict[str, Any]) -> Iterator[Block]:
    """Yield the parts of the report.

    Args:
        results: contents of results.json.
    """
    rate, window, found = results["false_positive_rate"], results["window"], results["detectors"]
    yield Paragraph(
        f"{results['queries']:,} answered queries make {results['histories']:,} histories, of which one that extends "
        f"another counts once; {results['left_out']:,} more were refused or have no item of the catalogue."
    )
    yield Heading("Flagged")
    yield Table(
        f"What each detector flags. Thresholds flag at most {rate:.1%} of benign users ({results['benign']}), of "
        f"benign windows of {window} histories, and of benign keys.",
        ["detector", "histories", "share", "windows", "keys"],
        [
            [name, f"{one['flagged_histories']:,}", f"{one['flagged_histories'] / results['histories']:.1%}",
             f"{len(one['flagged_windows'])} of {one['windows']}",
             ", ".join(key["key"] or "(no key)" for key in one["keys"] if key["alarm"]) or "none"]
            for name, one in found.items()
        ],
    )  # fmt: skip
    for name, one in found.items():
        yield Heading(name)
        yield Table(
            "API keys. Evidence: natural logarithm of the e-value against a benign key; an alarm above "
            f"{-torch.tensor(rate).log():.2f}.",
            ["key", "histories", "flagged", "evidence", "alarm"],
            [
                [key["key"] or "(no key)", f"{key['histories']:,}", f"{key['flagged']:,}", f"{key['log_evidence']}",
                 "yes" if key["alarm"] else "no"]
                for key in sorted(one["keys"], key=lambda key: -key["log_evidence"])[:SHOWN]
            ],
        )  # fmt: skip
        if windows := one["flagged_windows"]:
            yield Table(
                f"Flagged windows, {min(SHOWN, len(windows))} of {len(windows)}.",
                ["key", "first query", "score"],
                [[part["key"], part["time"], f"{part['score']}"] for part in windows[:SHOWN]],
                labels=2,
            )
        if rows := one["histories"]:
            yield Table(
                f"Flagged histories, {min(SHOWN, len(rows))} of {len(rows)} (all: results.csv), highest scores first.",
                ["key", "query", "items", "flagged after", "score"],
                [
                    [row["key"], row["time"], f"{row['items']}", f"{row['alarm_after']}", f"{row['score']}"]
                    for row in rows[:SHOWN]
                ],
                labels=2,
            )
