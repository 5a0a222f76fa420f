import sqlite3
from types import SimpleNamespace

import pytest
import torch
from detection.cases import Thresholds, attack, thresholds_of, users

from recbole_gro.detection.calibration import Judged
from recbole_gro.detection.looks import LOOKS, NOT_REACHED
from recbole_gro.experiment.detection_keys import (
    counts_while_growing,
    keys_flagged,
    lists_before_alarm,
    own_keys_flagged,
)
from recbole_gro.http_service import known_histories, look_counts
from recbole_gro.http_service.known_histories import KnownHistories
from recbole_gro.http_service.look_counts import LookCounts


def different(lengths):
    """Return items of histories of so many items, no two of which begin alike."""
    longest = int(lengths.max())
    items = torch.arange(1, len(lengths) * longest + 1).view(len(lengths), -1)
    return items * (torch.arange(longest) < lengths.unsqueeze(1))


def judged(alarms, lengths, unusual=()):
    """Return what a detector says of histories that are unusual at some numbers of items."""
    looks = torch.tensor([int(n in unusual) for n in LOOKS]).repeat(len(alarms), 1)
    looks[lengths.unsqueeze(1) < torch.tensor(LOOKS)] = NOT_REACHED
    return Judged(alarms, alarms.float(), looks)


def test_lists_are_counted_up_to_the_alarm_of_the_key():
    lengths = torch.full((10,), 4)
    # all histories are flagged after two items: the key is when the second or third one of these is answered
    items, detector = different(lengths), Thresholds(943, 943)
    lists, flagged = lists_before_alarm(judged(torch.full((10,), 2), lengths), items, detector, 0.01)
    assert flagged
    assert 11 <= lists <= 15
    none = torch.zeros(10).long()
    assert lists_before_alarm(judged(none, lengths), items, detector, 0.01) == (40, False)
    short = torch.tensor([1, 3])
    assert lists_before_alarm(judged(none[:2], short), different(short), detector, 0.01) == (4, False)


@pytest.mark.parametrize(("unusual", "before"), [((1,), 0), ((2,), 40), ((2, 3, 5), 40)])
def test_unusual_histories_give_the_key_away_when_they_have_the_items_of_a_look(unusual, before):
    lengths = torch.tensor([4] * 30 + [1] * 10)
    none, items, detector = torch.zeros(40).long(), different(lengths), Thresholds(943, 943)
    lists, flagged = lists_before_alarm(judged(none, lengths, unusual), items, detector, 0.01)
    assert flagged
    assert before + 3 <= lists <= before + 12  # 40 lists are of one item
    assert lists_before_alarm(judged(none, lengths), items, detector, 0.01) == (130, False)


def test_equal_histories_of_an_attack_are_no_evidence():
    items, detector = torch.full((40, 1), 7), Thresholds(943, 943)
    found = judged(torch.zeros(40).long(), torch.ones(40), unusual=(1,))
    assert lists_before_alarm(found, items, detector, 0.01) == (40, False)


@pytest.mark.parametrize("seed", range(6))
def test_counts_of_growing_histories_are_those_of_a_service(seed):
    """Of few items, so that many begin alike and fork."""
    draw = torch.Generator().manual_seed(seed)
    lengths = torch.randint(1, 5, (25,), generator=draw)
    items = torch.randint(1, 4, (25, 4), generator=draw) * (torch.arange(4) < lengths.unsqueeze(1))
    alarms = ((items == 2).int().argmax(1) + 1) * (items == 2).any(1)
    looks = torch.stack([(items[:, min(n, 4) - 1] == 3).long() for n in LOOKS], 1)
    looks[lengths.unsqueeze(1) < torch.tensor(LOOKS)] = NOT_REACHED
    found = counts_while_growing(Judged(alarms, alarms.float(), looks), items)
    with sqlite3.connect(":memory:") as database:
        for tables in (known_histories, look_counts):
            database.executescript(tables.TABLES)
        known, counts, totals = KnownHistories(database, 1), LookCounts(database, 1), torch.zeros(2).long()
        for place, (step, row) in enumerate((step, row) for step in range(1, 5) for row in range(25)):
            if lengths[row] >= step:
                noted = known.note(1, items[row, :step].tolist(), bool(0 < alarms[row] <= step))
                totals += torch.tensor([noted.histories, noted.flagged])
                reached = [int(look) if n <= step else NOT_REACHED for n, look in zip(LOOKS, looks[row], strict=True)]
                if noted.line is not None:
                    counts.note(1, noted.line, noted.window, reached)
            assert [int(found.histories[place]), int(found.flagged[place])] == totals.tolist()
            at_looks = zip(found.reached[place].tolist(), found.unusual[place].tolist(), strict=True)
            assert [*at_looks] == counts.of(1, len(LOOKS))


@pytest.mark.parametrize(("traces", "expected"), [(users(400, seed=9), False), (attack(400, seed=9), True)])
def test_keys_of_users_are_not_flagged_and_those_of_an_attack_are(traces, expected):
    detector = thresholds_of("transitions", users(400))
    found = keys_flagged(detector.judged(traces), torch.arange(4).repeat_interleave(100), detector, 0.01)
    assert found.tolist() == [expected] * 4


def test_each_user_who_has_a_key_counts_once_whichever_client_has_it_flagged():
    class Users:
        """Windows of 1 item of users 0 and 3, of 2 of user 4, of 4 of users 0 and 2, of 10 of user 2, and of 12 of
        users 1, 2 and 3. All are different, but for those of 1 item of user 0, who sends one again and again."""

        def __len__(self):
            return 5

        def sliding(self, n, step):
            owners = {
                1: [0] * 30 + [3] * 30,
                2: [4] * 30,
                4: [0] * 30 + [2] * 30,
                10: [2] * 20,
                12: [1] * 10 + [2] * 10 + [3] * 40,
            }[n]
            items = torch.arange(1, n * len(owners) + 1).view(-1, n)
            items = items.where(torch.tensor(n > 1) | (torch.tensor(owners) > 0).unsqueeze(1), 1)
            for rows in torch.arange(len(owners)).split(25):
                yield SimpleNamespace(items=items[rows]), torch.tensor(owners)[rows]

    class Unusual(Thresholds):
        def __init__(self, lengths):
            super().__init__(943, 943)
            self.lengths = lengths

        def judged(self, traces):
            size, n = traces.items.shape
            return judged(torch.zeros(size).long(), torch.full((size,), n), unusual=LOOKS if n in self.lengths else ())

    detectors = {
        "never": Unusual([]),
        "of 1": Unusual([1]),
        "of 2": Unusual([2]),
        "of 4": Unusual([4]),
        "of 12": Unusual([12]),
        "both": Unusual([4, 12]),
    }
    found = own_keys_flagged(detectors, Users(), 12, 0.01)
    assert found == {"never": 0.0, "of 1": 0.2, "of 2": 0.2, "of 4": 0.4, "of 12": 0.6, "both": 0.8}
    assert own_keys_flagged({"of 4": Unusual([4])}, Users(), 4, 0.01) == {"of 4": 0.4}
