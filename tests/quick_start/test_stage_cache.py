"""A stage is computed once for all runs and experiments that share a folder."""

import errno
import os
from types import SimpleNamespace

import pytest
import torch
from pipeline import TINY_RUN, drop_fields

from recbole_gro import run_recbole_gro
from recbole_gro.experiment.cells import run_cell
from recbole_gro.experiment.plan import Experiment
from recbole_gro.quick_start.stage_cache import StageCache, start_anew_elsewhere
from recbole_gro.trainer.epoch_checkpoint import EpochCheckpoint
from recbole_gro.utils.errors import UserError


def test_a_stage_is_computed_once_and_read_again(tmp_path):
    made = []

    def make(work):
        made.append(work)
        return {"ids": torch.arange(3), "facts": {"epochs": 2}}

    for _ in range(2):
        result = StageCache(tmp_path).once("target", "abc", make)
        assert result["facts"] == {"epochs": 2}
        assert torch.equal(result["ids"], torch.arange(3))
    assert len(made) == 1
    assert [file.name for file in tmp_path.iterdir()] == ["target-abc.pth"]  # the lock is removed


def test_an_interrupted_stage_keeps_its_work_folder(tmp_path):
    cache = StageCache(tmp_path)

    def stopped(work):
        (work / "half").write_text("done")
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        cache.once("queries", "abc", stopped)
    assert cache.once("queries", "abc", lambda work: {"left": (work / "half").read_text()}) == {"left": "done"}
    assert not list(tmp_path.glob("*.work"))


def test_a_finished_stage_leaves_no_work_folder_of_a_killed_process(tmp_path):
    cache = StageCache(tmp_path)
    cache.once("queries", "abc", lambda work: {"n": 1})
    (tmp_path / "queries-abc.work").mkdir()
    assert cache.once("queries", "abc", lambda work: {"n": 2}) == {"n": 1}
    assert [file.name for file in tmp_path.iterdir()] == ["queries-abc.pth"]


def test_a_damaged_stage_says_what_to_do(tmp_path):
    cache = StageCache(tmp_path)
    cache.once("queries", "abc", lambda work: {"ids": torch.arange(300)})
    file = tmp_path / "queries-abc.pth"
    content = file.read_bytes()
    place = content.index(torch.arange(300).numpy().tobytes())
    file.write_bytes(content[:place] + bytes(512) + content[place + 512 :])
    with pytest.raises(UserError, match=r"queries-abc\.pth is damaged .*; delete it, and run the command again$"):
        cache.once("queries", "abc", lambda work: {})


def test_a_full_disk_names_the_folder_or_file(tmp_path, monkeypatch):
    def full(*_, **__):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(UserError, match=r"/output_dir cannot be written: No space left on device$"):
        start_anew_elsewhere(tmp_path, None)
    monkeypatch.setattr(os, "mkdir", full)
    with pytest.raises(UserError, match=r"queries-abc\.work cannot be made: No space left on device$"):
        StageCache(tmp_path).once("queries", "abc", lambda work: {})


def test_a_stage_inside_another_counts_its_own_seconds(tmp_path, monkeypatch):
    clock = iter([0.0, 0.0, 1.0, 1.5, 4.0, 4.5, 11.0, 12.0])  # the inner stage waits from 1.0 to 1.5 for its lock
    time = SimpleNamespace(perf_counter=lambda: next(clock))
    monkeypatch.setattr("recbole_gro.quick_start.stopwatch.time", time)
    cache = StageCache(tmp_path)
    cache.once("defended", "b", lambda _: cache.once("target", "a", lambda _: {}))
    assert cache.seconds == {tmp_path / "target-a.pth": 2.5, tmp_path / "defended-b.pth": 7.5}


@pytest.fixture
def settings(tiny_data_path, tmp_path):
    return {**TINY_RUN, "model": "BERT4Rec", "dataset": "tiny", "data_path": str(tiny_data_path), "defense": ["gro"]}


def test_a_run_and_an_experiment_share_their_stages(settings, tmp_path, monkeypatch):
    run = {**settings, "stages_dir": str(tmp_path / "stages"), "output_dir": str(tmp_path / "run")}
    row = run_recbole_gro(config_dict=run)["defenses"][0]
    made = sorted((tmp_path / "stages").iterdir())
    experiment = Experiment("one", "One", "k", {"defense": ["gro"]}, [settings["seed"]], settings)
    cell = run_cell(experiment, {"defense": "gro"}, settings["seed"], tmp_path / "experiment", tmp_path / "stages")
    assert sorted((tmp_path / "stages").iterdir()) == made
    assert cell.agreement[10] == pytest.approx(row["surrogate"]["test"]["agreement@10"], abs=1e-6)


def test_a_run_reads_the_stages_of_another(settings, tmp_path):
    shared = {**settings, "defense": ["none", "gro"], "stages_dir": str(tmp_path / "stages")}
    first, second = (
        run_recbole_gro(config_dict={**shared, "output_dir": str(tmp_path / name)}) for name in ("one", "two")
    )
    fields = ("seconds", "config", "peak_memory_mib")
    assert drop_fields(first, *fields) == drop_fields(second, *fields)
    names = {file.name for file in (tmp_path / "one").iterdir()} - {"tensorboard"}
    assert names == {file.name for file in (tmp_path / "two").iterdir()} - {"tensorboard"}
    one, two = (torch.load(tmp_path / name / "target-gro.pth", weights_only=True) for name in ("one", "two"))
    assert all(torch.equal(one["state_dict"][name], two["state_dict"][name]) for name in one["state_dict"])


def test_gro_from_scratch_trains_no_target(settings, tmp_path):
    run_recbole_gro(config_dict={**settings, "gro_start": "untrained", "output_dir": str(tmp_path / "run")})
    assert (tmp_path / "run" / "target-gro.pth").exists()
    assert not (tmp_path / "run" / "target.pth").exists()


def test_both_orders_of_combined_defenses_are_measured(settings, tmp_path):
    names = ["tail_decoy+reverse", "reverse+tail_decoy"]
    given = {**settings, "defense": names, "head_k": 3, "attack": False}
    together = run_recbole_gro(config_dict=given, saved=False)["defenses"]
    alone = [run_recbole_gro(config_dict={**given, "defense": [name]}, saved=False)["defenses"][0] for name in names]
    assert [row["target"] for row in together] == [row["target"] for row in alone]


def test_a_run_that_was_interrupted_is_resumed_from_another_folder(settings, tmp_path, monkeypatch):
    shared = {**settings, "defense": ["none"], "epochs": 4, "eval_step": 1, "stages_dir": str(tmp_path / "stages")}
    save, epochs = EpochCheckpoint.save, []

    def stopping(checkpoint, epoch, finished=False):
        save(checkpoint, epoch, finished)
        epochs.append(epoch)
        if len(epochs) == 2:
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(EpochCheckpoint, "save", stopping)
        patch.setattr("recbole_gro.quick_start.run.preflight", lambda *args: None)
        with pytest.raises(KeyboardInterrupt):
            run_recbole_gro(config_dict={**shared, "output_dir": str(tmp_path / "one")})
    resumed = run_recbole_gro(config_dict={**shared, "output_dir": str(tmp_path / "two")})
    whole = run_recbole_gro(config_dict={**shared, "stages_dir": None, "output_dir": str(tmp_path / "three")})
    assert resumed["defenses"][0]["target"] == whole["defenses"][0]["target"]
    assert (tmp_path / "two" / "target.pth").exists()
