import sys

import pytest

from recbole_gro.utils.progress import on_terminal, progress_bar


@pytest.mark.parametrize("shown", [True, False])
def test_a_bar_counts_where_it_is_shown(capsys, shown):
    with progress_bar("target", 4, "batch", shown) as bar:
        for _ in range(4):
            bar.update()
    written = capsys.readouterr().err
    assert ("target" in written, "4/4" in written) == (shown, shown)


def test_bytes_have_prefixes(capsys):
    with progress_bar("download", 2_500_000, "B", True) as bar:
        bar.update(2_500_000)
    assert "2.50M/2.50M" in capsys.readouterr().err


@pytest.mark.parametrize("terminal", [True, False])
def test_bars_of_recbole_are_for_a_terminal(monkeypatch, terminal):
    monkeypatch.setattr(sys.stderr, "isatty", lambda: terminal)
    assert on_terminal() is terminal
