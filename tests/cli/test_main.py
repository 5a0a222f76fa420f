import sys

import pytest
from pipeline import files_below, tiny_run

from recbole_gro.cli.main import SUBCOMMANDS, main, parse
from recbole_gro.config.settings import plugin_keys
from recbole_gro.utils.errors import UserError


@pytest.fixture
def command(tiny_data_path, tmp_path, monkeypatch, capsys):
    """Run the command on tiny data: `code, printed, errors = command("--served_k=3")`."""
    monkeypatch.chdir(tmp_path)

    def run(*words):
        code = main(["-d", "tiny", f"--data_path={tiny_data_path}", *words])
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    return run


def test_help_lists_subcommands_and_every_key_with_type_default_and_meaning(capsys):
    with pytest.raises(SystemExit) as stopped:
        main(["--help"])
    assert stopped.value.code == 0
    text = capsys.readouterr().out
    for name, (_, summary) in SUBCOMMANDS.items():
        assert f"\n  {name:<12} {summary}\n" in text
    for key in plugin_keys().values():
        assert f"--{key.name}  ({key.type}; default {key.default})" in text
        assert key.meaning in text


def test_help_lists_the_keys_of_plugins(tmp_path, monkeypatch, capsys, own_parts):
    (tmp_path / "helpful_plugin.py").write_text(
        "from recbole_gro import Settings, key\n"
        "class Mine(Settings):\n"
        "    noise_width: float = key(0.25, 'float >= 0', 'width of the noise')\n"
    )
    (tmp_path / "mine.yaml").write_text("plugins: helpful_plugin\n")
    monkeypatch.chdir(tmp_path)
    for word in ("--plugins=helpful_plugin", "--config_files=mine.yaml"):
        monkeypatch.delitem(sys.modules, "helpful_plugin", raising=False)
        with pytest.raises(SystemExit) as stopped:
            main([word, "--help"])
        assert stopped.value.code == 0
        assert "--noise_width  (float >= 0; default 0.25)\n      width of the noise" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "hint"),
    [
        ("tradeoff", "unknown subcommand 'tradeoff'; did you mean recbole-gro experiment tradeoff?"),
        ("run tradeoff", "did you mean recbole-gro experiment tradeoff?"),
        ("mine.yaml", "did you mean recbole-gro --config_files=mine.yaml, or recbole-gro experiment mine.yaml?"),
        ("gro_lambda=1", "did you mean --gro_lambda=1?"),
        ("bert4rec", "did you mean recbole-gro --model=BERT4Rec?"),
        ("statistic ml-1m", "did you mean recbole-gro statistics?"),
        ("help", "unknown subcommand 'help'; there are run, experiment, audit, convert, statistics, check-model"),
        ("-m NARM --versoin", "argument '--versoin' is invalid; did you mean --version?"),
        ("statistics", "the following arguments are required: NAME; recbole-gro statistics --help describes"),
        ("convert ml-1m", "the following arguments are required: PATH; recbole-gro convert --help describes"),
        ("experiment lambda --dry-run", "argument '--dry-run' is invalid; did you mean --dry_run?"),
        ("experiment", "name: which experiment?"),
        ("check-model --models=NARM", "unrecognized arguments: --models=NARM; recbole-gro check-model --help"),
    ],
)
def test_a_slip_ends_in_one_line_with_what_was_meant(words, hint, capsys):
    assert main(words.split()) == 2
    errors = capsys.readouterr().err
    assert hint in errors
    assert errors.count("\n") == 1


def test_the_command_runs_and_reports_a_comparison(command, tmp_path):
    settings = [f"--{key}={value}" for key, value in tiny_run("NARM").items() if key != "load_col"]
    code, printed, _ = command(
        "-m", "NARM", *settings, "--output_dir=here", "--defense=[none, reverse]",
        "--load_col={'inter': ['user_id', 'item_id', 'timestamp']}",
    )  # fmt: skip
    assert code == 0
    assert "| reverse " in printed
    assert "results.json" in files_below(tmp_path / "here")


def test_options_and_settings_are_separated():
    call, settings = parse(["-m", "NARM", "--config_files=a.yaml b.yaml", "--gro_lambda=0.1", "--x={'a': 1}"])
    assert call == {"model": "NARM", "dataset": None, "config_file_list": ["a.yaml", "b.yaml"]}
    assert settings == {"gro_lambda": "0.1", "x": "{'a': 1}"}


def test_a_setting_given_twice_is_refused():
    with pytest.raises(UserError, match="twice"):
        parse(["--gro_lambda=1", "--gro_lambda=2"])


def test_an_interrupt_ends_in_one_line(monkeypatch, capsys):
    def interrupted(**_):
        raise KeyboardInterrupt

    monkeypatch.setattr("recbole_gro.quick_start.run.run_recbole_gro", interrupted)
    assert main(["-m", "NARM"]) == 130
    assert capsys.readouterr().err.strip() == "recbole-gro: stopped"


@pytest.mark.parametrize("name", ["experiment", "audit", "convert", "statistics", "check-model"])
@pytest.mark.parametrize("before", [[], ["--debug"]], ids=["", "debug"])
def test_a_subcommand_has_help_of_its_own(name, before, capsys):
    with pytest.raises(SystemExit) as stopped:
        main([*before, name, "--help"])
    assert stopped.value.code == 0
    assert capsys.readouterr().out.startswith(f"usage: recbole-gro {name} [-h]")


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
