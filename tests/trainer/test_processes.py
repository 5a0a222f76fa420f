"""Two processes of one thread, connected by gloo, against one process."""

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from pipeline import TINY_RUN, drop_fields
from trainer import process_cases

from recbole_gro import Config
from recbole_gro.cli.main import main
from recbole_gro.config.plugins import imported_module
from recbole_gro.scoring import create_scorer
from recbole_gro.trainer import processes
from recbole_gro.utils.errors import UserError

TESTS = Path(__file__).parents[1]
CASES = [*process_cases.TARGETS, *process_cases.GRO, *process_cases.SURROGATES]
RUN = {
    **TINY_RUN,
    **process_cases.ATTENTION,
    "defense": ["gro"],
    "epochs": 2,
    "gro_epochs": 2,
    "surrogate_epochs": 2,
    "references": [],
    "plugins": "failing",
}
# ends the second process at the start of an epoch that the environment names
FAILING = """
import os, signal
from recbole_gro.trainer.base import StageTrainer
from recbole_gro.utils.errors import UserError

train = StageTrainer._train_epoch

def fail(trainer, train_data, epoch, *others, **named):
    if f"{trainer.stage} {epoch} {os.environ.get('RANK')}" == f"{os.environ.get('AT')} 1":
        if os.environ["HOW"] == "killed":
            os.kill(os.getpid(), signal.SIGKILL)
        raise UserError("the second process cannot")
    return train(trainer, train_data, epoch, *others, **named)

StageTrainer._train_epoch = fail
"""


def in_two(command, cwd, **environment):
    """Exit statuses and standard errors of two processes."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    shared = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join([str(TESTS.parent), str(TESTS), str(cwd)]),
        "OMP_NUM_THREADS": "1",
        "WORLD_SIZE": "2",
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(port),
        **environment,
    }
    both = [
        subprocess.Popen(
            [sys.executable, *map(str, command)],
            cwd=cwd,
            env={**shared, "RANK": rank, "LOCAL_RANK": rank},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank in "01"
    ]
    try:
        outputs = [process.communicate(timeout=600) for process in both]
    finally:
        for process in both:
            process.kill()
    return [process.returncode for process in both], *zip(*outputs, strict=True)


@pytest.fixture(scope="module")
def of_two(tiny_data_path, tmp_path_factory):
    """What two processes measured, each."""
    folder = tmp_path_factory.mktemp("two")
    codes, _, errors = in_two([TESTS / "trainer" / "process_cases.py", tiny_data_path, folder], folder)
    assert codes == [0, 0], errors
    assert list((folder / "saved-0").iterdir())
    assert list((folder / "saved-1").iterdir()) == []  # one process writes
    return [torch.load(folder / f"{rank}.pt", weights_only=True) for rank in range(2)]


@pytest.fixture(scope="module")
def of_one(tiny_data_path, tmp_path_factory):
    return process_cases.everything(tiny_data_path, tmp_path_factory.mktemp("one"))


def test_a_script_evaluates_in_both_processes_what_the_first_has_saved(tiny_data_path, tmp_path):
    script = TESTS / "trainer" / "evaluating_script.py"
    codes, printed, errors = in_two([script, tiny_data_path, tmp_path / "saved"], tmp_path)
    assert codes == [0, 0], errors
    assert printed[0].splitlines()[-1] == printed[1].splitlines()[-1]
    assert all(path.name.startswith("GRU4Rec-second-0") for path in (tmp_path / "saved").iterdir())


@pytest.mark.parametrize("case", CASES)
def test_losses_metrics_and_scores_are_those_of_one_process(of_one, of_two, case):
    one, (first, second) = of_one[case], [both[case] for both in of_two]
    assert first["losses"] == second["losses"]
    assert first["losses"] == pytest.approx(one["losses"], rel=1e-6)
    assert first["valid"] == second["valid"] == pytest.approx(one["valid"], abs=1e-5)
    assert torch.equal(first["scores"], second["scores"])
    torch.testing.assert_close(first["scores"], one["scores"], rtol=0, atol=1e-5)


def test_last_batches_had_fewer_rows_than_processes(of_one):
    assert [of_one[case]["rows"][-1] for case in ("windows", "prefixes")] == [1, 1]


def test_dropout_differs_between_processes_and_epochs_alone(of_two):
    first, second = (both["draws"] for both in of_two)
    assert len({*first["own"].tolist(), *second["own"].tolist()}) == 12
    assert torch.equal(first["common"], second["common"])


@pytest.mark.parametrize(
    ("positions", "parts"),
    [
        ([1, 1, 1, 1], [(slice(0, 2), (0, 4), 0.5), (slice(2, 4), (2, 4), 0.5)]),
        ([3, 1, 4], [(slice(0, 1), (0, 8), 3 / 8), (slice(1, 3), (3, 8), 5 / 8)]),
        ([5], [(slice(0, 1), None, 0.5)] * 2),
        ([2, 0], [(slice(0, 2), None, 0.5)] * 2),
    ],
)
def test_parts_hold_each_row_once_or_all_rows(monkeypatch, positions, parts):
    monkeypatch.setattr(processes, "count", lambda: 2)
    for rank, part in enumerate(parts):
        monkeypatch.setattr(processes.dist, "get_rank", lambda rank=rank: rank)
        assert processes.part_of(torch.tensor(positions)) == processes.Part(*part)


@pytest.mark.parametrize(
    ("model", "rows"),
    [("BERT4Rec", "windows"), ("BERT4Rec", "prefixes"), ("GRU4Rec", "sequences"), ("NARM", "prefixes")],
)
def test_parts_of_a_batch_are_scored_as_in_the_batch(make_loaders, make_model, model, rows):
    _, train, _, _ = make_loaders(model, train_rows=rows)
    scorer, batch = create_scorer(make_model(model, train_rows=rows)), next(iter(train))
    n, positions = len(batch[scorer.model.ITEM_SEQ]), scorer.positions_of_rows(batch)
    parts = [scorer.part_of_batch(batch, part) for part in (slice(0, 3), slice(3, n))]
    with torch.no_grad():
        scores = [scorer.position_scores(part) for part in parts]
        whole = scorer.position_scores(batch)
    assert [len(part) for part in scores] == [positions[:3].sum(), positions[3:].sum()]
    torch.testing.assert_close(torch.cat(scores), whole)


def words(data_path, folder):
    given = {**RUN, "data_path": str(data_path), "output_dir": str(folder)}
    return ["-m", "BERT4Rec", "-d", "tiny", *(f"--{key}={value}" for key, value in given.items())]


@pytest.fixture
def run(tiny_data_path, tmp_path, monkeypatch):
    """The command's words for a run whose second process may fail, here and in processes that start in tmp_path."""
    (tmp_path / "failing.py").write_text(FAILING)
    monkeypatch.syspath_prepend(tmp_path)
    return words(tiny_data_path, tmp_path / "run")


def test_a_run_that_fails_twice_resumes_and_ends_with_the_numbers_of_one_process(run, tiny_data_path, tmp_path):
    (tmp_path / "packaged.yaml").write_text("workers: 2\n")  # as gro.yaml has it, for one process
    command = ["-m", "recbole_gro", *run, "--config_files=packaged.yaml"]
    codes, _, errors = in_two(command, tmp_path, AT="target-gro 1", HOW="invalid")
    assert (codes, errors) == ([2, 2], ("", "recbole-gro: error: the second process cannot\n"))
    codes, _, errors = in_two(command, tmp_path, AT="surrogate-gro 1", HOW="killed")
    assert codes == [2, -9]
    assert errors[0].count("\n") == 1
    assert "another process of this run ended unexpectedly" in errors[0]

    codes, outputs, errors = in_two(command, tmp_path)
    assert (codes, errors) == ([0, 0], ("", ""))
    assert "surrogate-gro: resumes from epoch 1" in outputs[0]
    assert outputs[1] == ""
    assert main(words(tiny_data_path, tmp_path / "one")) == 0
    of_two, of_one = (json.loads((tmp_path / name / "results.json").read_text()) for name in ("run", "one"))
    assert (of_two.pop("processes"), of_one.pop("processes")) == (2, 1)
    of_two, of_one = (flat(drop_fields(one, "seconds", "peak_memory_mib", "config")) for one in (of_two, of_one))
    assert of_two == pytest.approx(of_one, abs=1e-5)
    names = [sorted(path.name for path in (tmp_path / name).iterdir()) for name in ("run", "one")]
    assert names[0] == names[1]


def flat(value, name=""):
    """Nested results by path."""
    if not isinstance(value, dict | list):
        return {name: value}
    entries = value.items() if isinstance(value, dict) else enumerate(value)
    return {path: leaf for key, entry in entries for path, leaf in flat(entry, f"{name}/{key}").items()}


@pytest.mark.parametrize(
    ("error", "code", "printed"),
    [
        (UserError("epochs: no"), 2, "recbole-gro: error: epochs: no\n"),
        (KeyboardInterrupt(), 130, "recbole-gro: stopped\n"),
        (ArithmeticError("a fault"), 1, "ArithmeticError: a fault\n"),
    ],
)
def test_the_first_process_to_fail_prints_and_gives_the_exit_status(monkeypatch, capsys, error, code, printed):
    store = torch.distributed.HashStore()
    monkeypatch.setattr(processes, "_store", lambda: store)
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setenv("LOCAL_RANK", "0")

    def fails(error):
        raise error

    for rank, error_there, printed_there in (("1", error, printed), ("0", UserError("lost the other"), "")):
        monkeypatch.setenv("RANK", rank)
        assert processes.exit_code_of_all("recbole-gro", lambda _, error=error_there: fails(error), []) == code
        shown = capsys.readouterr().err
        assert shown.endswith(printed_there)
        assert printed_there or not shown


def test_sys_exit_in_own_code_is_an_error_of_its_process(monkeypatch, capsys, tmp_path):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "ends_a_process.py").write_text("def stop(words):\n    raise SystemExit(0)\n")
    stop = imported_module("ends_a_process", "plugins").stop
    store = torch.distributed.HashStore()
    monkeypatch.setattr(processes, "_store", lambda: store)
    for name, value in {"WORLD_SIZE": "2", "LOCAL_RANK": "1", "RANK": "1"}.items():
        monkeypatch.setenv(name, value)
    assert processes.exit_code_of_all("recbole-gro", stop, []) == 2
    assert capsys.readouterr().err.startswith("recbole-gro: error: it ends the process (SystemExit: 0)")
    with pytest.raises(SystemExit):  # as of --help
        processes.exit_code_of_all("recbole-gro", lambda words: sys.exit(0), [])


def test_workers_of_the_command_line_are_refused(run, monkeypatch, capsys):
    monkeypatch.setattr(processes, "count", lambda: 2)
    assert main([*run, "--workers=2"]) == 2
    assert "workers: torchrun started several processes" in capsys.readouterr().err


def test_experiments_are_refused(monkeypatch, capsys):
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setenv("LOCAL_RANK", "0")
    assert main(["experiment", "defenses"]) == 2
    assert "torchrun starts single runs" in capsys.readouterr().err


class TestGPUs:
    @pytest.fixture(autouse=True)
    def _second_of_two(self, monkeypatch):
        for name, value in {"WORLD_SIZE": "2", "RANK": "1", "LOCAL_RANK": "1", "CUDA_VISIBLE_DEVICES": ""}.items():
            monkeypatch.setenv(name, value)
        # torch sees no GPU here; a Config then refuses one that is given
        monkeypatch.setattr(Config, "_check", lambda _: None)

    @pytest.mark.parametrize(("given", "own"), [({}, "1"), ({"gpu_id": "4, 6"}, "6"), ({"gpu_id": [2, 3]}, "3")])
    def test_each_process_has_its_own(self, monkeypatch, given, own):
        monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
        config = Config("BERT4Rec", "tiny", config_dict=given)
        assert (config["gpu_id"], os.environ["CUDA_VISIBLE_DEVICES"]) == (own, own)
        assert config["device"] == torch.device("cuda")

    def test_too_few_are_refused(self):
        with pytest.raises(UserError, match="gpu_id: 0 names no GPU for process 2"):
            Config("BERT4Rec", "tiny", config_dict={"gpu_id": 0})

    def test_processes_with_and_without_one_are_refused(self, monkeypatch):
        store = torch.distributed.HashStore()
        store.set("device 0", "cuda")
        monkeypatch.setattr(processes, "_store", lambda: store)
        with pytest.raises(UserError, match="gpu_id: 2 processes, but only 1 have a GPU"):
            processes.join(torch.device("cpu"))
