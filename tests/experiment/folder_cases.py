"""Shared cases of experiments on suspects; `grid` is the fixture of a module: file and settings."""

import pytest

from recbole_gro.experiment.run import run_experiment
from recbole_gro.utils.errors import UserError
from recbole_gro.utils.files import one_at_a_time


class FolderCases:
    """The suite of the folders: `class TestFolders(FolderCases)`."""

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
