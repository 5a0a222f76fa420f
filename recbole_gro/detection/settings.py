"""Settings of detection."""

from typing import Any

from recbole_gro.config.settings import Settings, key

READER = "recbole-gro detect, or an experiment on detection,"  # what reads the settings


class DetectionSettings(Settings):
    """Detectors and their false positives."""

    section = "Defense"
    detector: Any = key(
        ["transitions", "coverage", "mmd", "prada"],
        "names of detector",
        "recbole-gro detect, experiment detection: detectors of extraction, each with thresholds of its own",
    )
    false_positive_rate: float = key(
        0.01,
        "float 0<..<1",
        "detect, experiment detection: share of benign users that a detector may flag, whatever length of their "
        "history is queried; likewise of windows and of API keys",
    )
    detection_window: int = key(
        100, "int >= 8", "detect: histories of an API key that are judged together, in the order of their arrival"
    )
