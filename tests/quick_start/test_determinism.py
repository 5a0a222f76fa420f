"""The same seed gives the same numbers, in this process and in another; another seed gives others."""

import json
import os
import subprocess
import sys

import pytest
from pipeline import tiny_run

from recbole_gro.cli.main import main

pytestmark = pytest.mark.no_cover  # other tests run these lines too (CONTRIBUTING.md)


@pytest.fixture
def words(tiny_data_path, tmp_path, monkeypatch):
    """The arguments of a tiny run of all kinds of stages: `words("NARM", seed=3, output_dir="one")`."""
    monkeypatch.chdir(tmp_path)

    def make(model, **settings):
        given = {
            **tiny_run(model),
            "data_path": tiny_data_path,
            "defense": "[none,random,tail_random,gro]",
            "head_k": 5,
            **settings,
        }
        return ["-m", model, "-d", "tiny", *(f"--{key}={value}" for key, value in given.items())]

    return make


REFERENCES = "[independent,untrained,own_history,popularity]"


def numbers(folder):
    """Return the numbers of results.json, without the times."""
    results = json.loads((folder / "results.json").read_text())
    rows = [{key: entry for key, entry in row.items() if key != "seconds"} for row in results["defenses"]]
    return {"defenses": rows, "references": results["references"]}


@pytest.mark.parametrize("model", ["NARM", "BERT4Rec"])
def test_numbers_are_those_of_the_seed(words, tmp_path, model):
    for name, seed in (("one", 7), ("same", 7), ("other", 8)):
        assert main(words(model, seed=seed, output_dir=name, references=REFERENCES)) == 0
    one, same, other = (numbers(tmp_path / name) for name in ("one", "same", "other"))
    assert one == same
    for row, other_row in zip(one["defenses"], other["defenses"], strict=True):
        assert row["target"] != other_row["target"]
        assert row["surrogate"] != other_row["surrogate"]
    drawn = [
        row["defense"] for row, of_other in zip(one["references"], other["references"], strict=True) if row != of_other
    ]
    assert drawn == ["independent", "untrained", "own_history"]  # the last by its agreement with the target


def test_another_process_gives_the_same_numbers(words, tmp_path):
    assert main(words("BERT4Rec", output_dir="here", references=REFERENCES)) == 0
    environment = {**os.environ, "PYTHONHASHSEED": "1", "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "recbole_gro", *words("BERT4Rec", output_dir="there", references=REFERENCES)]
    subprocess.run(command, env=environment, check=True, capture_output=True)
    assert numbers(tmp_path / "here") == numbers(tmp_path / "there")
