"""effect.py, and the settings of effect.yaml; in processes of their own, since it registers parts of its own."""

import json
import subprocess
import sys

import pytest
from benchmarks.cases import BENCHMARKS, BenchmarkCases, in_a_checkout

SETTINGS = (
    "--epochs=1 --gro_epochs=1 --query_sequences=4 --surrogate_epochs=1 --MAX_ITEM_LIST_LENGTH=6 --query_length=6 "
    "--n_layers=1 --hidden_size=16 --inner_size=16 --file={work}/effect.csv --folder={work}/stages"
)
LONG = SETTINGS.replace("--epochs=1 ", "--epochs=1000 ")
STAGES = """
import json, sys
from effect import HERE, PARTS, make_config, read_settings
from recbole_gro.quick_start.fingerprint import Fingerprints

def stages(settings):
    config = make_config(settings, 1, sys.argv[1])
    return Fingerprints(config, PARTS.get(config["defense"], config["defense"])).stages()

print(json.dumps({name: stages(settings) for name, settings in read_settings(HERE / "effect.yaml").items()}))
"""


@pytest.mark.every
class TestEffect(BenchmarkCases):
    name, own_process, writes = "effect", True, ("effect.csv", "stages")
    tiny, long = f"--settings none student-ahead-3 {SETTINGS}", f"--settings base {LONG}"
    bad = ("--settings bass", "invalid choice: 'bass'")
    prints = (r"none 1 \{.*'target valid ndcg@10'", r"student-ahead-3 1 \{.*'swap loss'")


@pytest.fixture(scope="module")
def stages(tmp_path_factory):
    command = [sys.executable, "-c", STAGES, str(tmp_path_factory.mktemp("work"))]
    done = subprocess.run(command, cwd=BENCHMARKS, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


@in_a_checkout
@pytest.mark.parametrize(
    ("one", "other", "shared"),
    [
        ("none", "base", {"target"}),
        ("base", "batch-32", {"target"}),  # gro_phase
        ("base", "student-steps-4", {"target"}),  # gro_knobs
        ("base", "base-gru4rec", {"target", "defended", "queries"}),
        ("none", "none-first-20", {"target"}),
        ("none-gru4rec", "none-gru4rec-200-passes", {"target"}),
        ("none", "none-length-200", set()),
    ],
)
def test_settings_of_effect_share_the_stages_that_they_do_not_change(stages, one, other, shared):
    both = stages[one].keys() & stages[other].keys()
    assert {stage for stage in both if stages[one][stage] == stages[other][stage]} == shared
