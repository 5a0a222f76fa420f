import pytest
import torch
from detection.cases import attack, law_of, thresholds_of, users

from recbole_gro.detection.calibration import Judged
from recbole_gro.detection.judgement import first_alarms, judge, window_starts
from recbole_gro.detection.looks import above
from recbole_gro.detection.settings import DetectionSettings
from recbole_gro.detection.traces import Traces


def test_a_window_has_the_histories_of_one_key():
    detector = thresholds_of("transitions", users(400))
    keys = torch.tensor([0] * 25 + [1] * 4 + [2] * 10)
    own = DetectionSettings.of({"detection_window": 10, "false_positive_rate": 0.05})
    parts = [users(29, seed=4), attack(10)]
    found = judge({"transitions": detector}, parts, keys, own)["transitions"]
    assert found["window_start"].tolist() == [0, 10, 29]
    assert found["window_flagged"].tolist() == [False, False, True]
    assert found["key_flagged"].tolist() == [False, False, True]
    assert found["histories"].tolist() == [25, 4, 10]


@pytest.mark.parametrize("size", [1, 3, 8])
def test_windows_are_whole_and_of_one_key(size):
    histories = torch.randint(0, 20, (30,), generator=torch.Generator().manual_seed(1))
    expected, row = [], 0
    for n in histories.tolist():
        expected += range(row, row + n - size + 1, size)
        row += n
    assert window_starts(histories, size).tolist() == expected


def test_the_first_alarm_of_any_version_counts():
    draw = torch.Generator().manual_seed(2)
    history = torch.randint(9, (40,), generator=draw).sort().values
    alarms, left_out = (torch.randint(4, (40,), generator=draw) for _ in range(2))
    for number, found in enumerate(first_alarms(alarms, left_out, history, 10).tolist()):
        rows = zip(alarms.tolist(), left_out.tolist(), history.tolist(), strict=True)
        assert found == min((n + before for n, before, own in rows if own == number and n), default=0)


def test_the_highest_score_of_any_version_counts():
    class ItemIds:
        """A detector whose score is the item's id."""

        history_law, history_limits = law_of(400, 0.05), [400] * 6
        look_thresholds, look_laws = [torch.inf] * 6, [law_of(400, 0.1)] * 6

        def judged(self, traces):
            nothing = torch.zeros(len(traces), dtype=torch.long)
            return Judged(nothing, traces.items.float().amax(1), torch.zeros(len(traces), 6, dtype=torch.long))

        def window_alarms(self, traces):
            return torch.zeros(0), torch.zeros(0, dtype=torch.bool)

    items = torch.tensor([[5, 9], [7, 3], [2, 4]])
    versions = Traces(items, torch.zeros_like(items), torch.zeros(3, 2, 1), 10, 5)
    own = DetectionSettings.of({"detection_window": 10, "false_positive_rate": 0.05})
    history = torch.tensor([0, 0, 1])
    found = judge({"ids": ItemIds()}, [versions], torch.tensor([0, 0]), own, history=history)["ids"]
    assert found["scores"].tolist() == [9, 4]


def test_keys_are_flagged_by_unusual_histories_of_which_none_is_flagged():
    """The detector's scores are ranks: benign ones up to 1000, those of the second key in the top fifth."""

    class Ranks:
        history_law, history_limits = law_of(999, 0.01), [999] * 6
        look_thresholds, look_laws = [900.0] * 6, [law_of(999, 0.1)] * 6

        def judged(self, traces):
            scores = traces.items.float()
            flags = (scores.amax(1) > 990).long()
            return Judged(flags, scores.amax(1), above(scores, traces.lengths, self.look_thresholds))

        def window_alarms(self, traces):
            return torch.zeros(0), torch.zeros(0, dtype=torch.bool)

    draw = torch.Generator().manual_seed(7)
    items = torch.ones(120, 3, dtype=torch.long)
    items[:60, 2] = torch.randint(1, 990, (60,), generator=draw)
    items[60:, 2] = torch.randint(800, 990, (60,), generator=draw)
    parts = [Traces(items, torch.zeros_like(items), torch.zeros(120, 3, 1), 1001, 5)]
    own = DetectionSettings.of({"detection_window": 100, "false_positive_rate": 0.01})
    found = judge({"ranks": Ranks()}, parts, torch.tensor([0] * 60 + [1] * 60), own)["ranks"]
    assert found["flagged"].tolist() == [0, 0]
    assert found["reached"].tolist() == [[60, 60, 60, 0, 0, 0]] * 2
    assert found["unusual"].tolist() == [[0, 0, int((part > 900).sum()), 0, 0, 0] for part in items[:, 2].split(60)]
    assert found["key_flagged"].tolist() == [False, True]
