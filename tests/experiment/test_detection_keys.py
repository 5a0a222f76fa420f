import pytest
import torch
from detection.cases import attack, thresholds_of, users

from recbole_gro.detection.calibration import Judged
from recbole_gro.detection.looks import KEY_LOOKS, NOT_REACHED
from recbole_gro.experiment.detection_keys import keys_flagged, lists_before_alarm


class Calibrated:
    benign_users, look_users = 943, [943] * 4


def judged(alarms, lengths, unusual=0):
    looks = torch.full((len(alarms), 4), unusual)
    looks[lengths.unsqueeze(1) < torch.tensor(KEY_LOOKS)] = NOT_REACHED
    return Judged(alarms, alarms.float(), looks)


def test_lists_are_counted_up_to_the_alarm_of_the_key():
    lengths = torch.full((10,), 4)
    # all histories are flagged after two items: the key is when the second or third one of these is answered
    lists, flagged = lists_before_alarm(judged(torch.full((10,), 2), lengths), lengths, Calibrated, 0.01)
    assert flagged
    assert 11 <= lists <= 15
    none = torch.zeros(10).long()
    assert lists_before_alarm(judged(none, lengths), lengths, Calibrated, 0.01) == (40, False)
    short = torch.tensor([1, 3])
    assert lists_before_alarm(judged(none[:2], short), short, Calibrated, 0.01) == (4, False)


def test_unusual_histories_give_the_key_away_when_they_have_the_items_of_a_look():
    lengths = torch.tensor([4] * 30 + [2] * 10)
    none = torch.zeros(40).long()
    lists, flagged = lists_before_alarm(judged(none, lengths, unusual=1), lengths, Calibrated, 0.01)
    assert flagged
    assert 82 <= lists <= 90  # 80 lists are of fewer than three items
    assert lists_before_alarm(judged(none, lengths), lengths, Calibrated, 0.01) == (140, False)


@pytest.mark.parametrize(("traces", "expected"), [(users(400, seed=9), False), (attack(400, seed=9), True)])
def test_keys_of_users_are_not_flagged_and_those_of_an_attack_are(traces, expected):
    detector = thresholds_of("transitions", users(400))
    found = keys_flagged(detector.judged(traces), torch.arange(4).repeat_interleave(100), detector, 0.01)
    assert found.tolist() == [expected] * 4
