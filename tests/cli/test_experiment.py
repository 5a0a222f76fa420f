"""The command of experiments, from words to a report."""

import csv
import re
import sys
from functools import partial

import pytest
from experiment.grid import tiny

from recbole_gro.attack.attacker import _attackers
from recbole_gro.cli.experiment import parse
from recbole_gro.cli.main import run_subcommand
from recbole_gro.defense.base import defenses
from recbole_gro.experiment import run
from recbole_gro.utils.errors import UserError

main = partial(run_subcommand, "experiment")


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
        (["defenses", "--workers=0"], "workers: 0 is not allowed; it takes a whole number 1 to 1024"),
        (["defenses", "--workers=two"], "workers: 'two' is not allowed"),
        (["defenses", "--executor=slurm"], "executor: 'slurm' is not one of local, ray"),
        (["defenses", "--executor="], "argument --executor: it is empty"),
        (["defenses", "--ray_address=auto"], "ray_address: the executor local does not read it; give --executor=ray"),
        (["defenses", "--stages_dir="], "argument --stages_dir: it is empty"),
        (["defenses", "--seeds=[]"], "seeds: [] is not a list of whole numbers >= 0"),
        (["defenses", "--seeds=[1,1]"], "seeds has duplicate values in [1, 1]"),
        (["defenses", "--workers=-1"], "workers: -1 is not allowed; it takes a whole number 1 to 1024"),
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


FAULTY = """
from recbole_gro import Attacker, Defense, ExtractionTrainer, register_attacker, register_defense
from recbole.model.sequential_recommender import GRU4Rec

@register_defense("faulty_shown")
class Shown(Defense):
    summary = "fails"
    training_settings = output_settings = ()
    def shown(self, ranked): return ranked.nothing

@register_defense("faulty_made")
class Made(Shown):
    def __init__(self, config): self.nothing

@register_defense("faulty_protect")
class Protect(Shown):
    def shown(self, ranked): return ranked
    def protect(self, target, train_data, valid_data, show_progress=False): return self.nothing

@register_defense("faulty_ending")
class Ending(Protect):
    def protect(self, target, train_data, valid_data, show_progress=False): raise SystemExit(0)

class Trainer(ExtractionTrainer):
    def list_loss(self, scores, served, lengths, generator): return self.nothing

@register_attacker("faulty_trained")
class Trained(Attacker):
    summary = "fails"
    trainer = Trainer

class Model(GRU4Rec):
    def calculate_loss(self, interaction): return self.nothing
"""


@pytest.fixture
def faulty(words, tmp_path, monkeypatch):
    """Words of an experiment with parts of one's own that raise; they are forgotten afterwards."""
    for registry in (defenses, _attackers):
        monkeypatch.setattr(registry, "_entries", dict(registry._entries))
    monkeypatch.delitem(sys.modules, "faulty_parts", raising=False)
    (tmp_path / "faulty_parts.py").write_text(FAULTY)
    yield ["defenses", "--plugins=[faulty_parts]", "--seeds=1", "--output_dir=out", *words]
    sys.modules.pop("faulty_parts", None)


@pytest.mark.parametrize(
    ("given", "line"),
    [
        (["--defense=[none,faulty_shown]"], "defense faulty_shown: AttributeError: .*, line 9, in Shown.shown"),
        (["--defense=[none,faulty_made]"], "defense faulty_made: AttributeError: .*, line 13, in Made.__init__"),
        (
            ["--defense=[none]", "--attacker=faulty_trained"],
            "attacker faulty_trained: AttributeError: .*, line 25, in Trainer.list_loss",
        ),
        (
            ["--defense=[none]", "--model=faulty_parts:Model"],
            "model: cannot work with these settings: Model: AttributeError .*, line 33, in Model.calculate_loss",
        ),
    ],
)
def test_a_part_of_ones_own_that_raises_before_the_cells_is_one_line_with_its_place(faulty, given, line, capsys):
    words = [word for word in faulty if not word.startswith("--model=")]
    assert main([*words, *given]) == 2
    printed = capsys.readouterr().err
    line = line.replace(".*,", r".*faulty_parts\.py,")
    assert re.search(rf"^recbole-gro experiment: error: {line}\)( \(given: .*\))?$", printed, re.M)
    assert "Traceback" not in printed
    assert main([*words, *given, "--debug"]) == 2
    assert "Traceback" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("defense", "reason", "place"),
    [
        ("faulty_protect", "AttributeError: ", "line 18, in Protect.protect"),
        ("faulty_ending", r"it ends the process \(SystemExit: 0\), ", "line 22, in Ending.protect"),
    ],
)
@pytest.mark.parametrize("workers", [1, 2])
def test_failed_cells_have_exit_status_2_and_name_the_part_of_ones_own(faulty, capsys, defense, reason, place, workers):
    assert main([*faulty, f"--defense=[{defense},none]", f"--workers={workers}"]) == 2
    printed = capsys.readouterr()
    assert re.search(
        rf"error: 1 of the cells failed, the others are kept: defense {defense}, seed 1: defense {defense}: "
        rf"{reason}.*faulty_parts\.py, {place}\)$",
        printed.err.strip(),
    )
    assert "report.html, report.md and results.csv are in out" in printed.out
