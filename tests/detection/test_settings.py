from recbole_gro.detection import detectors
from recbole_gro.detection.settings import DetectionSettings


def test_every_detector_of_the_package_is_used_by_default():
    assert set(DetectionSettings.of({}).detector) == set(detectors)
