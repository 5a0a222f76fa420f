import subprocess
import sys

import pytest
from pipeline import files_below, tiny_run

from recbole_gro.cli.main import SUBCOMMANDS, main
from recbole_gro.cli.run import parse
from recbole_gro.config.reference import ORDER, value_in_words
from recbole_gro.config.settings import declared_keys, sections
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


def printed_help(capsys, *words):
    with pytest.raises(SystemExit) as stopped:
        main(list(words))
    assert stopped.value.code == 0
    return capsys.readouterr().out


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


def test_help_of_run_has_examples_then_every_key_by_group_with_type_default_and_meaning(capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "400")
    text = printed_help(capsys, "run", "--help")
    assert printed_help(capsys, "-m", "NARM", "--help") == text
    places = [text.index(f"\n{part}:\n") for part in ("examples", "options", *map(str.lower, ORDER))]
    assert places == sorted(places)
    for key in declared_keys().values():
        assert f"  --{key.name}={value_in_words(key.default)}  ({key.type})\n      {key.meaning}\n" in f"{text}\n"
        group = next(name for name, keys in sections().items() if key in keys)
        assert text.index(f"\n{group.lower()}:\n") < text.index(f"  --{key.name}=")


def test_help_and_completion_need_no_torch():
    code = (
        "import sys; from recbole_gro.cli.main import main; main(['--help']); import recbole_gro.cli.experiment; "
        "sys.exit(bool({'torch', 'pandas', 'recbole.config'} & set(sys.modules)))"
    )
    subprocess.run([sys.executable, "-c", code], check=True, stdout=subprocess.DEVNULL)


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
        assert "--noise_width=0.25  (float >= 0)\n      width of the noise" in capsys.readouterr().out


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


def test_quiet_leaves_the_table_alone(command, capsys, tmp_path):
    settings = [f"--{key}={value}" for key, value in tiny_run("NARM").items() if key != "load_col"]
    words = ["-m", "NARM", *settings, "--load_col={'inter': ['user_id', 'item_id', 'timestamp']}", "--output_dir=out"]
    code, printed, errors = command(*words, "--defense=none", "--quiet")
    assert (code, errors) == (0, "")
    assert printed.startswith("| defense ")
    assert "| none " in printed
    assert "target: NARM trains" in (tmp_path / "out" / "run.log").read_text()
    code, _, errors = command("-m", "NARN", "--quiet")
    assert (code, errors.count("\n")) == (2, 1)


def test_on_a_terminal_stages_have_bars_and_the_table_fits(command, tmp_path, on_terminal):
    on_terminal(80)
    settings = {**tiny_run("NARM"), "show_progress": True, "surrogate_epochs": 2, "surrogate_patience": 1}
    del settings["load_col"]
    code, printed, bars = command(
        "-m", "NARM", *(f"--{key}={value}" for key, value in settings.items()), "--defense=none", "--output_dir=out",
        "--load_col={'inter': ['user_id', 'item_id', 'timestamp']}",
    )  # fmt: skip
    assert code == 0
    for stage in ("target: trains ", "queries ", "surrogate-none: trains "):
        assert stage in bars
    assert "at most" in bars
    assert "\x1b[" not in bars.replace("\x1b[A", "")  # no colour
    table = printed[printed.index("- target -") :]
    assert "|" not in table
    assert max(map(len, table.split("results.json")[0].splitlines())) <= 80
    assert "| none " in (tmp_path / "out" / "results.md").read_text()


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


@pytest.mark.parametrize("name", SUBCOMMANDS)
@pytest.mark.parametrize("before", [[], ["--debug"], ["--quiet"]], ids=["", "debug", "quiet"])
def test_a_subcommand_has_help_of_its_own_with_examples_first(name, before, capsys):
    text = printed_help(capsys, *before, *name.split(), "--help")
    assert text.startswith(f"usage: recbole-gro {name.replace('run', '[run]')} ")
    assert f"\nexamples:\n  recbole-gro {name.removeprefix('run')}".rstrip() in text
    assert 0 < text.index("\nexamples:\n") < text.index("  -h, --help")


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
