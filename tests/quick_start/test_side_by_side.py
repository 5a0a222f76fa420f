import json

import pytest
import torch
from pipeline import TINY_RUN, drop_fields, files_below

from recbole_gro import Config, UserError, run_recbole_gro
from recbole_gro.config import settings
from recbole_gro.config.reference import ORDER
from recbole_gro.quick_start.run import check_parts
from recbole_gro.quick_start.side_by_side import parts_of

SETTINGS = {
    **TINY_RUN,
    "defense": ["gro", "none"],
    "attacker": ["standard", "standard+mixed"],
    "references": ["independent", "untrained", "popularity"],
}


@pytest.fixture(autouse=True)
def _settings_of_the_package_alone(monkeypatch):
    """Workers declare no others; tests of this process do, and a fingerprint covers what is declared."""
    ours = {name for section in ORDER for name in settings._sections[section]}
    monkeypatch.setattr(settings, "_declared", {name: key for name, key in settings._declared.items() if name in ours})


@pytest.fixture
def run(tiny_data_path, tmp_path, monkeypatch):
    """Run with a number of workers, in a folder of its own: `run(2)`."""
    monkeypatch.chdir(tmp_path)

    def start(workers, **own):
        given = {**SETTINGS, "data_path": str(tiny_data_path), "workers": workers, "output_dir": f"out{workers}"}
        return run_recbole_gro("BERT4Rec", "tiny", config_dict={**given, **own})

    return start


@pytest.fixture
def parts(tiny_data_path):
    def of(**own):
        given = {**SETTINGS, "data_path": str(tiny_data_path), **own}
        config = Config("BERT4Rec", "tiny", config_dict=given)
        check_parts(config)
        return parts_of(config)

    return of


def test_parts_are_in_the_order_in_which_they_need_each_other(parts):
    none, gro = ("defense", "none", None), ("defense", "gro", None)
    attacks = [("attack", name, attack) for name in ("none", "gro") for attack in ("standard", "standard+mixed")]
    assert parts() == [none, ("reference", "independent", None), gro, *attacks]
    assert parts(attack=False) == [none, gro]


def test_results_and_files_do_not_depend_on_the_number_of_workers(run, tmp_path, capsys):
    alone, together = run(1), run(2)
    capsys.readouterr()
    clocks = ("seconds", "peak_memory_mib", "config")
    assert drop_fields(alone, *clocks) == drop_fields(together, *clocks)
    for row in (*alone["defenses"], *together["defenses"]):
        assert {"evaluation", "queries", "surrogate"} < set(row["seconds"])
    assert alone["seconds"]["total"] > sum(alone["defenses"][0]["seconds"].values())
    assert together["seconds"].keys() == alone["seconds"].keys()

    def without_clocks(names):
        return {"/".join(name.split("/")[:2]) for name in names}  # below lie names with times

    assert without_clocks(files_below(tmp_path / "out1")) == without_clocks(files_below(tmp_path / "out2"))


def test_every_stage_is_computed_by_a_worker(run, tmp_path, monkeypatch):
    for name in ("TargetTrainer", "create_defense", "create_attacker"):  # what a stage trains with, in this process
        monkeypatch.setattr(f"recbole_gro.quick_start.stages.{name}", None)
    assert len(run(2, stages_dir="stages")["defenses"]) == 4
    assert len(list((tmp_path / "stages").glob("surrogate-*.pth"))) == 4
    assert json.loads((tmp_path / "out2" / "results.json").read_text())["seconds"]["total"] > 0


def test_a_run_resumes_with_another_number_of_workers(run):
    first = run(2)
    assert run(1, output_dir="out2") == json.loads(json.dumps(first))


def test_threads_are_as_before_and_an_error_of_a_worker_is_one_line(run):
    threads = torch.get_num_threads()
    with pytest.raises(UserError, match=r"^surrogate-none-standard(\+mixed)?: epoch 0.*, so it stopped"):
        run(2, surrogate_learning_rate=1e30)
    assert torch.get_num_threads() == threads
