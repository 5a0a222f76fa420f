import ast
import os
import subprocess
import sys
from pathlib import Path

import pytest

import recbole_gro

PACKAGE = Path(recbole_gro.__file__).parent


def in_a_new_process(code, cwd):
    environment = {**os.environ, "PYTHONPATH": str(PACKAGE.parent)}
    done = subprocess.run([sys.executable, "-c", code], cwd=cwd, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


@pytest.mark.parametrize("name", recbole_gro.__all__)
def test_public_name_exists(name):
    assert getattr(recbole_gro, name) is not None


def test_public_names_are_listed_once_in_order():
    assert recbole_gro.__all__ == sorted(set(recbole_gro.__all__))


def test_public_names_have_docstrings():
    assert [name for name in recbole_gro.__all__ if not (getattr(recbole_gro, name).__doc__ or "").strip()] == []


def test_import_loads_no_ray_writes_nothing_and_leaves_torch_alone(tmp_path):
    code = (
        "import sys, torch, recbole_gro; "
        "print('ray' in sys.modules, 'recbole.quick_start' in sys.modules, torch.is_anomaly_enabled())"
    )
    assert in_a_new_process(code, tmp_path) == "False False False"
    assert list(tmp_path.iterdir()) == []


def imports_of(module):
    """Modules of this package that a module of it names in import statements, wherever they stand."""
    file = PACKAGE.joinpath(*module.split(".")[1:])
    file = file / "__init__.py" if file.is_dir() else file.with_suffix(".py")
    names = set()
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("recbole_gro"):
            names |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names if alias.name.startswith("recbole_gro.")}
        assert not (isinstance(node, ast.ImportFrom) and node.level), f"{module} has a relative import"
    return {name for name in names if is_module(name)} - {"recbole_gro"}


def is_module(name):
    path = PACKAGE.joinpath(*name.split(".")[1:])
    return path.is_dir() or path.with_suffix(".py").is_file()


def reached_from(module):
    reached, ahead = set(), {module}
    while ahead:
        name = ahead.pop()
        reached.add(name)
        ahead |= imports_of(name) - reached
    return reached


@pytest.mark.parametrize("module", ["recbole_gro.attack", "recbole_gro.objective"])
def test_attack_and_objective_know_nothing_of_the_defenses(module):
    upstairs = ("recbole_gro.defense", "recbole_gro.evaluator", "recbole_gro.quick_start", "recbole_gro.report")
    assert [name for name in reached_from(module) if name.startswith(upstairs)] == []


def test_attack_reads_no_dataset():
    datasets = ("recbole_gro.data.dataset", "recbole_gro.data.known", "recbole_gro.data.loaders")
    assert [name for name in reached_from("recbole_gro.attack") if name.startswith(datasets)] == []


def test_defenses_know_nothing_of_the_attack():
    upstairs = ("recbole_gro.attack", "recbole_gro.quick_start")
    assert [name for name in reached_from("recbole_gro.defense.gro") if name.startswith(upstairs)] == []


def test_objective_knows_nothing_of_recbole():
    source = (PACKAGE / "objective.py").read_text()
    imported = [node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Import | ast.ImportFrom)]
    names = [getattr(node, "module", None) or node.names[0].name for node in imported]
    assert {name.split(".")[0] for name in names} == {"math", "torch"}
