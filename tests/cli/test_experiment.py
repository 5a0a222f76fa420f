"""The command of experiments, from words to a report."""

import csv

import pytest
from experiment.grid import tiny

from recbole_gro.cli.experiment import main, parse
from recbole_gro.experiment import run
from recbole_gro.utils.errors import UserError


@pytest.fixture
def words(tiny_data_path, tmp_path, monkeypatch):
    """Settings that make an experiment tiny, as words of the command; the working folder is empty."""
    monkeypatch.chdir(tmp_path)
    return [f"--{key}={value}" for key, value in tiny(tiny_data_path).fixed.items()]


def test_the_command_runs_and_reports_an_experiment(words, tmp_path, capsys):
    assert main(["defenses", "--defense=[none, reverse]", "--seeds=[1, 2]", "--output_dir=out", *words]) == 0
    assert "4 cells, 0 done, 4 to run" in capsys.readouterr().out
    with open(tmp_path / "out" / "results.csv", newline="") as file:
        assert {(row["defense"], row["seed"]) for row in csv.DictReader(file)} == {
            (defense, seed) for defense in ("none", "reverse") for seed in ("1", "2")
        }


def test_a_dry_run_prints_the_missing_cells_and_their_duration(words, tmp_path, capsys):
    assert main(["defenses", "--dry_run", "--seeds=3", *words]) == 0
    printed = capsys.readouterr().out
    assert "4 cells, 0 done, 4 to run" in printed
    assert "defense reverse, seed 3: about" in printed
    assert "in all, 1 at a time; nothing was run" in printed
    assert list(tmp_path.iterdir()) == []


def test_values_with_commas_between_are_several(words, capsys):
    assert main(["defenses", "--dry_run", "--defense=none,reverse", "--seeds=1,2", *words]) == 0
    printed = capsys.readouterr().out
    assert "4 cells, 0 done, 4 to run" in printed
    assert "defense reverse, seed 2: about" in printed


def test_an_interrupt_names_the_way_to_resume(words, capsys, monkeypatch):
    def interrupted(*args, **options):
        raise KeyboardInterrupt

    monkeypatch.setattr(run, "run_cell", interrupted)
    assert main(["defenses", "--seeds=1", *words]) == 130
    errors = capsys.readouterr().err
    resumes = "finished cells and stages are kept; the same command resumes the experiment"
    assert errors.splitlines()[-1] == f"recbole-gro experiment: stopped; {resumes}"


def test_options_and_settings_have_values():
    options, settings = parse(["lambda", "--workers=2", "--dry_run", "--gro_lambda=[0.1, 1]", "--dataset=7"])
    assert (options.name, options.workers, options.dry_run, options.executor) == ("lambda", 2, True, "local")
    assert settings == {"gro_lambda": [0.1, 1], "dataset": "7"}
    with pytest.raises(UserError, match="expected one argument"):
        parse(["lambda", "--workers"])


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ([], "name: which experiment? Give one of "),
        (["defences"], "Did you mean 'defenses'?"),
        (["tradeoff", "--defense=[gro, truncate]", "--dry_run"], "add none to its values"),
        (["tradeoff", "--attacker_known_share=0"], "attacker_known_share: 0 gives few_shot no auxiliary data"),
        (["lambda", "--dataset=ml-10k", "--dry_run"], "did you mean ml-100k?"),
        (["defenses", "--workers=0"], "workers: 0 is not allowed; it takes a whole number >= 1"),
        (["defenses", "--workers=two"], "workers: 'two' is not allowed"),
        (["defenses", "--executor=slurm"], "executor: 'slurm' is not one of local, ray"),
        (["defenses", "--executor="], "argument --executor: it is empty"),
        (["defenses", "--ray_address=auto"], "ray_address: the executor local does not read it; give --executor=ray"),
        (["defenses", "--stages_dir="], "argument --stages_dir: it is empty"),
        (["defenses", "--seeds=[]"], "seeds: [] is not a list of whole numbers >= 0"),
        (["defenses", "--seeds=[1,1]"], "seeds has duplicate values in [1, 1]"),
        (["defenses", "--workers=-1"], "workers: -1 is not allowed; it takes a whole number >= 1"),
        (["defenses", "--seeds=[one]"], "seeds: ['one'] is not a list of whole numbers >= 0"),
        (["defenses", "--defense=[none, reverso]"], "unknown defense 'reverso'. Did you mean 'reverse'?"),
        (["lambda", "--gro_lambda=[0.1, -1]"], "gro_lambda: -1 is not allowed"),
        (["defenses", "--sedes=[1]"], "unknown key 'sedes'; did you mean 'seeds'?"),
        (["defenses", "--seed=1"], "seed: an experiment has seeds; give --seeds=[1,2,3], or --seeds=1 for one"),
        (["paper", "--adversry=mixed"], "unknown key 'adversry'; did you mean 'adversary'?"),
        (["defenses", "--ray_adress=auto"], "unknown key 'ray_adress'; did you mean 'ray_address'?"),
        (["defenses", "--gro_lamda=1"], "unknown key 'gro_lamda'; did you mean 'gro_lambda'?"),
        (["defenses", "--config_files=a.yaml"], "config_files: give the keys as --KEY=VALUE"),
        (["defenses", "word"], "argument 'word' is "),
        (["defenses", "--served_k=100000"], "served_k: 100000 is too long for a catalogue"),
    ],
)
def test_invalid_input_is_reported_in_one_line_and_leaves_nothing(given, message, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(given) == 2
    lines = capsys.readouterr().err.strip().splitlines()
    assert len(lines) == 1
    assert message in lines[0]
    assert not list(tmp_path.rglob("*.npz"))


def test_texts_in_a_list_of_values_stay_texts():
    _, settings = parse(["table1", "--dataset=[2024,ml-1m]", "--gro_lambda=[0.1,1]", "--data_path=2024"])
    assert settings == {"dataset": ["2024", "ml-1m"], "gro_lambda": [0.1, 1], "data_path": "2024"}
