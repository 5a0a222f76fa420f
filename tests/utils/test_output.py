"""Standard output that is missing or full."""

import os
import subprocess
import sys

import pytest

from recbole_gro.utils.command_line import exit_code
from recbole_gro.utils.errors import UserError
from recbole_gro.utils.log import say
from recbole_gro.utils.output import is_missing

FULL = "standard output cannot be written: No space left on device"


def command(redirected, *words, unbuffered=""):
    """Return the exit status and standard error of a command whose standard output goes elsewhere."""
    shell = ["bash", "-c", f'exec "$@" {redirected}', "bash", sys.executable, *words]
    own = {**os.environ, "PYTHONUNBUFFERED": unbuffered}
    done = subprocess.run(shell, stderr=subprocess.PIPE, text=True, env=own, check=False)
    return done.returncode, done.stderr


@pytest.mark.parametrize(
    ("words", "unbuffered"), [("--help", ""), ("keys --help", ""), ("keys --help", "1"), ("settings", "")]
)
def test_a_full_disk_ends_a_command_in_one_line(words, unbuffered):
    status, errors = command(">/dev/full", "-m", "recbole_gro", *words.split(), unbuffered=unbuffered)
    assert (status, errors.count("\n")) == (2, 1)
    assert errors.endswith(f": error: {FULL}\n")


@pytest.mark.parametrize(
    ("redirected", "words", "expected"),
    [
        (">&-", "settings lambda", (0, "")),
        (">&-", "keys no.db list", (2, "recbole-gro keys: error: no.db: no such file; create makes it\n")),
        (">&- 2>&-", "keys no.db list", (2, "")),
        (">/dev/full 2>&1", "settings lambda", (2, "")),
    ],
)
def test_a_closed_stream_leaves_the_exit_status(redirected, words, expected):
    assert command(redirected, "-m", "recbole_gro", *words.split()) == expected


@pytest.mark.parametrize("unbuffered", ["", "1"])
def test_lines_of_the_work_do_not_end_it(unbuffered):
    program = """
import logging, sys
from recbole_gro.utils.command_line import exit_code
from recbole_gro.utils.log import console, say, show, shown_on_console
from recbole_gro.utils.terminal import Text

def work(words):
    with shown_on_console():
        say("a line")
        console.info("another")
        show(Text("a result"))
    print("done", file=sys.stderr)

sys.exit(exit_code("tool", work, []))
"""
    status, errors = command(">/dev/full", "-c", program, unbuffered=unbuffered)
    assert (status, errors) == (0, f"{FULL}; nothing more is printed there\ndone\n")


def test_invalid_input_is_named_where_the_output_is_full_too():
    program = """
import sys
from recbole_gro.utils.command_line import exit_code
from recbole_gro.utils.errors import UserError

def work(words):
    print("a line")
    raise UserError("epochs: no")

sys.exit(exit_code("tool", work, []))
"""
    assert command(">/dev/full", "-c", program) == (2, "tool: error: epochs: no\n")


def test_an_error_of_another_file_is_not_hidden():
    def work(words):
        raise OSError(28, "No space left on device")

    with pytest.raises(OSError, match="No space left"):
        exit_code("tool", work, [])


def test_a_program_without_standard_output_prints_nowhere(monkeypatch):
    monkeypatch.setattr("sys.stdout", None)
    monkeypatch.setattr("sys.stderr", None)

    def work(words):
        say("a line")
        print("a result")
        assert is_missing()
        if words:
            raise UserError("epochs: no")

    assert exit_code("tool", work, []) == 0
    assert exit_code("tool", work, ["--a=1"]) == 2
    assert is_missing()


@pytest.mark.parametrize("redirected", [">&-", ">&- 2>&-"])
def test_child_processes_have_a_standard_output_too(redirected):
    program = """
import subprocess, sys
from recbole_gro.utils.command_line import exit_code

child = "import sys; print(1, flush=True); print(2, file=sys.stderr, flush=True); assert sys.stdout and sys.stderr"
sys.exit(exit_code("tool", lambda words: subprocess.run([sys.executable, "-c", child]).returncode, []))
"""
    assert command(redirected, "-c", program) == (0, "2\n" if redirected == ">&-" else "")
