import subprocess
import sys

import pytest
from cli.cases import printed_help

from recbole_gro import __version__
from recbole_gro.cli.main import SUBCOMMANDS, main, module_of


def test_help_has_examples_then_the_subcommands(capsys):
    assert main(["--help"]) == 0
    text = capsys.readouterr().out
    assert text.index("\nexamples:\n") < text.index("\nsubcommands ")
    for name, (_, summary) in SUBCOMMANDS.items():
        assert f"\n  {name:<18}  {summary}\n" in text
    assert "register-python-argcomplete" in text


def test_help_of_a_group_has_its_subcommands(capsys):
    assert main(["dataset", "--help"]) == 0
    text = capsys.readouterr().out
    assert "  dataset convert " in text
    assert "  experiment " not in text


@pytest.mark.parametrize("name", SUBCOMMANDS)
def test_no_option_is_taken_for_absent_where_its_value_is_empty(name, capsys):
    actions = [action for action in module_of(name).parser()._actions if action.nargs is None and action.option_strings]
    for option in (action.option_strings[-1] for action in actions):
        for words in ([f"{option}="], [option, ""]):
            assert main([*name.split(), *words]) == 2
            assert f"{option}: it is empty" in capsys.readouterr().err


def test_help_and_completion_need_no_torch():
    code = (
        "import sys; from recbole_gro.cli.main import main; main(['--help']); import recbole_gro.cli.experiment; "
        "sys.exit(bool({'torch', 'pandas', 'recbole.config'} & set(sys.modules)))"
    )
    subprocess.run([sys.executable, "-c", code], check=True, stdout=subprocess.DEVNULL)


@pytest.mark.parametrize(
    ("words", "hint"),
    [
        ("tradeoff", "unknown subcommand 'tradeoff'; did you mean recbole-gro experiment tradeoff?"),
        ("run tradeoff", "did you mean recbole-gro experiment tradeoff?"),
        ("mine.yaml", "did you mean recbole-gro --config_files=mine.yaml, or recbole-gro experiment mine.yaml?"),
        ("gro_lambda=1", "did you mean --gro_lambda=1?"),
        ("bert4rec", "did you mean recbole-gro --model=BERT4Rec?"),
        ("statistic ml-1m", "did you mean recbole-gro dataset statistics?"),
        ("convert ml-1m raw", "unknown subcommand 'convert'; did you mean recbole-gro dataset convert?"),
        ("help", "unknown subcommand 'help'; there are run, experiment, audit, dataset convert, dataset statistics, "),
        ("dataset", "dataset has the subcommands convert, statistics; none is given"),
        ("dataset converd", "'converd' is none of them; did you mean recbole-gro dataset convert?"),
        ("setings lambda", "did you mean recbole-gro settings?"),
        ("-m NARM --versoin", "argument '--versoin' is invalid; did you mean --version?"),
        ("dataset statistics", "arguments are required: NAME; recbole-gro dataset statistics --help describes"),
        ("dataset convert ml-1m", "arguments are required: PATH; recbole-gro dataset convert --help describes"),
        ("settings --a b", "unrecognized arguments: --a; recbole-gro settings --help describes"),
        ("experiment lambda --dry-run", "argument '--dry-run' is invalid; did you mean --dry_run?"),
        ("experiment", "name: which experiment?"),
        ("check-model --models=NARM", "--models: models are named without it, as in recbole-gro check-model NARM"),
    ],
)
def test_a_slip_ends_in_one_line_with_what_was_meant(words, hint, capsys):
    assert main(words.split()) == 2
    errors = capsys.readouterr().err
    assert hint in errors
    assert errors.count("\n") == 1


def test_an_interrupt_ends_in_one_line(monkeypatch, capsys):
    def interrupted(**_):
        raise KeyboardInterrupt

    monkeypatch.setattr("recbole_gro.quick_start.run.run_recbole_gro", interrupted)
    assert main(["-m", "NARM"]) == 130
    assert capsys.readouterr().err.strip() == "recbole-gro: stopped"


@pytest.mark.parametrize("name", SUBCOMMANDS)
@pytest.mark.parametrize("before", [[], ["--debug"], ["--quiet"]], ids=["", "debug", "quiet"])
def test_a_subcommand_has_help_of_its_own_with_examples_first(name, before, capsys):
    text = printed_help(capsys, *before, *name.split(), "--help")
    assert text.startswith(f"usage: recbole-gro {name.replace('run', '[run]')} ")
    assert f"\nexamples:\n  recbole-gro {name.removeprefix('run')}".rstrip() in text
    assert 0 < text.index("\nexamples:\n") < text.index("  -h, --help")


@pytest.mark.parametrize("name", [*SUBCOMMANDS, "dataset", "--quiet"])
def test_every_subcommand_tells_the_version(name, capsys):
    with pytest.raises(SystemExit, match=r"^0$"):
        main([*name.split(), "--version"])
    assert capsys.readouterr().out == f"recbole-gro {__version__}\n"


@pytest.mark.parametrize("words", [["run", "-m", "Nobody"], ["--debug", "run", "-m", "Nobody"], ["-m", "Nobody"]])
def test_run_is_the_default_subcommand(words, capsys):
    assert main(words) == 2
    assert capsys.readouterr().err.splitlines()[-1].startswith("recbole-gro: error: unknown model 'Nobody'")


@pytest.mark.parametrize("words", [["--debug", "experiment", "nothing"], ["experiment", "--debug", "nothing"]])
def test_debug_is_accepted_before_and_after_a_subcommand(words, capsys):
    assert main(words) == 2
    errors = capsys.readouterr().err
    assert "Traceback (most recent call last):" in errors
    assert "recbole-gro experiment: error: unknown experiment or yaml file 'nothing'" in errors
