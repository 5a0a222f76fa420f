"""Plugins are imported before settings are checked."""

import subprocess
import sys
from importlib import metadata
from pathlib import Path

import pytest

import recbole_gro
from recbole_gro.cli.main import main
from recbole_gro.config import plugins
from recbole_gro.config.plugins import import_plugins
from recbole_gro.utils.errors import UserError

PART = """
from recbole_gro import Defense, Settings, key, register_defense

class TurnSettings(Settings):
    turn_by: int = key(1, "int >= 1", "places that a list is turned by")

@register_defense("{name}")
class TurnDefense(Defense):
    training_settings, output_settings = (), (TurnSettings,)

    def shown(self, ranked):
        return ranked.roll(TurnSettings.of(self.config).turn_by, dims=1)
"""


@pytest.fixture
def plugin(tmp_path, monkeypatch, own_parts):
    """Write a module with a defense to the working folder; its name: `plugin("turn")`."""
    monkeypatch.chdir(tmp_path)

    def write(name, text=None):
        (tmp_path / f"plugin_{name}.py").write_text(PART.replace("{name}", name) if text is None else text)
        return f"plugin_{name}"

    return write


@pytest.fixture
def words(tiny_data_path):
    from pipeline import TINY_RUN

    small = {**TINY_RUN, "data_path": str(tiny_data_path), "attack": False}
    return [f"--{name}={value}" for name, value in small.items()]


def test_a_part_of_a_plugin_is_reachable_from_the_command(plugin, words, tmp_path, capsys):
    name = plugin("turn")
    command = ["-m", "BERT4Rec", "-d", "tiny", *words, "--defense=[none, turn]", "--output_dir=run"]
    assert main([*command, f"--plugins=[{name}]", "--turn_by=2"]) == 0
    printed = capsys.readouterr().out
    assert "| turn" in printed
    assert main([*command, f"--plugins={name}", "--turn_by=0"]) == 2
    assert "turn_by: 0 is not allowed; it takes a whole number >= 1" in capsys.readouterr().err


def test_a_part_of_a_plugin_is_reachable_from_a_config_file(plugin, words, tmp_path):
    (tmp_path / "own.yaml").write_text(f"plugins: [{plugin('twist')}]\ndefense: [twist]\n")
    command = ["-m", "BERT4Rec", "-d", "tiny", "--config_files=own.yaml", *words, "--output_dir=run"]
    assert main(command) == 0


@pytest.mark.parametrize(
    "executor",
    [["--workers=2"], pytest.param(["--executor=ray"], marks=pytest.mark.every)],
    ids=["local", "ray"],
)
def test_a_part_of_a_plugin_is_reachable_from_worker_processes(plugin, tiny_data_path, tmp_path, executor):
    from experiment.grid import tiny

    if "ray" in executor[0]:
        pytest.importorskip("ray", reason="ray is not installed: pip install ray", exc_type=ImportError)
    name = f"wheel_{executor[0][2:4]}"
    fixed = "\n".join(f"  {key}: {value}" for key, value in tiny(tiny_data_path).fixed.items())
    grid = f"title: Turned\nfigure: k\nvary: {{defense: [none, {name}]}}\nseeds: [1, 2]\nfixed:\n{fixed}\n"
    (tmp_path / "grid.yaml").write_text(grid)
    assert main(["experiment", "grid.yaml", f"--plugins=[{plugin(name)}]", *executor, "--output_dir=out"]) == 0
    assert len(list((tmp_path / "out" / "cells").iterdir())) == 4


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (None, "plugins: No module named 'plugin_absent'"),
        ("1 / 0", "plugins: importing plugin_bad failed: ZeroDivisionError division by zero ("),
        (
            "raise SystemExit(3)",
            "plugins: importing plugin_bad ends the process; put its script part under if __name__",
        ),
    ],
)
def test_a_plugin_that_cannot_be_imported_is_named(plugin, text, reason):
    name = "plugin_absent" if text is None else plugin("bad", text)
    with pytest.raises(UserError) as error:
        import_plugins({"plugins": [name]})
    assert str(error.value).startswith(reason)
    assert (", line 1, in <module>)" in str(error.value)) == (text == "1 / 0")
    assert "\n" not in str(error.value)


def test_plugins_are_named_with_commas_too(plugin):
    names = [plugin(name, f"VALUE = {name!r}") for name in ("one", "two")]
    for name in names:
        sys.modules.pop(name, None)
    import_plugins({"plugins": ",".join(names)})
    assert set(names) <= sys.modules.keys()


def test_a_plugin_may_change_the_working_folder(plugin, tmp_path):
    (tmp_path / "elsewhere").mkdir()
    before = list(sys.path)
    import_plugins({"plugins": [plugin("mover", "import os\nos.chdir('elsewhere')")]})
    assert sys.path == before


def test_installed_plugins_are_imported_once(monkeypatch):
    loaded = []

    class Entry:
        name, value = "own", "my_module"

        def load(self):
            loaded.append(self.name)

    monkeypatch.setattr(metadata, "entry_points", lambda group: [Entry()] if group == plugins.GROUP else [])
    plugins.import_installed.cache_clear()
    import_plugins()
    import_plugins()
    plugins.import_installed.cache_clear()
    assert loaded == ["own"]


def test_help_lists_the_keys_of_the_package(tmp_path):
    environment = {"PYTHONPATH": str(Path(recbole_gro.__file__).parents[1]), "PATH": ""}
    command = [sys.executable, "-m", "recbole_gro", "run", "--help"]
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert done.returncode == 0
    assert "--plugins=None  (names of module or None)" in done.stdout
