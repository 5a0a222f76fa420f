"""Detection of model extraction in queries: detectors, their thresholds from benign users, decisions per API key."""

from recbole_gro.detection.base import Detector, create_detector, detectors, register_detector
from recbole_gro.detection.coverage import CoverageDetector
from recbole_gro.detection.mmd import MMDDetector
from recbole_gro.detection.prada import PRADADetector
from recbole_gro.detection.transitions import TransitionsDetector

__all__ = [
    "CoverageDetector",
    "Detector",
    "MMDDetector",
    "PRADADetector",
    "TransitionsDetector",
    "create_detector",
    "detectors",
    "register_detector",
]
