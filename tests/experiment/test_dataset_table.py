"""Table 1 as an experiment: datasets that the tests write, compared with the paper's."""

import csv
from urllib.error import URLError

import pytest
from pipeline import files_below

from recbole_gro.cli.main import main
from recbole_gro.data.statistics import PAPER
from recbole_gro.experiment.plan import read_experiment

FIVE = {user: list("abcde") for user in "vwxyz"}  # passes the filter of properties/dataset


@pytest.fixture
def table(write_dataset, tmp_path, monkeypatch, capsys):
    """Run the command in a folder with `tiny` and `ml-1m`, without network.

    `code, printed, errors = table("--dataset=[tiny]")`; the report's folder is tmp_path / "made".
    """
    write_dataset({"ann": list("abc"), "bob": list("abcd")})
    write_dataset({**FIVE, "few": list("abcd"), "rare": list("abcdf")}, name="ml-1m")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("urllib.request.urlopen", lambda url: (_ for _ in ()).throw(URLError("no network")))

    def run(*words, name="datasets", output=True):
        code = main(["experiment", name, f"--data_path={tmp_path}", *["--output_dir=made"] * output, *words])
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    return run


def sizes(folder):
    """Return {(dataset, measure): row of results.csv}."""
    with open(folder / "results.csv", newline="", encoding="utf-8") as file:
        return {(row["dataset"], row["measure"]): row for row in csv.DictReader(file)}


def test_each_dataset_is_compared_with_the_papers(table, tmp_path):
    code, printed, errors = table("--dataset=[tiny, ml-1m]")
    assert (code, errors) == (0, "")
    assert "left out" not in printed
    assert files_below(tmp_path / "made") == ["report.html", "report.md", "results.csv"]
    found = sizes(tmp_path / "made")
    assert found["tiny", "users"] == {
        "dataset": "tiny", "measure": "users", "here": "2", "paper": "", "difference": "",
    }  # fmt: skip
    assert float(found["tiny", "mean_length"]["here"]) == 3.5
    # five interactions, of items and then of users, as properties/dataset/ml-1m.yaml says: few and rare go
    users = found["ml-1m", "users"]
    assert [int(users[column]) for column in ("here", "paper", "difference")] == [5, 6040, 5 - 6040]
    assert float(found["ml-1m", "density"]["here"]) == 1.0
    assert float(found["ml-1m", "density"]["paper"]) == PAPER["ml-1m"].density
    lines = (tmp_path / "made" / "report.md").read_text().splitlines()
    [row] = [line for line in lines if line.startswith("| ml-1m") and "difference" in line]
    assert row.replace(" ", "") == "|ml-1m|difference|-6035|-3411|-160.5|+95.16%|"
    assert sum(line.startswith("| tiny") for line in lines) == 1


def test_fixed_settings_apply_to_all_datasets(table, tmp_path):
    assert (
        table("--dataset=[tiny, ml-1m]", "--user_inter_num_interval=[4,inf)", "--item_inter_num_interval=None")[0] == 0
    )
    found = sizes(tmp_path / "made")
    assert found["tiny", "users"]["here"] == "1"
    assert found["ml-1m", "users"]["here"] == "7"
    assert "user_inter_num_interval" in (tmp_path / "made" / "report.md").read_text()


def test_datasets_that_are_not_available_are_left_out(table, tmp_path):
    code, printed, errors = table("--dataset=[ml-20m, tiny, steam]")
    assert (code, errors) == (0, "")
    [line] = [line for line in printed.splitlines() if line.startswith("left out")]
    assert line.startswith("left out: ml-20m, steam, neither on disk nor downloaded; ")
    assert "recbole-gro dataset convert NAME PATH makes ml-20m, steam from the published files" in line
    assert {dataset for dataset, _ in sizes(tmp_path / "made")} == {"tiny"}
    assert "could not download it (no network)" in (tmp_path / "made" / "report.md").read_text()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--dataset=[ml-20m, steam]"], "dataset: none is available: ml-20m, steam, neither on disk nor downloaded; "),
        (["--dataset=[tiny, ml-20n]"], "dataset: ml-20n is not in "),
        (["--dataset=[tiny, ml-20n]", "--dry_run"], "did you mean ml-20m?"),
        (["--dataset=tiny", "--core_filter=twice"], "core_filter: 'twice' is not allowed"),
        (["--dataset=tiny", "--seeds=[1]"], "seeds: experiment datasets draws no random numbers and takes no seeds"),
        (["--dataset=[tiny, tiny]"], "dataset has duplicate values"),
        (["--dataset=[]"], "dataset takes a list of values"),
    ],
)
def test_invalid_input_is_reported_in_one_line_and_writes_nothing(table, tmp_path, words, message):
    code, _, errors = table(*words)
    assert code == 2
    assert message in errors
    assert errors.count("\n") == 1
    assert not (tmp_path / "made").exists()


def test_an_invalid_file_is_reported_after_the_valid_ones(table, tmp_path):
    (tmp_path / "tiny" / "tiny.inter").write_text("user_id:token\titem_id:token\n")
    code, _, errors = table("--dataset=[tiny, ml-1m]")
    assert code == 2
    assert "tiny.inter: there is no column 'timestamp'" in errors
    assert errors.count("\n") == 1
    assert {dataset for dataset, _ in sizes(tmp_path / "made")} == {"ml-1m"}


def test_a_dry_run_names_the_files(table, tmp_path):
    before = files_below(tmp_path)
    code, printed, _ = table("--dataset=[tiny, ml-20m]", "--dry_run")
    assert code == 0
    assert f"tiny: {tmp_path / 'tiny' / 'tiny.inter'}\n" in printed
    assert "ml-20m.inter, which does not exist; RecBole would download it" in printed
    assert "nothing was read" in printed
    assert files_below(tmp_path) == before


def test_a_dry_run_says_where_steam_comes_from(table):
    _, printed, _ = table("--dataset=[steam]", "--dry_run")
    assert "; RecBole has no download of that name; recbole-gro dataset convert steam PATH makes it" in printed
    assert "--dataset=steam-not-merged downloads RecBole's" in printed
    assert ": 1 dataset; made" in printed


@pytest.mark.parametrize(("folder", "reason"), [("/proc/nowhere", "No such file"), ("tiny/tiny.inter", "File exists")])
def test_a_folder_that_cannot_be_made_is_named(table, tmp_path, folder, reason):
    before = files_below(tmp_path)
    code, printed, errors = table("--dataset=[tiny]", f"--output_dir={folder}", output=False)
    assert (code, errors.count("\n")) == (2, 1)
    assert "tiny:" not in printed  # which was not read
    assert f"output_dir: {folder} cannot be made: {reason}" in errors
    assert files_below(tmp_path) == before


def test_the_packaged_experiment_reads_the_papers_datasets():
    datasets = read_experiment("datasets").vary["dataset"]
    assert {"ml-1m", "ml-20m", "steam"} == set(datasets) & set(PAPER)
    assert set(datasets) - set(PAPER) == {"ml-100k", "amazon-beauty"}


@pytest.mark.parametrize("vary", ["{defense: [none]}", "{dataset: [tiny], defense: [none, gro]}"])
def test_a_table_that_varies_another_key_is_refused(table, tmp_path, vary):
    (tmp_path / "own.yaml").write_text(f"title: Own\nfigure: table1\nvary: {vary}\n")
    code, _, errors = table(name="own.yaml")
    assert code == 2
    assert "experiment own: figure table1 takes dataset as its only varied key" in errors
