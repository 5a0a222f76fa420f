"""What a run logs, and where."""

import logging

import pytest

from recbole_gro.utils.log import console, logged_to, shown_on_console


def test_logging_is_left_as_it_was(tmp_path):
    root = logging.getLogger()
    before = root.level, list(root.handlers), console.level, list(console.handlers)
    with shown_on_console(), logged_to(tmp_path):
        logging.getLogger().info("\x1b[1;32mfrom RecBole\x1b[0m")
        console.info("from the run")
    assert (root.level, root.handlers, console.level, console.handlers) == before
    lines = (tmp_path / "run.log").read_text().splitlines()
    assert [line.split("INFO ")[1] for line in lines] == ["from RecBole", "from the run"]


def test_console_shows_the_runs_lines_and_warnings_once(tmp_path, capsys):
    with shown_on_console(), logged_to(tmp_path):
        logging.getLogger().info("RecBole's chatter")
        logging.getLogger().warning("a warning")
        console.info("the stage")
        console.warning("the stage's warning")
    assert capsys.readouterr().out.splitlines() == ["a warning", "the stage", "the stage's warning"]


def test_logging_is_left_as_it_was_after_an_error_too(tmp_path):
    root = logging.getLogger()
    before = root.level, list(root.handlers), console.level, list(console.handlers)
    with pytest.raises(KeyError), shown_on_console(), logged_to(tmp_path):
        raise KeyError
    assert (root.level, root.handlers, console.level, console.handlers) == before
