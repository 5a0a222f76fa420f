"""The command that converts a published dataset."""

import pytest

from recbole_gro.cli.main import main

RATINGS = "".join(f"{user}::{item}::5::{978300760 + item}\n" for user, item in ((1, 10), (1, 20), (2, 10), (2, 30)))


@pytest.fixture
def raw(tmp_path, monkeypatch):
    """Write ratings.dat of ml-1m to raw/ in the working folder."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "raw").mkdir()
    (tmp_path / "raw" / "ratings.dat").write_text(RATINGS)


def test_the_command_reports_files_and_the_next_commands(raw, tmp_path, capsys, on_terminal):
    on_terminal(80)
    assert main(["dataset", "convert", "ml-1m", "raw", "--output", "my data"]) == 0
    printed, progress = capsys.readouterr()
    assert "raw/ratings.dat -> my data/ml-1m/ml-1m.inter: 4 rows" in printed
    assert "recbole-gro dataset statistics ml-1m --data_path='my data'" in printed
    assert "recbole-gro -m BERT4Rec -d ml-1m --data_path='my data'" in printed
    assert "ratings.dat" in progress
    assert main(["dataset", "convert", "ml-1m", "raw", "--quiet"]) == 0
    assert (tmp_path / "dataset" / "ml-1m" / "ml-1m.inter").exists()
    assert capsys.readouterr().err == ""


def test_the_command_ends_in_one_line(tmp_path, capsys):
    assert main(["dataset", "convert", "ml-1m", str(tmp_path / "absent")]) == 2
    errors = capsys.readouterr().err
    assert errors.startswith("recbole-gro dataset convert: error: ")
    assert len(errors.splitlines()) == 1
