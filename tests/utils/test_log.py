"""What a run logs, and where."""

import io
import logging

import pytest

from recbole_gro.utils.errors import UserError
from recbole_gro.utils.log import console, logged_to, say, show, shown_on_console
from recbole_gro.utils.table import TextTable
from recbole_gro.utils.terminal import quietly


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


def test_a_result_is_shown_as_the_terminal_takes_it_and_logged_as_markdown(tmp_path, capsys, on_terminal):
    table = TextTable(["dataset", "users"], [["tiny", "40"]])
    on_terminal(80)
    with shown_on_console(), logged_to(tmp_path):
        show(table)
    assert capsys.readouterr().out == f"\n{table.aligned(80)}\n"
    assert table.markdown() in (tmp_path / "run.log").read_text()


def test_quiet_shows_results_and_errors_alone_and_logs_all(tmp_path, capsys):
    with quietly(), shown_on_console(), logged_to(tmp_path):
        console.info("the stage")
        logging.getLogger().warning("a warning")
        logging.getLogger().error("an error")
        say("a line")
        show(TextTable(["dataset", "users"], [["tiny", "40"]]))
    assert capsys.readouterr().out.splitlines()[:2] == ["an error", "| dataset   |   users |"]
    for line in ("the stage", "a warning"):
        assert line in (tmp_path / "run.log").read_text()


def test_characters_that_the_terminal_lacks_are_escaped(monkeypatch):
    stream = io.TextIOWrapper(io.BytesIO(), encoding="ascii")
    monkeypatch.setattr("sys.stdout", stream)
    say("log: 'ä' is no item")
    with shown_on_console():
        console.info("key Ω")
        show(TextTable(["key"], [["ü"]]))
    printed = stream.buffer.getvalue().decode()
    assert printed.startswith("log: '\\xe4' is no item\nkey \\u03a9\n")
    assert "\\xfc" in printed


def test_logging_is_left_as_it_was_after_an_error_too(tmp_path):
    root = logging.getLogger()
    before = root.level, list(root.handlers), console.level, list(console.handlers)
    with pytest.raises(KeyError), shown_on_console(), logged_to(tmp_path):
        raise KeyError
    assert (root.level, root.handlers, console.level, console.handlers) == before


def test_a_log_on_a_full_disk_ends_the_work_with_the_name_of_its_folder(tmp_path):
    (tmp_path / "run.log").symlink_to("/dev/full")
    line = rf"^{tmp_path} cannot be written: No space left on device$"
    with pytest.raises(UserError, match=line), logged_to(tmp_path):
        logging.getLogger().warning("a warning")


def test_a_log_alone_leaves_the_level_as_it_was(tmp_path):
    root = logging.getLogger()
    before = root.level
    assert before != logging.DEBUG
    with logged_to(tmp_path, "DEBUG"):
        assert root.level == logging.DEBUG
    assert root.level == before
