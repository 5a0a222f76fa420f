"""Shared cases of experiments on suspects; `grid` is the fixture of a module: file and settings."""

import sys

import pytest

from recbole_gro.config import own_modules
from recbole_gro.experiment.run import run_experiment
from recbole_gro.utils.errors import UserError
from recbole_gro.utils.files import one_at_a_time

READ = {"surrogate_config": "small.yaml", "query_choice": "own_choice:choose"}
ENTRY = "{attacker: standard, surrogate_config: small.yaml, query_choice: 'own_choice:choose'}"
CHOICE = "def choose(lists, *_):\n    return lists[:, 0]\n"


def with_another_file(file):
    file.with_name("small.yaml").write_text("hidden_size: 16\n")


def with_equal(file):
    file.write_text(file.read_text() + "equal: {surrogate_batch_size: hidden_size}\n")


def with_another_source(file):
    file.with_name("own_choice.py").write_text(CHOICE.replace("0", "1"))
    own_modules._sources.clear()  # as of a new process


class FolderCases:
    """The suite of the folders: `class TestFolders(FolderCases)`.

    Attributes:
        unmade: {function of the package: what stands for it}, where tables are made without any rows.
    """

    unmade = {}

    def test_a_folder_in_use_is_refused(self, grid, tmp_path):
        with (
            one_at_a_time(tmp_path / "out" / "experiment"),
            pytest.raises(UserError, match=r"^output_dir: another process runs in out; wait for its end or name anot"),
        ):
            run_experiment(*grid, output_dir="out")

    @pytest.mark.parametrize("key", ["output_dir", "stages_dir"])
    def test_a_folder_that_cannot_be_made_is_named(self, grid, tmp_path, key):
        (tmp_path / "taken").touch()
        with pytest.raises(UserError, match=f"^{key}: taken.* cannot be made: (File exists|Not a directory)$"):
            run_experiment(*grid, **{"output_dir": "out", key: "taken"})

    @pytest.mark.parametrize("change", [with_another_file, with_equal, with_another_source])
    @pytest.mark.parametrize("given_by", ["fixed", "copies"])
    def test_tables_are_made_again_where_suspects_read_something_else(
        self, grid, tmp_path, monkeypatch, capsys, change, given_by
    ):
        for name, other in self.unmade.items():
            monkeypatch.setattr(f"recbole_gro.experiment.{name}", other)
        (tmp_path / "small.yaml").write_text("hidden_size: 8\n")
        (tmp_path / "own_choice.py").write_text(CHOICE)
        monkeypatch.delitem(sys.modules, "own_choice", raising=False)
        own_modules._sources.clear()
        file, settings = grid
        text = (tmp_path / file).read_text().replace("+random", "+autoregressive")  # which a function chooses items for
        if given_by == "fixed":
            settings = settings | READ
        else:
            text = text.replace("copies: [", f"copies: [{ENTRY}, ")
        (tmp_path / file).write_text(text)
        run_experiment(file, settings, output_dir="out")
        run_experiment(file, settings, output_dir="out", dry_run=True)
        assert "missing" not in capsys.readouterr().out
        change(tmp_path / file)
        run_experiment(file, settings, output_dir="out", dry_run=True)
        printed = capsys.readouterr().out
        assert ": missing\n" in printed
        assert ": done\n" not in printed
