"""Checks of cells before any of them is run."""

import pytest
from experiment.grid import tiny

from recbole_gro.experiment import checks, kept_loaders
from recbole_gro.experiment.checks import check_cells
from recbole_gro.experiment.kept_loaders import forget_loaders


@pytest.fixture
def calls(monkeypatch):
    """What reads data, and [defenses, attackers, varied setting] of each preflight."""
    read, tried, build, try_models = [], [], kept_loaders.build_dataset, checks.preflight

    def reading(config):
        read.append(config["dataset"])
        return build(config)

    def trying(config, data, defenses, train):
        tried.append((list(defenses), config["attacker"], config["model"], config["dataset"]))
        try_models(config, data, defenses, train)

    forget_loaders()
    monkeypatch.setattr(kept_loaders, "build_dataset", reading)
    monkeypatch.setattr(checks, "preflight", trying)
    yield read, tried
    forget_loaders()


def test_kinds_of_cells_that_differ_in_defense_and_attacker_are_tried_together(tiny_data_path, calls):
    read, tried = calls
    grid = {"defense": ["none", "gro", "tail_shuffle"], "attacker": ["standard", "head", "repeat"]}
    experiment = tiny(tiny_data_path, "tradeoff", **grid, served_k=12, head_k=[2, 3], gro_head_k=2)
    check_cells(experiment, experiment.cells())
    assert read == ["tiny"]
    assert tried == [(grid["defense"], grid["attacker"], "BERT4Rec", "tiny")]


def test_other_settings_keep_their_own_check_on_the_same_data(tiny_data_path, calls):
    """A head that is too long for one arm's lists is no fault of the other's."""
    read, tried = calls
    experiment = tiny(tiny_data_path, "defenses", defense=["none"])
    del experiment.vary["defense"]
    experiment.vary["arm"] = {
        "plain": {"defense": "none", "gro_head_k": 20},
        "decoys": {"defense": "gro_decoys", "gro_head_k": 2},
    }
    experiment.vary["attacker"] = ["standard", "repeat"]
    check_cells(experiment, experiment.cells())
    assert read == ["tiny"]
    attacks = ["standard", "repeat"]
    assert tried == [(["none"], attacks, "BERT4Rec", "tiny"), (["gro_decoys"], attacks, "BERT4Rec", "tiny")]


def test_each_model_is_tried(tiny_data_path, calls):
    read, tried = calls
    experiment = tiny(tiny_data_path, "defenses", defense=["none", "gro"])
    experiment.vary["model"] = ["BERT4Rec", "SASRec"]
    experiment.fixed.pop("model", None)
    check_cells(experiment, experiment.cells())
    assert [model for _, _, model, _ in tried] == ["BERT4Rec", "SASRec"]
    assert read == ["tiny"] * 2  # training rows of another kind


def test_no_surrogate_is_tried_where_none_is_trained(tiny_data_path, monkeypatch):
    tried = []
    monkeypatch.setattr(checks, "preflight", lambda config, *_: tried.append(config["attack"]))
    experiment = tiny(tiny_data_path, "detection", attacker_known_share=0.1, attacker_head_k=2)
    experiment.vary = {"model": ["NARM"], "attacker": ["standard+random", "oracle"]}
    for name in ("n_layers", "n_heads", "inner_size"):
        experiment.fixed.pop(name)
    check_cells(experiment, experiment.cells())
    experiment.vary["attacker"].append("rounds+mixed")
    check_cells(experiment, experiment.cells())
    assert tried == [False, True]
