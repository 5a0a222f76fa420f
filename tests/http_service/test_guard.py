import re
import sqlite3
from pathlib import Path

import pytest
import torch
from detection.cases import law_of

from recbole_gro import load_target
from recbole_gro.defense.keyed_randomness import KeyedDraws
from recbole_gro.detection.api_keys import log_evidence, threshold_of
from recbole_gro.detection.calibration import Judged
from recbole_gro.detection.histories import logged_histories, padded, versions_read
from recbole_gro.detection.looks import LOOKS, NOT_REACHED, above, of_first_versions
from recbole_gro.detection.traces import Tracer
from recbole_gro.http_service.guard import Found, Guard, alarm_totals
from recbole_gro.http_service.known_histories import digests_of
from recbole_gro.http_service.ledger import Ledger


class LongIsBad:
    """Flags histories with item 7 after as many items as come before it, and one."""

    name, threshold = "stub", 1.0
    look_thresholds = [torch.inf] * len(LOOKS)  # of too few users for decisions by looks
    history_law, history_limits, look_laws = law_of(943, 0.01), [10**9] * len(LOOKS), [law_of(943, 0.1)] * len(LOOKS)

    def judged(self, traces):
        alarms = ((traces.items == 7).int().argmax(1) + 1) * (traces.items == 7).any(1)
        unusual = above((traces.items >= 25).float() * 9, traces.lengths, [5.0] * len(LOOKS))
        return Judged(alarms, alarms.float(), unusual)


def key_is_flagged(histories, flagged, rate, benign):
    """Return whether a key is flagged by its flagged histories alone."""
    found = log_evidence(torch.tensor([histories]), torch.tensor([flagged]), rate, law_of(benign, rate))
    return float(found) > threshold_of(rate)


def found(histories, is_flagged):
    """Return what a detector says that flags some histories, and has no looks."""
    return [Found(is_flagged(history), [NOT_REACHED] * len(LOOKS)) for history in histories]


@pytest.fixture
def guard(checkpoint_of, tmp_path):
    target = load_target(checkpoint_of("GRU4Rec"))
    made, ledger = [], Ledger(tmp_path / "service.db")
    for name in ("ann", "bob", "cay", "dan", "eve", "fay"):
        ledger.create_key(name)

    def make(rate=0.01):
        draws = KeyedDraws(target.config, "alarm")
        made.append(Guard(LongIsBad(), Tracer(target.model, 12), tmp_path / "service.db", rate, draws))
        return made[-1]

    yield make
    for one in made:
        one.close()


def state(tmp_path):
    with sqlite3.connect(tmp_path / "service.db") as database:
        return database.execute("SELECT key, histories, flagged, alarm FROM suspicion ORDER BY judge, key").fetchall()


def test_a_growing_history_counts_once_and_stays_flagged(guard, tmp_path):
    own = guard()
    assert own.alarms([[1], [1, 2]], [5, 5]) == [False, False]
    assert state(tmp_path) == [(5, 1, 0, 0)]
    assert own.alarms([[1, 2, 7]], [5]) == [True]
    assert state(tmp_path)[0][:3] == (5, 1, 1)
    assert own.alarms([[1, 2, 7, 3], [1, 2, 7, 3]], [5, 5]) == [True, True]  # repeated, it is the same history
    assert state(tmp_path)[0][:3] == (5, 1, 1)
    assert alarm_totals(tmp_path / "service.db")["histories"] == 1


def test_another_key_is_judged_by_its_own_histories(guard, tmp_path):
    guard().alarms([[1], [1, 2], [7]], [5, 6, 5])
    assert [row[:3] for row in state(tmp_path)] == [(5, 2, 1), (6, 1, 0)]


def test_a_flagged_key_is_flagged_for_all_its_histories_by_every_process(guard, tmp_path):
    one, other = guard(), guard()
    benign = [[n % 6 + 1, n // 6 % 6 + 1, n // 36 + 8] for n in range(40)]
    assert one.alarms(benign, [1] * 40) == [False] * 40
    n_bad = next(n for n in range(1, 40) if key_is_flagged(40 + n, n, 0.01, 943))
    for n in range(n_bad):
        (one, other)[n % 2].alarms([[8 + n, 7]], [1])
    assert state(tmp_path) == [(1, 40 + n_bad, n_bad, 1)]
    assert [own.alarms([[29, 30]], [1]) for own in (one, other)] == [[True], [True]]
    assert other.alarms([[29, 30]], [2]) == [False]
    assert alarm_totals(tmp_path / "service.db") == {"histories": n_bad, "keys": 1}


def test_a_flagged_key_stays_flagged_whatever_it_sends_later(guard, tmp_path):
    own = guard()
    assert own.alarms([[8, 7], [9, 7]], [1, 1]) == [True, True]
    benign = [[n % 6 + 1, n // 6 + 8] for n in range(60)]
    assert not key_is_flagged(62, 2, 0.01, 943)  # were it judged anew
    assert own.alarms(benign, [1] * 60) == [True] * 60
    assert state(tmp_path) == [(1, 62, 2, 1)]


def test_the_flag_of_a_key_that_was_deleted_meanwhile_fails_no_other_query(guard, tmp_path, caplog):
    own = guard()
    with sqlite3.connect(tmp_path / "service.db") as database:
        database.execute("DELETE FROM key WHERE name = 'bob'")
    assert own.alarms([[1], [7]], [1, 2]) == [False, True]
    assert "detection: API key '(deleted key 2)' has sent a history of 1 items that is flagged" in caplog.messages


def test_decoys_are_different_items_the_same_for_a_history(guard):
    own = guard()
    first, second = own.decoys([[1, 2], [3]], 10)
    assert [len(set(row)) for row in (first, second)] == [10, 10]
    assert all(1 <= item <= 30 for item in first + second)
    assert first != second
    assert guard().decoys([[3]], 10) == [second]
    assert guard().decoys([[3]], 4) == [second[:4]]  # of 30 items, lists of 7 and of 8 are drawn otherwise


def test_what_fails_notes_nothing(guard, tmp_path, monkeypatch):
    own = guard()
    own.alarms([[1]], [1])
    monkeypatch.setattr("recbole_gro.http_service.guard.key_evidence", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        own.alarms([[2]], [1])
    assert state(tmp_path) == [(1, 1, 0, 0)]


def test_of_histories_that_begin_with_one_another_the_longest_counts(guard, tmp_path):
    own = guard()
    own.alarms([[5], [5, 7], [5, 7, 6]], [1, 1, 1])
    assert state(tmp_path) == [(1, 1, 1, 0)]
    assert own.alarms([[5], [5, 7], [5, 7, 6]], [1, 1, 1]) == [False, True, True]  # sent again
    assert state(tmp_path) == [(1, 1, 1, 0)]
    assert own.alarms([[5, 7, 6, 8, 9, 10]], [1]) == [True]  # several items longer
    assert state(tmp_path) == [(1, 1, 1, 0)]
    assert own.alarms([[5, 7, 6, 8]], [1]) == [True]  # which began a longer one
    assert own.alarms([[5, 3]], [1]) == [False]  # another one that begins alike
    assert state(tmp_path) == [(1, 2, 1, 0)]
    assert own.alarms([[5, 7, 6, 8, 2]], [1]) == [True]
    assert state(tmp_path)[0][:3] == (1, 3, 2)


def test_counts_are_those_of_detect(guard, tmp_path):
    draw = torch.Generator().manual_seed(4)
    sent = [
        torch.randint(1, 9, (int(n),), generator=draw).tolist() for n in torch.randint(1, 5, (200,), generator=draw)
    ]
    own = guard()
    own._judged = lambda histories, keys: found(histories, lambda history: 7 in history)
    own.alarms(sent, [1] * len(sent))
    different = {tuple(history) for history in sent}
    longest = [one for one in different if not any(o[: len(one)] == one and o != one for o in different)]
    assert state(tmp_path)[0][:3] == (1, len(longest), sum(7 in one for one in longest))


@pytest.mark.parametrize(
    "changed",
    [
        {"name": "other"},
        {"threshold": 2.0},
        {"look_thresholds": [2.0] * len(LOOKS)},
        {"history_law": law_of(500, 0.01)},
        {"history_limits": [9] * len(LOOKS)},
    ],
)
def test_what_other_thresholds_judged_is_kept_apart(guard, tmp_path, monkeypatch, changed):
    """As of two services of one ledger with other detectors: neither loses its flags, nor counts the other's."""
    first = guard()
    assert first.alarms([[7], [7, 1]], [1, 1]) == [True, True]
    with monkeypatch.context() as other:
        for name, value in changed.items():
            other.setattr(LongIsBad, name, value)
        second = guard()
        assert second.alarms([[3]], [1]) == [False]
        assert alarm_totals(tmp_path / "service.db", second.judge) == {"histories": 0, "keys": 0}
    assert first.alarms([[7, 1, 2]], [1]) == [True]
    assert guard().judge == first.judge
    assert state(tmp_path) == [(1, 1, 1, 0), (1, 1, 0, 0)]
    assert alarm_totals(tmp_path / "service.db", first.judge) == {"histories": 1, "keys": 0}


def test_what_another_rate_judged_is_kept_apart(guard, tmp_path):
    first, second = guard(), guard(0.3)
    first.alarms([[7], [8, 7]], [1, 1])
    assert alarm_totals(tmp_path / "service.db", first.judge) == {"histories": 2, "keys": 1}
    assert second.alarms([[1]], [1]) == [False]
    assert alarm_totals(tmp_path / "service.db", second.judge) == {"histories": 0, "keys": 0}


def test_the_last_digits_of_a_threshold_make_no_other_one(guard, monkeypatch):
    first = guard()
    monkeypatch.setattr(LongIsBad, "threshold", 1.0000001)
    assert guard().judge == first.judge


def test_windows_that_slide_along_a_history_count_once_and_stay_flagged(guard, tmp_path):
    own, history = guard(), [*range(10, 20), 7, *range(20, 29)]
    windows = [history[max(0, end - 6) : end] for end in range(1, len(history) + 1)]
    assert [own.alarms([window], [5])[0] for window in windows] == [False] * 10 + [True] * 10
    assert state(tmp_path) == [(5, 1, 1, 0)]
    assert own.alarms(windows, [5] * 20) == [False] * 10 + [True] * 10  # sent again
    assert state(tmp_path) == [(5, 1, 1, 0)]
    assert own.alarms([windows[-1]], [6]) == [False]  # another key
    assert state(tmp_path)[1] == (6, 1, 0, 0)


def test_windows_of_few_items_count_each(guard, tmp_path):
    guard().alarms([[1, 2, 3, 4], [2, 3, 4, 5], [3, 4, 5, 6]], [5, 5, 5])
    assert state(tmp_path) == [(5, 3, 0, 0)]


def test_a_window_is_continued_by_one(guard, tmp_path):
    guard().alarms([[1, 2, 3, 4, 5], *([2, 3, 4, 5, n] for n in range(10, 16))], [5] * 7)
    assert state(tmp_path) == [(5, 6, 0, 0)]


def test_windows_counted_are_those_of_detect(guard, tmp_path):
    draw = torch.Generator().manual_seed(4)
    sent = [torch.randint(1, 3, (5 + n % 2,), generator=draw).tolist() for n in range(60)]
    sent = [row for place, row in enumerate(sent) if not any(row == o[: len(row)] or o == row[: len(o)]
                                                             for o in sent[:place])]  # fmt: skip
    own = guard()
    own._judged = lambda histories, keys: found(histories, lambda _: False)
    own.alarms(sent, [1] * len(sent))
    logged = logged_histories(sent, torch.ones(len(sent)).long())
    assert state(tmp_path)[0][1] == len(logged.rows) < len(sent)


def test_tables_are_emptied_by_hand_as_the_page_says(guard, tmp_path):
    page = (Path(__file__).parents[2] / "docs" / "how-to" / "serve-http.md").read_text(encoding="utf-8")
    recipe = re.search(r'service\.db "(DELETE FROM line[^"]*)"', page)[1]
    windows = [[1, 2, 3, 4, 5], [2, 3, 4, 5, 6]]
    for statements in (
        recipe,
        "DELETE FROM beginning; DELETE FROM suspicion",
        "DELETE FROM line; DELETE FROM suspicion",
    ):
        guard().alarms(windows[:1], [5])
        with sqlite3.connect(tmp_path / "service.db") as database:
            database.executescript(statements)
        assert guard().alarms([[9, 9, 9], windows[1]], [5, 5]) == [False, False]
        with sqlite3.connect(tmp_path / "service.db") as database:
            database.executescript(recipe)


def test_a_window_stays_open_where_another_one_that_ends_alike_has_grown(guard, tmp_path):
    guard().alarms([[1, 2, 3, 4, 5], [9, 2, 3, 4, 5], [1, 2, 3, 4, 5, 6], [2, 3, 4, 5, 8]], [5] * 4)
    assert state(tmp_path) == [(5, 2, 0, 0)]


def test_histories_that_begin_with_an_item_of_a_flagged_window_are_not_flagged(guard, tmp_path):
    """What follows of a flagged history is flagged, not what other histories share with its windows."""
    own = guard()
    history = [7, *range(10, 20)]
    windows = [history[end - 6 : end] for end in range(6, 12)]
    assert all(own.alarms([window], [5])[0] for window in windows)
    others = [[item] for item in history[1:7]] + [[10, 20], windows[2][:5]]
    known, line, _ = own._known._longest_known(5, digests_of(windows[2][:5]))
    assert (known, own._known._is_flagged(line, known)) == (5, False)
    assert own.alarms(others, [6] * len(others)) == [False] * len(others)
    assert own.alarms(others, [5] * len(others)) == [False] * len(others)
    assert state(tmp_path)[0][2] == 1
    assert own.alarms([[*windows[2], 30]], [5]) == [True]  # grows from a flagged window


def test_users_behind_one_key_are_flagged_as_each_is_alone(guard, tmp_path):
    """Sliding and growing histories of many users, some of which are flagged."""
    draw = torch.Generator().manual_seed(8)
    users = torch.randint(8, 31, (30, 14), generator=draw).tolist()
    for user in users[:3]:
        user[4] = 7
    for n, key in ((6, 1), (14, 2)):  # the 6 most recent items, or all
        sent = [(number, user[max(0, end - n) : end]) for end in range(1, 15) for number, user in enumerate(users)]
        own = guard()
        flagged = {number for number, history in sent if own.alarms([history], [key])[0]}
        assert flagged == {0, 1, 2}
    assert [row[1:3] for row in state(tmp_path)] == [(30, 3), (30, 3)]


def test_an_earlier_version_after_a_later_one_is_judged_by_itself(guard, tmp_path, caplog):
    """As of a history longer than the model reads, whose most recent items hide what it begins with."""
    own = guard()
    hidden = [1, 2, 7, 3, *range(8, 21)]  # item 7 is not among the 12 that are read
    assert own.alarms([hidden], [5]) == [False]
    assert state(tmp_path) == [(5, 1, 0, 0)]
    assert own.alarms([hidden[:1], hidden[:3], hidden[:4]], [5] * 3) == [False, True, True]
    assert state(tmp_path) == [(5, 1, 1, 0)]
    assert own.alarms([hidden, [*hidden, 21]], [5] * 2) == [True, True]  # what follows of it
    assert own.alarms([hidden[:2], [*hidden[:2], 9]], [5] * 2) == [False, False]  # what it and others began with
    assert state(tmp_path) == [(5, 2, 1, 0)]


def test_a_window_that_begins_with_another_history_follows_the_window_before_it(guard, tmp_path):
    """As where a client also sends each item alone."""
    own, history = guard(), [11, 12, 13, 7, *range(15, 24)]
    windows = [history[max(0, end - 6) : end] for end in range(1, len(history) + 1)]
    alone = [[item] for item in history if item != 7] + [[12, 13], [15, 16]]
    assert own.alarms(alone, [5] * len(alone)) == [False] * len(alone)
    assert own.alarms(windows, [5] * len(windows)) == [False] * 3 + [True] * 10
    sent = alone + windows
    logged = logged_histories(sent, torch.ones(len(sent)).long())
    assert state(tmp_path) == [(5, len(logged.rows), 1, 0)]


def test_branches_of_a_beginning_that_is_flagged_later_are_flagged_from_then_on(guard, tmp_path):
    """Branches are longer than the model reads, so that none is flagged by itself."""
    own, beginning = guard(), [1, 2, 7, 3]
    branches = [[*beginning, *range(start, start + 12)] for start in range(8, 16)]
    branches += [[*branches[2][:8], *range(20, 30)]]  # a fork of a fork
    assert own.alarms(branches, [5] * 9) == [False] * 9
    assert own.alarms([beginning], [5]) == [True]
    assert own.alarms([beginning[:2], [*beginning[:2], 9]], [6, 6]) == [False, False]
    assert own.alarms(branches, [5] * 9) == [True] * 9
    assert own.alarms([[*branch, 30] for branch in branches], [5] * 9) == [True] * 9
    assert state(tmp_path)[0][1:3] == (9, 9)


def test_windows_whose_first_items_were_sent_before_follow_each_other(guard, tmp_path):
    own, history = guard(), [7, *range(10, 29)]
    windows = [history[start : start + 6] for start in range(15)]
    sent = [query for window in windows for query in (window[:5], window)]
    alarms = own.alarms(sent, [5] * len(sent))
    assert alarms[1::2] == [True] * 15  # the windows; their first items follow shorter windows of their own
    assert state(tmp_path) == [(5, 1, 1, 0)]


def slid_beginnings(n):
    """Walks whose first window slides from that of the walk before, sent before that grows."""
    trunk = [8 + (5 * place + place * place) % 40 for place in range(n + 5)]
    walks = [[*trunk[start : start + 5], 7, 8 + start, *range(8, 12)] for start in range(n)]
    sent = [walks[0][:5]]
    for walk, after in zip(walks, [*walks[1:], None], strict=True):
        sent += [after[:5]] if after else []
        sent += [walk[:length] for length in range(6, 11)]
    return sent


def slid_from_a_growing_history(n):
    """Walks whose first window slides from a version of one history, which then grows."""
    trunk = [8 + (5 * place + place * place) % 40 for place in range(n + 5)]
    sent = []
    for length in range(5, n + 5):
        walk = [*trunk[1:length], 7, *range(8, 12)]
        sent += [trunk[:length], *(walk[:end] for end in range(length, len(walk) + 1))]
    return sent


@pytest.mark.parametrize("sent", [slid_beginnings(9), slid_from_a_growing_history(7)], ids=["beginnings", "trunk"])
def test_walks_that_branch_off_a_sliding_history_count_each(guard, tmp_path, sent):
    """Else an adversary makes one history of any number of flagged ones, and the key is never flagged."""
    own = guard()
    own._judged = lambda histories, keys: found(histories, lambda history: 7 in history)
    own.alarms(sent, [5] * len(sent))
    logged = logged_histories(sent, torch.ones(len(sent)).long())
    flagged = {int(number) for number, history in zip(logged.history, sent, strict=True) if 7 in history}
    assert state(tmp_path) == [(5, len(logged.rows), len(flagged), 1)]
    assert len(flagged) >= 7


def test_a_growing_history_and_its_windows_count_as_flagged_by_themselves(guard, tmp_path):
    own, history = guard(), [*range(10, 15), 7, *range(16, 28)]
    sent = [query for end in range(6, 19) for query in (history[:end], history[end - 6 : end])]
    sent = [*dict.fromkeys(map(tuple, sent))]
    own._judged = lambda histories, keys: found(histories, lambda history: tuple(history[:6]) == sent[0])
    assert all(own.alarms(sent[:2], [5, 5]))
    own.alarms([*sent[2:]], [5] * len(sent[2:]))
    assert state(tmp_path)[0][1:3] == (2, 1)


@pytest.mark.parametrize("n_items", [3, 9])
@pytest.mark.parametrize("alone", [0.0, 0.3])
def test_counts_of_mixed_clients_are_nearly_those_of_detect(guard, tmp_path, n_items, alone):
    """Growing, sliding and single-item queries of few items, so that much of them coincides."""
    draw = torch.Generator().manual_seed(3)
    users = torch.randint(8, 8 + 3 * n_items, (40, 16), generator=draw).tolist()
    for user in users[:4]:
        user[6] = 7
    sent = []
    for end in range(1, 17):
        for number, user in enumerate(users):
            if float(torch.rand(1, generator=draw)) < alone:
                sent.append(user[end - 1 : end])
            sent.append(user[max(0, end - (6 if number % 2 else 16)) : end])
    own = guard()
    own._judged = lambda histories, keys: found(histories, lambda history: 7 in history)
    own.alarms(sent, [5] * len(sent))
    logged = logged_histories(sent, torch.ones(len(sent)).long())
    flagged = {int(number) for number, history in zip(logged.history, sent, strict=True) if 7 in history}
    _, histories, n_flagged, _ = state(tmp_path)[0]
    assert histories == pytest.approx(len(logged.rows), abs=1)
    assert n_flagged == pytest.approx(len(flagged), abs=1)


def test_draws_of_a_detector_depend_on_the_history_and_not_on_what_was_judged_before(checkpoint_of, start, guess):
    histories, verdicts = [[f"i{item}", f"i{item + gap}"] for gap in range(1, 6) for item in range(25)], []
    for order in (histories, histories[::-1]):  # of two processes, or of one before and after a restart
        client = start(checkpoint_of("GRU4Rec"), detector=guess, on_alarm="refuse", false_positive_rate=0.95)
        found = {}
        for number, history in enumerate(order):  # each of a key of its own, of which none is flagged
            found[tuple(history)] = client.post(client.key(f"ann{number}"), history=history).status
        verdicts.append(found)
        with sqlite3.connect(client.ledger) as database:
            [thresholds] = database.execute("SELECT thresholds FROM judge").fetchall()
            verdicts[-1]["thresholds"] = thresholds
    assert verdicts[0] == verdicts[1]
    assert {200, 429} <= {*verdicts[0].values()}


def counts_at_looks(tmp_path):
    with sqlite3.connect(tmp_path / "service.db") as database:
        return database.execute("SELECT key, look, reached, unusual FROM look_count ORDER BY key, look").fetchall()


def test_each_history_counts_once_per_look_when_it_has_as_many_items(guard, tmp_path):
    own = guard()
    for end in range(1, 7):
        own.alarms([[1, 2, 25, 3, 4, 5][:end], [6, 2, 3, 4, 26, 5][:end]], [5, 5])
    assert counts_at_looks(tmp_path) == [(5, 0, 2, 0), (5, 1, 2, 0), (5, 2, 2, 1), (5, 3, 2, 2)]
    own.alarms([[1, 2, 25, 3, 4], [6, 2, 3]], [5, 5])  # sent again
    assert counts_at_looks(tmp_path) == [(5, 0, 2, 0), (5, 1, 2, 0), (5, 2, 2, 1), (5, 3, 2, 2)]
    own.alarms([[1, 2, 25, 8], [9, 8, 27, 1, 2]], [5, 6])  # another one that begins alike, and another key
    # a fork counts again at looks before it, as another user who begins alike
    of_others = [(6, 0, 1, 0), (6, 1, 1, 0), (6, 2, 1, 1), (6, 3, 1, 1)]
    assert counts_at_looks(tmp_path) == [(5, 0, 3, 0), (5, 1, 3, 0), (5, 2, 3, 2), (5, 3, 2, 2), *of_others]


def test_windows_along_a_history_count_once_per_look_and_walks_that_branch_off_them_each(guard, tmp_path):
    own, history = guard(), [*range(1, 20)]
    own.alarms([history[max(0, end - 5) : end] for end in range(1, 15)], [5] * 14)
    assert counts_at_looks(tmp_path) == [(5, look, 1, 0) for look in range(4)]
    own.alarms([[*history[start : start + 5], 25] for start in range(1, 8)], [5] * 7)
    assert counts_at_looks(tmp_path) == [(5, look, 8, 0) for look in range(4)]


def test_a_key_is_flagged_by_unusual_histories_of_which_none_is(guard, tmp_path, monkeypatch, caplog):
    monkeypatch.setattr(LongIsBad, "look_thresholds", [5.0] * len(LOOKS))
    one, other = guard(), guard()  # two processes
    benign = [[n % 6 + 1, n // 6 % 6 + 8, 9] for n in range(30)]
    assert one.alarms(benign, [1] * 30) == [False] * 30
    alarms = []
    for n in range(40):
        alarms += (one, other)[n % 2].alarms([[n % 6 + 1, n // 6 + 14, 25]], [2])
    first = alarms.index(True)
    assert 3 <= first <= 12
    assert alarms == [False] * first + [True] * (40 - first)
    assert one.alarms([[1, 1]], [1]) == [False]
    assert alarm_totals(tmp_path / "service.db") == {"histories": 0, "keys": 1}
    [message] = caplog.messages
    assert message == (
        f"detection: API key 'bob' is flagged: 0 of its {first + 1} histories are, and {first + 1} of the {first + 1} "
        "with 3 items are unusual"
    )


def test_an_alarm_names_the_number_of_items_with_most_evidence(guard, monkeypatch, caplog):
    monkeypatch.setattr(LongIsBad, "look_thresholds", [5.0] * len(LOOKS))
    own = guard()
    assert own.alarms([[1, 2, 25]], [2]) == [False]  # the only one of three items
    alarms = own.alarms([[25 + n % 6, 8 + n] for n in range(20)], [2] * 20)
    unusual = alarms.index(True) + 1
    [message] = caplog.messages
    assert message.endswith(f", and {unusual} of the {unusual + 1} with 1 item are unusual")


def test_counts_at_looks_are_those_of_detect(guard, tmp_path):
    draw = torch.Generator().manual_seed(5)
    walks = torch.randint(8, 31, (30, 11), generator=draw).tolist()
    sent = [(walk[:end] if place % 2 else walk[max(0, end - 6) : end])
            for end in range(1, 12) for place, walk in enumerate(walks)]  # fmt: skip
    own = guard()
    own.alarms(sent, [1] * len(sent))
    keys = torch.zeros(len(sent)).long()
    logged = logged_histories(sent, keys)
    longest = own._tracer.longest
    read, history = versions_read(sent, keys, logged, longest)
    looks = LongIsBad().judged(own._tracer.trace(padded([sent[row] for row in read.tolist()], longest))).looks
    found = of_first_versions(looks, history, len(logged.rows))
    assert longest < 11  # the model reads the most recent items of the longest
    expected = [(1, place, int((column >= 0).sum()), int((column == 1).sum()))
                for place, column in enumerate(found.T) if bool((column >= 0).any())]  # fmt: skip
    assert counts_at_looks(tmp_path) == expected
