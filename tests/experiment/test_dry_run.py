"""Dry runs: nothing is downloaded or written."""

import pytest
from experiment.grid import tiny
from pipeline import files_below

from recbole_gro.cli.main import main

DOWNLOAD = "dataset ml-1m: a run would download it to"


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """An empty working folder; a download fails the test."""

    def download(*_):
        raise AssertionError("a download")

    monkeypatch.setattr("recbole.data.dataset.dataset.Dataset._download", download)
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    return tmp_path / "here"


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("defenses", "no estimate: training steps are timed on the data; nothing was run"),
        ("detection", "nothing was run; no duration is given: that of figure detection is not estimated"),
        ("alarms", "nothing was run; no duration is given: that of figure alarms is not estimated"),
        ("ownership", "nothing was run; no duration is given: that of figure ownership is not estimated"),
        ("marks", "nothing was run; no duration is given: that of figure marks is not estimated"),
    ],
)
def test_absent_data_are_named_and_not_downloaded(folder, capsys, name, reason):
    assert main(["experiment", name, "--dry_run", "--dataset=ml-1m"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert sum(line.startswith(f"{DOWNLOAD} {folder / 'dataset' / 'ml-1m'}") for line in lines) == 1
    assert lines[-1] == reason
    assert not list(folder.iterdir())


def test_cells_whose_data_are_there_have_an_estimate(folder, tiny_data_path, capsys):
    words = [f"--{key}={value}" for key, value in tiny(tiny_data_path).fixed.items() if key != "dataset"]
    (folder / "own.yaml").write_text("{title: T, figure: dataset, seeds: [1], vary: {dataset: [tiny, ml-1m]}}")
    before = files_below(tiny_data_path)
    assert main(["experiment", "own.yaml", "--dry_run", *words]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert any(line.startswith("  dataset tiny, seed 1: about") for line in lines)
    assert "  dataset ml-1m, seed 1: no estimate without its data" in lines
    assert lines[-1].endswith("for cells whose data are there, 1 at a time; nothing was run")
    assert files_below(tiny_data_path) == before
    assert [file.name for file in folder.iterdir()] == ["own.yaml"]


def test_table_1_downloads_no_dataset_whose_folder_exists(folder, capsys):
    (folder / "dataset" / "ml-20m").mkdir(parents=True)
    assert main(["experiment", "datasets", "--dry_run", "--dataset=ml-20m"]) == 0
    assert "does not exist; RecBole would download it if the folder did not exist" in capsys.readouterr().out
