"""Benchmarks start: each script can be imported, and effect.yaml holds settings that their parts accept.

In processes of their own, since benchmarks register parts and declare settings that are not the package's.
"""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"
pytestmark = pytest.mark.skipif(not BENCHMARKS.is_dir(), reason="a source distribution has no benchmarks")
STAGES = """
import json, sys
from effect import HERE, PARTS, make_config, read_settings
from recbole_gro.quick_start.fingerprint import Fingerprints

def stages(settings):
    config = make_config(settings, 1, sys.argv[1])
    return Fingerprints(config, PARTS.get(config["defense"], config["defense"])).stages()

print(json.dumps({name: stages(settings) for name, settings in read_settings(HERE / "effect.yaml").items()}))
"""


def python(code, *arguments):
    command = [sys.executable, "-c", code, *map(str, arguments)]
    done = subprocess.run(command, cwd=BENCHMARKS, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_every_script_can_be_imported():
    names = sorted(file.stem for file in BENCHMARKS.glob("*.py"))
    assert "effect" in names
    python("import importlib, sys\nfor name in sys.argv[1:]: importlib.import_module(name)", *names)


def test_sequences_are_compared_with_prefixes(tiny_data_path):
    options = f"--rounds=1 --seconds=0 --models GRU4Rec --dataset=tiny --data_path={tiny_data_path} --served_k=20"
    command = [sys.executable, "sequences.py", *options.split(), "--embedding_size=16", "--hidden_size=16"]
    done = subprocess.run(command, cwd=BENCHMARKS, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    for line in (
        r"\d+ prefixes, \d+ sequences",
        r"epoch, prefixes / sequences: \d+\.\d+ ",
        r"prefixes: best ndcg@10 0\.\d{4} at \d+ s; 1 epochs, time was up",
        r"sequences: best ndcg@10 0\.\d{4} at \d+ s; 1 epochs, time was up",
        r"reached by sequences",
        r"epoch on sequences, GRO / plain: \d+\.\d+ ",
    ):
        assert re.search(line, done.stdout, re.IGNORECASE), (line, done.stdout)


@pytest.mark.parametrize(
    ("command", "lines"),
    [
        ("scale.py --parts 4000", [r"\| 34 \| 5000 \|( [\d.]+ \|){6}"]),
        (
            "evaluation.py --users=60 --items=300 --rounds=1",
            [
                "60 rows, 300 items",
                *(f"{name}.*metrics equal" for name in ("popularity", "model", "validation of a trainer")),
            ],
        ),
    ],
)
def test_a_command_measures_a_tiny_size(command, lines):
    done = subprocess.run([sys.executable, *command.split()], cwd=BENCHMARKS, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    for line in lines:
        assert re.search(line, done.stdout), (line, done.stdout)


@pytest.mark.every
def test_two_processes_are_compared_with_one(tiny_data_path):
    options = f"--rounds=1 --models=GRU4Rec --dataset=tiny --data_path={tiny_data_path} --served_k=20"
    command = [sys.executable, "processes.py", *options.split(), "--embedding_size=16", "--hidden_size=16"]
    done = subprocess.run(command, cwd=BENCHMARKS, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    for stage in ("target", "GRO", "surrogate"):
        assert re.search(rf"GRU4Rec {stage}, one process / two: \d+\.\d+ ", done.stdout), done.stdout


@pytest.fixture(scope="module")
def stages(tmp_path_factory):
    return json.loads(python(STAGES, tmp_path_factory.mktemp("work")).splitlines()[-1])


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
