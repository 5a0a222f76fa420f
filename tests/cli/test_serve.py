"""The command that serves a model over HTTP; tests/http_service/test_process.py has running ones."""

import importlib.util
import subprocess
import sys

import pytest

from recbole_gro.cli.main import main
from recbole_gro.cli.serve import work


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["nowhere.pth"], "checkpoint nowhere.pth: no such file"),
        (["nowhere.pth", "--workers=0"], "--workers: 0 is too few"),
        (["nowhere.pth", "--workers=99999"], "--workers: 99999 is too many; give at most 1024"),
        (["nowhere.pth", "--threads=99999999"], "--threads: 99999999 is too many; give at most 1024"),
        (["nowhere.pth", "--port=70000"], "error: --port: 70000 is not allowed; it lies between 1 and 65535"),
        (["nowhere.pth", "--wait_ms=-1"], "error: --wait_ms: -1 is not allowed; it lies between 0 and 1000"),
        (["nowhere.pth", "--port=x"], "argument --port: invalid int value"),
        (["nowhere.pth", "--false_positive_rate=0.01"], "--false_positive_rate need --detector=NAME"),
        (["nowhere.pth", "--on_alarm=decoy"], "--on_alarm, --benign and --false_positive_rate need --detector=NAME"),
        (["nowhere.pth", "head_k"], "settings have the form --KEY=VALUE"),
        ([], "the following arguments are required: CHECKPOINT"),
    ],
    ids=str,
)
def test_bad_input_ends_in_one_line(tmp_path, monkeypatch, capsys, words, sentence):
    pytest.importorskip("uvicorn")
    monkeypatch.chdir(tmp_path)
    assert main(["serve", *words]) == 2
    errors = capsys.readouterr().err
    assert errors.startswith("recbole-gro serve: error: ")
    assert sentence in errors
    assert errors.count("\n") == 1


def test_a_missing_library_is_named(monkeypatch, capsys):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    assert main(["serve", "target.pth"]) == 2
    assert "serve needs starlette; pip install starlette uvicorn httptools" in capsys.readouterr().err


def test_the_words_become_options(monkeypatch):
    process = pytest.importorskip("recbole_gro.http_service.process")
    given = []
    monkeypatch.setattr(process, "serve", lambda *arguments: given.extend(arguments))
    words = "a/target.pth --defense=tail_decoy --head_k=3 --port=81 --workers=2 --wait_ms=5 --max_history=7 --catalogue"
    work([*words.split(), "--plugins=[json]"])
    options, host, port, workers, _ = given
    assert (host, port, workers) == ("127.0.0.1", 81, 2)
    assert (options.defense, options.settings, options.catalogue) == ("tail_decoy", {"head_k": "3"}, True)
    assert options.plugins == "[json]"
    assert (options.wait, options.limits.history) == (0.005, 7)


def test_an_address_of_ipv6_stands_in_brackets_in_the_url(monkeypatch, tmp_path, capsys):
    process = pytest.importorskip("recbole_gro.http_service.process")
    monkeypatch.setattr(process, "serve", lambda *arguments: arguments[-1]())
    work(["target.pth", "--host=::1", "--port=81", f"--ledger={tmp_path / 'service.db'}"])
    assert "on http://[::1]:81\n" in capsys.readouterr().out


def test_without_words_the_options_have_their_defaults(monkeypatch):
    process = pytest.importorskip("recbole_gro.http_service.process")
    given = []
    monkeypatch.setattr(process, "serve", lambda *arguments: given.extend(arguments))
    work(["a/target.pth"])
    assert given[0] == process.Options("a/target.pth")


def test_help_shows_the_defaults_and_needs_no_torch():
    code = (
        "import sys; from recbole_gro.cli.serve import parser; print(' '.join(parser().format_help().split())); "
        "sys.exit('torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    for shown in ("scored together (64)", "waits for others (2)", "body (1048576)", "flagged (0.01)", "(429) (log)"):
        assert shown in done.stdout


def test_other_subcommands_import_no_web_framework():
    code = (
        "import sys, recbole_gro.public, recbole_gro.cli.main, recbole_gro.cli.keys; "
        "from recbole_gro.http_service import ledger; "
        "print({'starlette', 'uvicorn'} & sys.modules.keys())"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"
