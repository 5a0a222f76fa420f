import pytest

from recbole_gro.utils.progress import progress_bar
from recbole_gro.utils.terminal import quietly


def bar_of(capsys, **options):
    with progress_bar("target: trains", 4, "batches", **options) as bar:
        for _ in range(2):
            bar.update()
        bar.refresh()
        shown = capsys.readouterr().err
    return shown.split("\r")[-1], capsys.readouterr().err


@pytest.mark.parametrize("columns", [80, 120])
def test_a_bar_has_stage_count_and_expected_time_in_the_width_and_is_removed(capsys, on_terminal, columns):
    on_terminal(columns)
    line, end = bar_of(capsys)
    assert line.startswith("target: trains  50% |")
    assert "| 2/4 batches, about 00:00 left" in line
    assert len(line) == columns - 1
    assert end.strip() == ""


def test_a_total_that_early_stopping_bounds_is_at_most(capsys, on_terminal):
    on_terminal(80)
    assert "at most 00:00 left" in bar_of(capsys, at_most=True)[0]


def test_there_is_no_bar_without_a_terminal(capsys):
    assert bar_of(capsys) == ("", "")


def test_there_is_no_bar_where_it_is_not_wanted(capsys, on_terminal):
    on_terminal(80)
    assert bar_of(capsys, shown=False) == ("", "")
    with quietly():
        assert bar_of(capsys) == ("", "")


def test_bytes_have_prefixes(capsys, on_terminal):
    on_terminal(80)
    with progress_bar("download", 2_500_000, "B", True) as bar:
        bar.update(2_500_000)
        bar.refresh()
        assert "2.50M/2.50M B" in capsys.readouterr().err
