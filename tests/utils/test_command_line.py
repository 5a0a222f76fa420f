import importlib
import re
import subprocess
import sys
import warnings

import pytest

from recbole_gro.cli.main import main
from recbole_gro.config.plugins import imported_module
from recbole_gro.utils.command_line import Parser, exit_code, options_and_settings, settings_of
from recbole_gro.utils.errors import SettingWarning, UserError, out_of_memory
from recbole_gro.utils.terminal import is_quiet


def test_words_are_settings():
    assert settings_of(["--a=1", "--b=x=y", "--c=", "--a=1"]) == {"a": "1", "b": "x=y", "c": ""}


@pytest.mark.parametrize("word", ["a=1", "--a", "-a=1", "--=1", ""])
def test_other_words_are_refused_by_name(word):
    with pytest.raises(UserError, match="is invalid; settings have the form --KEY=VALUE") as caught:
        settings_of(["--fine=1", word])
    assert repr(word) in str(caught.value)


@pytest.mark.parametrize(
    ("words", "here"),
    [(["--data_path", "data"], ", here --data_path=data"), (["--topk", "[1, 5]"], ", here --topk='[1, 5]'"),
     (["--data_path"], ""), (["--data_path", "--quick"], "")],
)  # fmt: skip
def test_a_value_behind_its_key_is_shown_joined(words, here):
    parser = Parser(prog="tool")
    parser.add_argument("name", nargs="?")
    parser.add_argument("--quick", action="store_true")
    with pytest.raises(UserError, match=rf"'{words[0]}' is invalid; .* --KEY=VALUE{re.escape(here)}$"):
        options_and_settings(parser, words)


def test_a_setting_with_two_values_is_refused():
    with pytest.raises(UserError, match="--a is given twice, as '1' and as '2'"):
        settings_of(["--a=1", "--a=2"])


def test_invalid_options_are_refused_and_a_similar_one_is_named():
    parser = Parser(prog="tool")
    parser.add_argument("name")
    parser.add_argument("--dry_run", action="store_true")
    with pytest.raises(UserError, match="arguments are required: name; tool --help describes the arguments"):
        options_and_settings(parser, [])
    with pytest.raises(UserError, match=r"argument '--dry-run' is invalid; did you mean --dry_run\?"):
        options_and_settings(parser, ["mine", "--dry-run"])
    options, settings = options_and_settings(parser, ["mine", "--dry_run", "--dry=1"])
    assert (options.name, options.dry_run, settings) == ("mine", True, {"dry": "1"})


@pytest.mark.parametrize(
    "words", [["--log=a", "--log=b"], ["--log", "a", "--log", "a"], ["-l", "a", "--log=b"], ["-la", "--log=b"]]
)
def test_an_option_that_is_given_twice_is_refused(words):
    parser = Parser(prog="tool")
    parser.add_argument("-l", "--log")
    parser.add_argument("--quick", action="store_true")
    with pytest.raises(UserError, match="--log is given twice; give it once"):
        options_and_settings(parser, words)
    assert options_and_settings(parser, ["--quick", "--log=a", "--quick"])[0].log == "a"


@pytest.mark.parametrize("words", ["a do ann --n=1", "a do --n=1 ann", "a --n 1 do ann", "--n=1 a do ann"])
def test_a_last_word_that_may_be_left_out_stands_before_or_behind_an_option(words):
    parser = Parser(prog="tool")
    for name, nargs in (("file", None), ("action", None), ("name", "?")):
        parser.add_argument(name, nargs=nargs)
    parser.add_argument("--n")
    assert vars(parser.parse_args(words.split())) == {"file": "a", "action": "do", "name": "ann", "n": "1"}
    assert parser.parse_args(["a", "do", "--n=1"]).name is None
    with pytest.raises(UserError, match="unrecognized arguments: bob"):
        parser.parse_args(["a", "do", "--n=1", "ann", "bob"])


def test_an_option_of_experiments_alone_is_named():
    with pytest.raises(UserError, match="argument '--dry_run' is invalid; recbole-gro experiment alone has it"):
        settings_of(["--dry_run"])


def test_a_word_without_text_is_refused_and_zero_is_a_value():
    parser = Parser(prog="tool")
    parser.add_argument("name")
    parser.add_argument("--k", type=int)
    for words, named in ((["mine", "--k="], "--k"), (["mine", "--k", ""], "--k"), (["", "--k=3"], "name")):
        with pytest.raises(UserError, match=f"argument {named}: it is empty; tool --help"):
            options_and_settings(parser, words)
    assert options_and_settings(parser, ["mine", "--k=0"])[0].k == 0


def interrupt_with_note():
    error = KeyboardInterrupt()
    error.add_note("the same command resumes")
    return error


@pytest.mark.parametrize(
    ("error", "code", "message"),
    [
        (None, 0, ""),
        (UserError("epochs: no"), 2, "tool: error: epochs: no\n"),
        (MemoryError("8 GiB"), 2, f"tool: error: {out_of_memory(MemoryError('8 GiB'))}\n"),
        (KeyboardInterrupt(), 130, "tool: stopped\n"),
        (interrupt_with_note(), 130, "tool: stopped; the same command resumes\n"),
    ],
)
def test_a_command_returns_an_exit_status_and_prints_one_line(capsys, error, code, message):
    def work(words):
        if error:
            raise error

    assert exit_code("tool", work, []) == code
    assert capsys.readouterr().err == message


@pytest.mark.parametrize(
    ("rank", "lines"), [(None, ["tool: warning: epochs: ignored", "tool: warning: seed: ignored"]), ("1", [])]
)
def test_a_command_prints_each_warning_of_a_setting_once_in_one_line(monkeypatch, capsys, rank, lines):
    for name, value in {"LOCAL_RANK": rank, "RANK": rank, "WORLD_SIZE": "2"}.items() if rank else ():
        monkeypatch.setenv(name, value)

    def work(words):
        for setting in ("epochs", "seed", "epochs"):
            with warnings.catch_warnings():  # forgets which warnings were shown
                warnings.simplefilter("always")
                warnings.warn(f"{setting}: ignored", SettingWarning, stacklevel=1)
        warnings.warn("of a library", UserWarning, stacklevel=1)

    before = warnings.showwarning
    with pytest.warns(UserWarning, match="of a library"):
        assert exit_code("tool", work, []) == 0
    assert capsys.readouterr().err.splitlines() == lines
    assert warnings.showwarning is before


@pytest.mark.parametrize(
    ("words", "variable", "shown"),
    [
        (["--a=1"], "0", False),
        (["--debug", "--a=1"], "0", True),
        (["--a=1", "--debug"], "0", True),
        (["--a=1"], "1", True),
    ],
    ids=str,
)
def test_debug_shows_where_an_error_comes_from(monkeypatch, capsys, words, variable, shown):
    monkeypatch.setenv("RECBOLE_GRO_DEBUG", variable)
    seen = []

    def work(given):
        seen.extend(given)
        try:
            {}["gone"]
        except KeyError as error:
            raise UserError("epochs: no") from error

    assert exit_code("tool", work, words) == 2
    assert seen == ["--a=1"]
    lines = capsys.readouterr().err.splitlines()
    assert lines[-1] == "tool: error: epochs: no"
    assert [line for line in lines if line.endswith("rror: epochs: no")] == lines[-1:]
    assert ("KeyError: 'gone'" in lines) == ("Traceback (most recent call last):" in lines) == shown


def test_quiet_holds_for_the_work_alone():
    seen = []
    assert exit_code("tool", lambda words: seen.append((words, is_quiet())), ["--quiet", "--a=1"]) == 0
    assert (seen, is_quiet()) == ([(["--a=1"], True)], False)


def test_examples_stand_before_the_options(capsys):
    Parser(prog="tool", description="Does it.", examples={"tool --fast": "quickly"}).print_help()
    text = capsys.readouterr().out
    assert "\nDoes it.\n\nexamples:\n  tool --fast\n      quickly\n" in text
    assert text.index("examples:") < text.index("--help")


def test_without_arguments_those_of_the_process_are_taken(monkeypatch):
    monkeypatch.setattr("sys.argv", ["tool", "--a=1", "--debug"])
    seen = []
    assert exit_code("tool", seen.extend) == 0
    assert seen == ["--a=1"]


@pytest.mark.parametrize(
    "words",
    [
        ["-m", "Nobody"],
        ["experiment", "nothing"],
        ["dataset", "convert", "ml-1m", "nowhere"],
        ["dataset", "statistics", "tiny", "--data_path=nowhere"],
        ["check-model", "Nobody"],
    ],
    ids=" ".join,
)
def test_every_command_has_debug(words, capsys):
    assert main(words) == 2
    assert "Traceback" not in capsys.readouterr().err
    assert main([*words, "--debug"]) == 2
    assert "Traceback (most recent call last):" in capsys.readouterr().err


@pytest.mark.parametrize("error", [ZeroDivisionError, BrokenPipeError])  # a pipe, but not the output's
def test_what_is_no_input_error_is_not_hidden(error):
    def work(words):
        raise error

    with pytest.raises(error):
        exit_code("tool", work, [])


@pytest.mark.parametrize("status", [0, 3, "bye"])
def test_only_sys_exit_in_own_code_is_an_error(tmp_path, monkeypatch, capsys, status):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "ends_the_process.py").write_text("import sys\ndef stop(status):\n    sys.exit(status)\n")
    stop = imported_module("ends_the_process", "plugins").stop
    assert exit_code("tool", lambda words: stop(status), []) == 2
    line = f"tool: error: it ends the process (SystemExit: {status}), "
    assert (printed := capsys.readouterr().err).startswith(line)
    assert printed.count("\n") == 1
    with pytest.raises(SystemExit) as caught:  # as of argparse after --help
        exit_code("tool", lambda words: sys.exit(status), [])
    assert caught.value.code == status


def test_the_work_returns_the_exit_status():
    assert exit_code("tool", lambda words: 1, []) == 1


@pytest.mark.parametrize(
    ("words", "unbuffered"),
    [
        ("--help", ""),
        ("--help", "1"),
        ("experiment --help", ""),
        ("dataset statistics tiny", ""),
        ("dataset statistics tiny", "1"),
    ],
)
def test_a_closed_pipe_ends_a_command_quietly(words, unbuffered, tiny_data_path, monkeypatch):
    monkeypatch.setenv("PYTHONUNBUFFERED", unbuffered)
    command = [sys.executable, "-m", "recbole_gro", *words.split()]
    command += [f"--data_path={tiny_data_path}"] if "tiny" in words else []
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        process.stdout.close()
        errors = process.stderr.read()
    assert (errors, process.returncode) == ("", 141)


def test_modules_of_the_working_folder_are_found_while_a_command_runs(tmp_path, monkeypatch):
    (tmp_path / "imported_by_a_function.py").write_text("VALUE = 5\n")
    monkeypatch.chdir(tmp_path)
    before = [*sys.path]
    assert exit_code("command", lambda words: importlib.import_module("imported_by_a_function").VALUE, []) == 5
    assert sys.path == before
    del sys.modules["imported_by_a_function"]
