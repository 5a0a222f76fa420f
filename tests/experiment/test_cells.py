"""Cells, their files, and the stages that they share."""

import json
import random
from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
from experiment import synthetic
from experiment.grid import tiny

from recbole_gro import UserError, run_recbole_gro
from recbole_gro.attack import Attacker
from recbole_gro.defense.base import defenses
from recbole_gro.experiment.cells import Cell, cell_file, files_and_missing, loaded, run_cell
from recbole_gro.experiment.summary import gather
from recbole_gro.quick_start.stage_cache import StageCache

REFERENCES = ["independent", "untrained", "own_history", "popularity"]


@pytest.fixture
def made(monkeypatch):
    """The names of target, queries and surrogate stages as they are made, in order."""
    made, once = [], StageCache.once

    def recorded_once(cache, stage, fingerprint, make, *options):
        def recorded(work):
            if stage in ("target", "queries", "surrogate"):
                made.append(stage)
            return make(work)

        return once(cache, stage, fingerprint, recorded, *options)

    monkeypatch.setattr(StageCache, "once", recorded_once)
    return made


def run_all(experiment, folder):
    return [run_cell(experiment, values, seed, folder) for values, seed in files_and_missing(experiment, folder)[1]]


@pytest.mark.no_cover
def test_a_cell_has_the_metrics_of_a_single_run(tiny_data_path, tmp_path):
    experiment = tiny(tiny_data_path, gro_lambda=[1.0], seeds=[3], references=REFERENCES)
    cells = run_all(experiment, tmp_path)
    alone = run_recbole_gro(
        config_dict={**experiment.fixed, "gro_lambda": 1.0, "seed": 3, "defense": ["none", "gro"]}, saved=False
    )
    for cell, row in zip(cells, alone["defenses"], strict=True):
        for side, found in (("target", cell.target_ranks), ("surrogate", cell.surrogate_ranks)):
            for k in (1, 5):
                hit = ((found > 0) & (found <= k)).mean()
                assert hit == pytest.approx(row[side]["test"][f"hit@{k}"], abs=1e-6)
        assert cell.agreement[1] == pytest.approx(row["surrogate"]["test"]["agreement@1"], abs=1e-6)
        for reference in alone["references"]:
            metrics, name = reference.get("surrogate", reference.get("target"))["test"], reference["defense"]
            assert (cell.reference_ranks[name] == 1).mean() == pytest.approx(metrics["hit@1"], abs=1e-6)
            if name != "popularity":
                assert cell.reference_agreement[name][1] == pytest.approx(metrics["agreement@1"], abs=1e-6)
    assert list(cells[0].reference_ranks) == REFERENCES
    lines = (tiny_data_path / "tiny" / "tiny.inter").read_text().splitlines()[1:]
    users = Counter(line.split("\t")[0] for line in lines)
    # by leave-one-out; a training row takes two items
    trained = sum(number - min(2, number - 2) for number in users.values() if number > 1)
    assert {cell.facts["items"] for cell in cells} == {30}
    assert {cell.facts["training_interactions"] for cell in cells} == {trained}


@pytest.mark.no_cover
def test_the_independent_model_is_the_target_of_the_next_seed(tiny_data_path, tmp_path, made):
    run_all(tiny(tiny_data_path, gro_lambda=[1.0], references=REFERENCES), tmp_path)
    assert made.count("target") == 3  # of seeds 1, 2 and 3
    assert len(list((tmp_path / "stages").glob("evaluation-*.pth"))) == 5  # none at three seeds, gro at two


def test_a_cell_counts_the_references_that_it_holds(tiny_data_path, tmp_path):
    values = {"gro_lambda": 1.0, "defense": "gro"}
    files = {
        cell_file(tiny(tiny_data_path, references=names), values, 1, tmp_path)
        for names in (REFERENCES, REFERENCES[:2], ["untrained"])
    }
    assert len(files) == 3


@pytest.mark.no_cover
def test_shared_stages_are_made_once(tiny_data_path, tmp_path, made):
    run_all(tiny(tiny_data_path, gro_lambda=[0.1, 1.0]), tmp_path)
    # two seeds: a target each; queries and surrogate for none and each lambda
    assert sorted(made) == ["queries"] * 6 + ["surrogate"] * 6 + ["target"] * 2


def test_arms_that_serve_two_epochs_of_a_target_share_its_training(tiny_data_path, tmp_path, made):
    arms = ["none at its best epoch", "none at its last epoch", "GRO without the swap loss"]
    best, last, control = run_all(
        tiny(tiny_data_path, "paper", arm=arms, adversary=["mixed"], seeds=[1], epochs=3, eval_step=1), tmp_path
    )
    assert made == ["target", *["queries", "surrogate"] * 3]
    assert [best.values["arm"], last.values["arm"], control.values["arm"]] == arms
    assert control.facts["effective_settings"]["gro_lambda"] == 0
    assert {cell.facts["surrogate_model"] for cell in (best, last, control)} == {"GRU4Rec"}


def test_an_interrupted_experiment_is_resumed(tiny_data_path, tmp_path, made, monkeypatch):
    def stopped(*args, **options):
        raise KeyboardInterrupt

    experiment = tiny(tiny_data_path, gro_lambda=[1.0], seeds=[1])
    monkeypatch.setattr(Attacker, "train_surrogate", stopped)
    with pytest.raises(KeyboardInterrupt):
        run_all(experiment, tmp_path / "cut")
    monkeypatch.undo()
    assert made == ["target", "queries", "surrogate"]
    resumed = run_all(experiment, tmp_path / "cut")
    whole = run_all(experiment, tmp_path / "whole")
    for one, other in zip(resumed, whole, strict=True):
        assert np.array_equal(one.surrogate_ranks, other.surrogate_ranks)
        assert one.agreement == other.agreement
    assert not list((tmp_path / "cut" / "stages").glob("*.work"))


def test_finished_cells_are_not_run_again(tiny_data_path, tmp_path, made):
    experiment = tiny(tiny_data_path, gro_lambda=[1.0], seeds=[1])
    run_all(experiment, tmp_path)
    made.clear()
    files, missing = files_and_missing(experiment, tmp_path)
    assert (len(files), missing) == (2, [])
    assert [run_cell(experiment, values, 1, tmp_path).values for values, _ in experiment.cells()] == [
        cell.values for cell in loaded(files)
    ]
    assert made == []


@pytest.mark.no_cover
def test_a_changed_setting_is_another_cell_and_shares_the_stages_before_it(tiny_data_path, tmp_path, made):
    run_all(tiny(tiny_data_path, "defenses", defense=["none"], seeds=[1]), tmp_path)
    made.clear()
    run_all(tiny(tiny_data_path, "defenses", defense=["none"], seeds=[1], surrogate_epochs=2), tmp_path)
    assert made == ["surrogate"]
    made.clear()
    run_all(tiny(tiny_data_path, "defenses", defense=["none"], seeds=[1], query_sequences=9), tmp_path)
    assert made == ["queries", "surrogate"]
    made.clear()
    run_all(tiny(tiny_data_path, "defenses", defense=["none"], seeds=[1], topk=[2, 5]), tmp_path)
    assert made == []


def test_an_access_log_changes_no_cell(tiny_data_path, tmp_path, made):
    grid = {"name": "defenses", "defense": ["none"], "seeds": [1]}
    run_all(tiny(tiny_data_path, **grid, access_log=True), tmp_path)
    (log,) = (tmp_path / "stages").glob("*.access.jsonl")
    (queries,) = (tmp_path / "stages").glob("queries-*.pth")
    assert log.stem.removesuffix(".access") == queries.stem
    assert [json.loads(line)["lists"] for line in log.read_text().splitlines()] == [8] * 8
    made.clear()
    assert run_all(tiny(tiny_data_path, **grid), tmp_path) == []
    run_all(tiny(tiny_data_path, **grid, surrogate_epochs=2), tmp_path)
    assert made == ["surrogate"]


def test_a_stage_that_is_made_again_restarts_its_access_log(tiny_data_path, tmp_path):
    experiment = tiny(tiny_data_path, "defenses", defense=["none"], seeds=[1], access_log=True)
    run_all(experiment, tmp_path)
    for made in [*(tmp_path / "cells").iterdir(), *(tmp_path / "stages").glob("queries-*.pth")]:
        made.unlink()
    run_all(experiment, tmp_path)
    (log,) = (tmp_path / "stages").glob("*.access.jsonl")
    assert len(log.read_text().splitlines()) == 8


def test_attackers_share_the_target_and_the_served_lists(tiny_data_path, tmp_path, made):
    names = ["standard", "head", "repeat", "filtered", "few_shot"]
    experiment = tiny(tiny_data_path, "tradeoff", attacker=names, defense=["gro"], head_k=[2], seeds=[1])
    cells = run_all(experiment, tmp_path)
    assert sorted(made) == ["queries"] * 5 + ["surrogate"] * 5 + ["target"]
    assert len(list((tmp_path / "stages").glob("defended-*.pth"))) == 1
    assert [cell.facts["attacker"] for cell in cells] == names
    assert [cell.facts["lists_returned"] for cell in cells] == [64] * 5
    assert cells[1].facts["selected_hyperparameters"] == {}  # lists of five leave one candidate
    assert all(np.array_equal(cell.target_ranks, cells[0].target_ranks) for cell in cells)


@pytest.mark.no_cover
@pytest.mark.parametrize(
    ("attacker", "changed"),
    [
        ("head", {"attacker_head_k": 3}),
        ("repeat", {"attacker_repeats": 2}),
        ("few_shot", {"attacker_known_share": 0.2}),
    ],
)
def test_an_attackers_key_changes_queries_and_surrogate_only(tiny_data_path, tmp_path, made, attacker, changed):
    fixed = {"attacker": [attacker], "defense": ["gro"], "head_k": [2], "seeds": [1]}
    run_all(tiny(tiny_data_path, "tradeoff", **fixed), tmp_path)
    made.clear()
    run_all(tiny(tiny_data_path, "tradeoff", **fixed, **changed), tmp_path)
    assert made == ["queries", "surrogate"]


def test_an_output_side_key_makes_stages_for_the_defenses_that_read_it_only(tiny_data_path, tmp_path, made):
    names = ["none", "gro", "tail_shuffle"]
    grid = {"attacker": ["standard"], "defense": names, "seeds": [1]}
    run_all(tiny(tiny_data_path, "tradeoff", **grid, head_k=[2, 3]), tmp_path)
    # a target; queries and surrogate for none, for gro and for each head_k of tail_shuffle
    assert sorted(made) == ["queries"] * 4 + ["surrogate"] * 4 + ["target"]


def test_a_defense_without_declared_settings_makes_stages_for_every_key(tiny_data_path, tmp_path, made, monkeypatch):
    monkeypatch.setattr(defenses["none"], "output_settings", None)
    grid = {"attacker": ["standard"], "defense": ["none"], "seeds": [1]}
    run_all(tiny(tiny_data_path, "tradeoff", **grid, head_k=[2, 3]), tmp_path)
    assert sorted(made) == ["queries"] * 2 + ["surrogate"] * 2 + ["target"]


def test_the_name_of_a_cells_file_holds_its_values(tiny_data_path, tmp_path):
    experiment = tiny(tiny_data_path, gro_lambda=[0.5])
    assert cell_file(experiment, {"gro_lambda": 0.5, "defense": "gro"}, 2, tmp_path).name.startswith("0.5-gro-2-")


def test_a_cell_is_read_back_as_it_was_saved(tmp_path):
    saved = synthetic.cell({"defense": "gro", "query_length": None}, 3)
    saved.save(tmp_path / "cell.npz")
    read = Cell.load(tmp_path / "cell.npz")
    for name in ("target_ranks", "surrogate_ranks"):
        assert np.array_equal(getattr(read, name), getattr(saved, name))
    assert (read.values, read.seed, read.agreement, read.facts) == (saved.values, 3, saved.agreement, saved.facts)
    assert read.reference_agreement == saved.reference_agreement
    assert list(read.reference_ranks) == list(saved.reference_ranks)
    assert all(np.array_equal(ranks, saved.reference_ranks[name]) for name, ranks in read.reference_ranks.items())
    assert [file.name for file in tmp_path.iterdir()] == ["cell.npz"]
    assert (read.row_users, read.test_rows) == (None, saved.test_rows)
    replace(saved, row_users=np.array([3, 1, 3])).save(tmp_path / "cell.npz")
    read = Cell.load(tmp_path / "cell.npz")
    assert read.row_users.tolist() == [3, 1, 3]


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 cut", b"{}", None])
def test_a_damaged_file_of_a_cell_is_named(tmp_path, content):
    file = tmp_path / "cell.npz"
    synthetic.cell({"defense": "gro"}, 3).save(file)
    file.write_bytes(file.read_bytes()[:-200] if content is None else content)
    with pytest.raises(UserError, match=r"cell\.npz is damaged; delete it, and run the command again$"):
        Cell.load(file)


def test_a_cell_with_a_changed_bit_is_never_read_as_another(tmp_path):
    saved = synthetic.cell({"defense": "gro"}, 3)
    saved.save(tmp_path / "cell.npz")
    whole, file = (tmp_path / "cell.npz").read_bytes(), tmp_path / "changed.npz"
    directory = whole.index(b"PK\x01\x02")  # names and places of the arrays
    draw, refused = random.Random(1), 0
    for n in range(500):
        content = bytearray(whole)
        content[draw.randrange(directory * (n % 2), len(whole))] ^= 1 << draw.randrange(8)
        file.write_bytes(content)
        try:
            read = Cell.load(file)
        except UserError as error:
            refused += str(error).startswith(f"{file} is damaged; delete it")
        else:  # a bit that says nothing, such as of a time
            assert {*read.ranks} == {*saved.ranks}, content.hex()
            assert all(np.array_equal(read.ranks[side], found) for side, found in saved.ranks.items())
            assert (read.seed, read.agreement, read.facts) == (3, saved.agreement, saved.facts)
    assert refused > 250


def test_rows_that_come_in_another_order_are_paired_by_user(tiny_data_path, tmp_path):
    """Windows of masked models are ordered by their number, and the test rows with them."""
    settings, cells = [], []
    for rows in ("windows", "prefixes"):
        fixed = {"attacker": ["standard+random"], "model": ["BERT4Rec"], "seeds": [1], "references": ["popularity"]}
        experiment = tiny(tiny_data_path, "attacks", **fixed, train_rows=rows)
        cells += run_all(experiment, tmp_path)
        settings += gather(experiment, cells[-1:])
    windows, prefixes = cells
    assert windows.test_rows == prefixes.test_rows
    assert prefixes.row_users is None
    assert not np.array_equal(windows.reference_ranks["popularity"], prefixes.reference_ranks["popularity"])
    assert np.array_equal(*(setting.measured("ndcg", "popularity", 5) for setting in settings))
