"""Checkpoints in the folder of a run."""

import torch
from pipeline import TINY_RUN

from recbole_gro import load_target, run_recbole_gro
from recbole_gro.quick_start.run_checkpoint import keep_checkpoint
from recbole_gro.utils.files import load_state


def test_the_checkpoint_of_a_shared_stage_has_the_settings_of_its_run(tiny_data_path, tmp_path):
    shared = {**TINY_RUN, "data_path": tiny_data_path, "attack": False, "references": [], "defense": ["gro"]}
    given = [{"served_k": 14, "head_k": 2}, {"served_k": 16, "head_k": 3}, {}]
    for place, own in enumerate(given):
        settings = {
            **shared,
            **own,
            "output_dir": str(tmp_path / f"run {place}"),
            "stages_dir": str(tmp_path / "stages"),
        }
        run_recbole_gro("BERT4Rec", "tiny", config_dict=settings)
    for place, own in enumerate(given):
        for name in ("target", "target-gro"):
            loaded = load_target(tmp_path / f"run {place}" / f"{name}.pth")
            default = {"served_k": TINY_RUN["served_k"], "head_k": 20}
            assert {key: loaded.config[key] for key in default} == default | own
    weights = [load_state(tmp_path / f"run {place}" / "target.pth")["state_dict"] for place in range(3)]
    assert all(torch.equal(weights[0][name], other[name]) for other in weights[1:] for name in weights[0])


def test_a_checkpoint_that_is_there_is_not_written_again(make_config, tmp_path):
    config, file = make_config("GRU4Rec", served_k=5), tmp_path / "target.pth"
    checkpoint = {"config": {"model": "GRU4Rec", "served_k": 3, "epochs": 2}, "state_dict": {"a": torch.ones(2)}}
    keep_checkpoint(file, checkpoint, config)
    written = file.stat().st_mtime_ns
    stored = load_state(file)["config"]
    assert (stored["served_k"], stored["epochs"]) == (5, 2)
    keep_checkpoint(file, checkpoint, config)
    assert file.stat().st_mtime_ns == written
    keep_checkpoint(file, checkpoint | {"state_dict": {"a": torch.zeros(2)}}, config)
    assert load_state(file)["state_dict"]["a"].tolist() == [0, 0]
