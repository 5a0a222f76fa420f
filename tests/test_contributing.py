"""The parts that CONTRIBUTING.md shows work as they are written there."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parent.parent
PAGE = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
SMALL = {"epochs": 1, "gro_epochs": 1, "surrogate_epochs": 1, "query_sequences": 4, "query_length": 5, "seed": 3}
SMALL |= {"hidden_size": 16, "inner_size": 32, "n_layers": 1, "n_heads": 2, "served_k": 12, "use_gpu": False}
SMALL |= {"topk": [5], "valid_metric": "NDCG@5", "dataset": "tiny", "references": [], "MAX_ITEM_LIST_LENGTH": 8}


@pytest.fixture
def run(tmp_path, tiny_data_path):
    """Run Python in a folder with my_parts.py, which has all parts: `run("-m", "recbole_gro", "--help")`."""
    parts, rest = PAGE[PAGE.index("## Fingerprints") :].split("### And use them")
    (tmp_path / "my_parts.py").write_text("\n".join(re.findall(r"```python\n(.*?)```", parts, flags=re.DOTALL)))
    (tmp_path / "use.py").write_text(re.search(r"```python\n(.*?)```", rest, flags=re.DOTALL)[1])
    (tmp_path / "small.yaml").write_text(yaml.dump({**SMALL, "data_path": str(tiny_data_path), "access_log": True}))
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}

    def make(*words):
        done = subprocess.run([sys.executable, *words], cwd=tmp_path, env=environment, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        return done.stdout

    return make


def test_the_parts_run_together_and_the_detector_reads_their_log(run, tmp_path):
    script = (tmp_path / "use.py").read_text().replace("config_dict=", 'config_file_list=["small.yaml"], config_dict=')
    script = script.replace('"query_sequences": 30,', "")
    (tmp_path / "use.py").write_text(script.replace('"plugins"', '"output_dir": "out",\n        "plugins"'))
    table = run("use.py")
    for row in ("none", "roll", "gro_frozen"):
        assert re.search(rf"^\| {row}\b", table, flags=re.MULTILINE)
    assert "target firsthit@5" in table
    found = run(
        *("-m", "recbole_gro", "detect", "--target=out/target.pth", "--log=out/access-none.jsonl", "--quiet"),
        *("--plugins=[my_parts]", "--detector=followed", "--false_positive_rate=0.1"),
    )
    assert "| followed" in found


def test_an_attack_with_its_own_loss_runs_beside_a_reference(run):
    given = ("--config_files=small.yaml", "--plugins=[my_parts]", "--defense=none")
    attacked = ("--attacker=[standard,cross_entropy]", "--references=[upside_down]")
    table = run("-m", "recbole_gro", "--model=BERT4Rec", *given, *attacked)
    assert re.search(r"^\| none +\| cross_entropy", table, flags=re.MULTILINE)
    assert re.search(r"^\| upside_down ", table, flags=re.MULTILINE)


def test_the_grid_is_valid(run, tmp_path, tiny_data_path):
    grid = yaml.safe_load(re.findall(r"```yaml\n(.*?)```", PAGE, flags=re.DOTALL)[-1])
    grid["fixed"] |= {"dataset": "tiny", "data_path": str(tiny_data_path), "served_k": 21}
    (tmp_path / "my_grid.yaml").write_text(yaml.dump(grid))
    printed = run("-m", "recbole_gro", "experiment", "my_grid.yaml", "--dry_run")
    assert "27 cells, 0 done, 27 to run" in printed
    assert "attacker top, defense roll, seed 3" in printed
