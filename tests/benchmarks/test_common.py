"""What the benchmarks share, and rules for all of them."""

import argparse
import ast
import importlib.util
import re

import pytest
from benchmarks.cases import BENCHMARKS, in_a_checkout

pytestmark = in_a_checkout
SCRIPTS = sorted(file.stem for file in BENCHMARKS.glob("*.py"))


@pytest.fixture
def common():
    spec = importlib.util.spec_from_file_location("benchmark_common", BENCHMARKS / "common.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_every_benchmark_has_a_test_file():
    tests = {file.stem.removeprefix("test_") for file in (BENCHMARKS.parent / "tests" / "benchmarks").glob("test_*.py")}
    assert "gro_step" in SCRIPTS
    assert set(SCRIPTS) - tests == set()


@pytest.mark.parametrize("name", SCRIPTS)
def test_benchmarks_use_public_names_alone(name):
    tree = ast.parse((BENCHMARKS / f"{name}.py").read_text())
    names = [node.attr for node in ast.walk(tree) if isinstance(node, ast.Attribute)]
    names += [alias.name for node in ast.walk(tree) if isinstance(node, ast.ImportFrom) for alias in node.names]
    private = {name for name in names if name.startswith("_") and not name.startswith("__")}
    assert private <= {"_dataset"}  # of RecBole's loaders, which have no public name for it


@pytest.mark.parametrize("word", ["0", "-1", "1.5", "many", ""])
def test_counts_are_whole_numbers_of_one_or_more(common, word):
    assert common.positive("12") == 12
    with pytest.raises(argparse.ArgumentTypeError, match="is no whole number of 1 or more"):
        common.positive(word)


def test_an_output_file_lies_in_a_folder_that_exists(common, tmp_path):
    assert common.output_file(str(tmp_path / "new.png")) == tmp_path / "new.png"
    with pytest.raises(argparse.ArgumentTypeError, match="lies in a folder that does not exist"):
        common.output_file(str(tmp_path / "absent" / "new.png"))


@pytest.mark.parametrize("name", SCRIPTS)
def test_numbers_and_files_of_command_lines_are_checked(name):
    source = (BENCHMARKS / f"{name}.py").read_text()
    unchecked = re.findall(r'add_argument\("(--\w+)", type=(?:int|Path)\b', source)
    assert set(unchecked) <= {"--seed", "--seeds", "--folder", "--page"}


def test_a_timed_loader_records_each_pass(common):
    timed = common.Timed([1, 2, 3])
    assert [list(timed), list(timed)] == [[1, 2, 3], [1, 2, 3]]
    assert len(timed.seconds) == 2
    assert len(timed) == 3


def test_a_pass_over_first_batches_is_scaled_up_without_its_warm_up(common, monkeypatch):
    clock = iter([10.0, 14.0])
    monkeypatch.setattr(common, "now", lambda: next(clock))
    timed = common.Timed(list(range(10)), batches=2, warm_up=1)
    assert list(timed) == [0, 1, 2]
    assert timed.seconds == [20.0]  # two of ten in 4 seconds


def test_pairs_alternate_in_order(common):
    calls = []
    first, second = common.paired(lambda: calls.append("a"), lambda: calls.append("b"), 3)
    assert "".join(calls) == "ab" + "ab" + "ba" + "ab"
    assert len(first) == len(second) == 3


def test_what_has_a_row_is_not_missing_and_no_lock_stays(common, tmp_path):
    file, cells = tmp_path / "rows.csv", [{"name": "x", "seed": 1}, {"name": "x", "seed": 2}]
    common.append(file, {**cells[0], "value": 0.5}, ["name", "seed", "value"])
    for cell in common.missing(file, cells):
        assert cell == cells[1]
        assert list(common.missing(file, [cell])) == []  # it is taken
    assert {path.name for path in tmp_path.iterdir()} <= {"rows.csv", "rows.csv.lock"}
