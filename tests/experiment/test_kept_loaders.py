"""Loaders that cells share."""

import shutil

import numpy as np
import pytest
import torch
from conftest import WIDTHS
from experiment.grid import tiny

from recbole_gro.experiment import kept_loaders
from recbole_gro.experiment.cells import cell_file, run_cell
from recbole_gro.experiment.kept_loaders import forget_loaders, shared_loaders
from recbole_gro.experiment.run import run_experiment

pytestmark = pytest.mark.no_cover  # other tests run these lines too (CONTRIBUTING.md)


@pytest.fixture
def read(monkeypatch):
    """The data that are read, one entry each time; nothing is kept before and after."""
    read, build = [], kept_loaders.build_dataset

    def reading(config):
        read.append(config["dataset"])
        return build(config)

    forget_loaders()
    monkeypatch.setattr(kept_loaders, "build_dataset", reading)
    yield read
    forget_loaders()


def weights(folder):
    """Return {stage: its tensors} of a folder of stages."""
    found = {}
    for file in folder.glob("*.pth"):
        tensors = []
        _collect(torch.load(file), tensors)
        found[file.name] = tensors
    return found


def _collect(value, tensors):
    if isinstance(value, torch.Tensor):
        tensors.append(value)
    elif isinstance(value, dict):
        for entry in value.values():
            _collect(entry, tensors)
    elif isinstance(value, list | tuple):
        for entry in value:
            _collect(entry, tensors)


@pytest.mark.parametrize(
    ("model", "settings"),
    [
        ("BERT4Rec", {}),
        ("BERT4Rec", {"train_rows": "prefixes", "mask_ratio": 0.4}),
        ("GRU4Rec", {}),
        ("GRU4Rec", {"loss_type": "BPR"}),
        ("SASRec", {"train_rows": "prefixes", "worker": 1}),
    ],
)
def test_results_are_the_same_whether_cells_share_loaders_or_not(tiny_data_path, tmp_path, read, model, settings):
    fixed = {**WIDTHS[model], "epochs": 2, "references": ["independent", "own_history"], **settings}
    grid = tiny(tiny_data_path, "defenses", defense=["none", "gro", "injected"], model=model, **fixed)
    for name in WIDTHS["BERT4Rec"].keys() - WIDTHS[model].keys():
        del grid.fixed[name]
    for values, seed in grid.cells():
        run_cell(grid, values, seed, tmp_path / "shared")
    assert read == ["tiny"]
    for values, seed in grid.cells():
        forget_loaders()
        run_cell(grid, values, seed, tmp_path / "alone")
    assert len(read) == 1 + len(grid.cells())
    shared, alone = (weights(tmp_path / name / "stages") for name in ("shared", "alone"))
    assert shared.keys() == alone.keys()
    for stage, tensors in shared.items():
        assert len(tensors) == len(alone[stage])
        assert all(torch.equal(one, other) for one, other in zip(tensors, alone[stage], strict=True)), stage
    for values, seed in grid.cells():
        with (
            np.load(cell_file(grid, values, seed, tmp_path / "shared")) as one,
            np.load(cell_file(grid, values, seed, tmp_path / "alone")) as other,
        ):
            assert all(np.array_equal(one[name], other[name]) for name in one.files if name != "plain")


@pytest.mark.parametrize(
    ("key", "value", "again"),
    [
        ("seed", 7, False),
        ("gro_lambda", 0.5, False),
        ("surrogate_model", "GRU4Rec", False),
        ("output_dir", "elsewhere", False),
        ("served_k", 6, True),  # whose length is checked
        ("MAX_ITEM_LIST_LENGTH", 7, True),
        ("train_batch_size", 3, True),
        ("eval_batch_size", 3, True),
        ("train_rows", "prefixes", True),
        ("mask_last", 0.1, True),
        ("core_filter", "once", True),
        ("user_inter_num_interval", "[4,inf)", True),
        ("eval_args", {"split": {"RS": [8, 1, 1]}, "order": "TO"}, True),
        ("model", "SASRec", True),
    ],
)
def test_loaders_are_shared_where_nothing_that_they_depend_on_differs(make_config, read, key, value, again):
    first = make_config("BERT4Rec")
    other = make_config(value) if key == "model" else make_config("BERT4Rec", **{key: value})
    one, two = shared_loaders(first), shared_loaders(other)
    assert (two[0] is one[0]) is not again
    assert len(read) == 1 + again
    assert two[2].config is two[2]._dataset.config is other


def test_shared_loaders_leave_the_config_as_reading_does(make_config, read):
    first, second = make_config("BERT4Rec"), make_config("BERT4Rec", seed=2)
    shared_loaders(first)
    shared_loaders(second)
    assert len(read) == 1
    assert {**first.final_config_dict, "seed": 2} == second.final_config_dict


def test_changed_data_are_read_again(tiny_data_path, tmp_path, make_config, read):
    shutil.copytree(tiny_data_path / "tiny", tmp_path / "tiny")
    first, *_ = shared_loaders(make_config(data_path=str(tmp_path)))
    with (tmp_path / "tiny" / "tiny.inter").open("a") as file:
        file.write("someone\tsomething\t1\n" * 5)
    second, *_ = shared_loaders(make_config(data_path=str(tmp_path)))
    assert second._dataset.user_num == first._dataset.user_num + 1
    assert read == ["tiny"] * 2


def test_an_experiment_reads_its_data_once_and_releases_them(tiny_data_path, tmp_path, read):
    grid = tiny(tiny_data_path)
    run_experiment("defenses", {**grid.fixed, "seeds": [1, 2], "defense": ["none", "random"]}, tmp_path / "out")
    assert len(list((tmp_path / "out" / "cells").iterdir())) == 4
    assert read == ["tiny"]
    assert kept_loaders._kept == []
