import time

from recbole_gro.quick_start.stopwatch import Stopwatch


def test_the_time_of_a_block_is_measured(monkeypatch):
    clock = iter([1.0, 3.456])
    monkeypatch.setattr(time, "perf_counter", lambda: next(clock))
    with Stopwatch() as watch:
        assert watch.seconds == 0.0
    assert watch.seconds == 2.46
