"""The command of experiments, from words to a report."""

import csv
import warnings

import pytest
from conftest import SMALL, WIDTHS

from recbole_gro import UserError
from recbole_gro.cli.experiment import main, parse
from recbole_gro.experiment import run as experiment_run
from recbole_gro.experiment.cell import Cell
from recbole_gro.experiment.run import run_experiment


@pytest.fixture
def words(tiny_data_path, tmp_path, monkeypatch):
    """What makes an experiment tiny, as words of the command; in a working folder of its own."""
    monkeypatch.chdir(tmp_path)
    small = {key: value for key, value in SMALL.items() if key not in ("seed", "gpu_id")}
    budget = {"query_sequences": 8, "surrogate_epochs": 1, "gro_epochs": 1, "epochs": 1}
    given = {**small, **WIDTHS["BERT4Rec"], **budget, "dataset": "tiny", "data_path": str(tiny_data_path)}
    return [f"--{key}={value}" for key, value in given.items()]


def cells_of(folder):
    return [Cell.load(file) for file in sorted((folder / "cells").iterdir())]


def test_a_grid_is_run_reported_and_not_run_again(words, tmp_path, capsys):
    grid = ["lambda", "--gro_lambda=[0.1, 1.0]", "--seeds=[1, 2]", *words]
    assert main(grid) == 0
    folder = tmp_path / "runs" / "experiment-lambda"
    assert {"report.html", "report.md", "figure-1.png", "results.csv", "cells", "stages", "logs"} == {
        f.name for f in folder.iterdir()
    }
    with open(folder / "results.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert {(row["gro_lambda"], row["defense"], row["seed"]) for row in rows} == {
        (x, defense, seed) for x in ("0.1", "1.0") for defense in ("none", "gro") for seed in ("1", "2")
    }
    said = capsys.readouterr()
    assert "8 cells, 0 done, 8 to run" in said.out
    before = {file: file.stat().st_mtime_ns for file in (folder / "cells").iterdir()}
    assert main(grid) == 0
    assert "8 cells, 8 done, 0 to run" in capsys.readouterr().out
    assert before == {file: file.stat().st_mtime_ns for file in (folder / "cells").iterdir()}


def test_a_dry_run_says_what_would_be_run_and_how_long_and_runs_nothing(words, tmp_path, capsys):
    assert main(["defenses", "--dry_run", "--seeds=3", *words]) == 0
    told = capsys.readouterr().out
    assert "4 cells, 0 done, 4 to run" in told
    assert "defense reverse, seed 3: about" in told
    assert "in all, 1 at a time; nothing was run" in told
    assert list(tmp_path.iterdir()) == []


def test_workers_give_the_same_numbers_and_leave_the_console_tidy(words, tmp_path, capfd, monkeypatch):
    monkeypatch.setenv("PYTHONWARNINGS", "default")  # of the processes; what pytest ignores stands in this one alone
    grid = ["defenses", "--defense=[none, gro]", "--seeds=[1, 2]", *words]
    with warnings.catch_warnings():
        warnings.simplefilter("default")
        assert main([*grid, "--output_dir=one"]) == 0
        assert main([*grid, "--output_dir=two", "--workers=2"]) == 0
    assert "GradScaler" not in capfd.readouterr().err
    assert (tmp_path / "one" / "results.csv").read_text() == (tmp_path / "two" / "results.csv").read_text()


def test_experiments_with_one_stages_dir_train_a_target_and_a_defended_one_once(words, tmp_path, capsys):
    shared = ["--seeds=1", "--stages_dir=shared", *words]
    assert main(["defenses", "--defense=[none, gro]", *shared]) == 0
    before = {file.name: file.stat().st_mtime_ns for file in (tmp_path / "shared").iterdir()}
    capsys.readouterr()
    others = ["architectures", "--defense=[none, gro]", "--surrogate_model=[NARM, GRU4Rec]", *shared]
    assert main(others) == 0
    assert "4 cells, 0 done, 4 to run" in capsys.readouterr().out
    after = {file.name: file.stat().st_mtime_ns for file in (tmp_path / "shared").iterdir()}
    assert before.items() <= after.items()
    assert {name.partition("-")[0] for name in after.keys() - before.keys()} == {"surrogate"}
    first, second = (cells_of(tmp_path / "runs" / f"experiment-{name}") for name in ("defenses", "architectures"))
    assert len(second) == 4
    for cell in second:
        [twin] = [other for other in first if other.values["defense"] == cell.values["defense"]]
        stages = {"defended"} if cell.values["defense"] == "gro" else {"target"}
        assert all(cell.facts["seconds"][stage] == twin.facts["seconds"][stage] for stage in stages)
        assert (cell.target_ranks == twin.target_ranks).all()
    assert not (tmp_path / "runs" / "experiment-architectures" / "stages").exists()


@pytest.mark.parametrize("key", ["output_dir", "stages_dir"])
def test_a_folder_that_cannot_be_made_is_named(words, tmp_path, capsys, key):
    (tmp_path / "taken").touch()
    assert main(["defenses", "--seeds=1", f"--{key}=taken", *words]) == 2
    assert capsys.readouterr().err == f"recbole-gro-experiment: error: {key}: taken cannot be made: File exists\n"


def test_a_cell_that_fails_is_told_and_the_others_are_kept(words, tmp_path, capsys, monkeypatch):
    run = experiment_run.run_one

    def failing(*given, **options):
        if given[-2]["defense"] == "reverse":
            raise UserError("out of luck")
        run(*given, **options)

    monkeypatch.setattr("recbole_gro.experiment.run.run_one", failing)
    assert main(["defenses", "--seeds=1", *words]) == 2
    said = capsys.readouterr()
    assert "1 of the cells failed, the others are kept: defense reverse, seed 1: out of luck" in said.err
    report = (tmp_path / "runs" / "experiment-defenses" / "report.md").read_text()
    assert "defense reverse, seed 1" in report
    monkeypatch.undo()
    monkeypatch.chdir(tmp_path)
    assert main(["defenses", "--seeds=1", *words]) == 0
    assert "4 cells, 3 done, 1 to run" in capsys.readouterr().out


def test_stopping_says_how_to_go_on(words, capsys, monkeypatch):
    monkeypatch.setattr(
        "recbole_gro.experiment.run.run_one", lambda *args, **options: (_ for _ in ()).throw(KeyboardInterrupt)
    )
    assert main(["defenses", "--seeds=1", *words]) == 130
    said = capsys.readouterr().err
    assert "stopped" in said
    assert "the same command goes on from here" in said


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ([], "which experiment? Give one of "),
        (["defences"], "did you mean defenses?"),
        (["tradeoff", "--defense=[gro, truncate]", "--dry_run"], "add none to its values"),
        (["tradeoff", "--attacker_known_share=0"], "attacker_known_share: 0 leaves few_shot nothing to know"),
        (["lambda", "--dataset=ml-10k", "--dry_run"], "did you mean ml-100k?"),
        (["defenses", "--workers=0"], "workers: 0 is not allowed; it takes a whole number >= 1"),
        (["defenses", "--workers=two"], "workers: 'two' is not allowed"),
        (["defenses", "--executor=slurm"], "executor: 'slurm' is not one of local, ray"),
        (["defenses", "--seeds=[one]"], "seeds: ['one'] is not a list of whole numbers"),
        (["defenses", "--defense=[none, reverso]"], "unknown defense 'reverso'. Did you mean 'reverse'?"),
        (["lambda", "--gro_lambda=[0.1, -1]"], "gro_lambda: -1 is not allowed"),
        (["defenses", "--gro_lamda=1"], "unknown key 'gro_lamda'; did you mean 'gro_lambda'?"),
        (["defenses", "--config_files=a.yaml"], "config_files: an experiment is a file itself; give its keys as --KEY"),
        (["defenses", "word"], "argument 'word' is not understood"),
        (["defenses", "--served_k=100000"], "served_k: 100000 is too long for a catalogue"),
    ],
)
def test_bad_words_end_in_a_line_and_leave_nothing(given, said, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(given) == 2
    lines = capsys.readouterr().err.strip().splitlines()
    assert len(lines) == 1
    assert said in lines[0]
    assert not list(tmp_path.rglob("*.npz"))


def test_from_python(words, tmp_path):
    settings = dict(word.removeprefix("--").split("=", 1) for word in words)
    from recbole_gro.config.files import literal

    folder = run_experiment(
        "defenses", {**{k: literal(v) for k, v in settings.items()}, "defense": ["none"], "seeds": [1]}, "own"
    )
    assert (folder / "results.csv").is_file()


def test_texts_in_a_list_of_values_stay_texts():
    _, settings = parse(["table1", "--dataset=[2024,ml-1m]", "--gro_lambda=[0.1,1]", "--data_path=2024"])
    assert settings == {"dataset": ["2024", "ml-1m"], "gro_lambda": [0.1, 1], "data_path": "2024"}
