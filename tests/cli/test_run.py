import sys

import pytest
from cli.cases import printed_help
from pipeline import files_below, tiny_run

from recbole_gro.cli.main import main
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


def test_options_and_settings_are_separated():
    call, settings = parse(["-m", "NARM", "--config_files=a.yaml b.yaml", "--gro_lambda=0.1", "--x={'a': 1}"])
    assert call == {"model": "NARM", "dataset": None, "config_file_list": ["a.yaml", "b.yaml"]}
    assert settings == {"gro_lambda": "0.1", "x": "{'a': 1}"}


def test_a_setting_given_twice_is_refused():
    with pytest.raises(UserError, match="twice"):
        parse(["--gro_lambda=1", "--gro_lambda=2"])
