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
        "import sys, torch, recbole_gro.public; "
        "print('ray' in sys.modules, 'recbole.quick_start' in sys.modules, torch.is_anomaly_enabled())"
    )
    assert in_a_new_process(code, tmp_path) == "False False False"
    assert list(tmp_path.iterdir()) == []


def test_the_package_alone_imports_no_torch_and_a_config_knows_every_part(tmp_path):
    code = (
        "import sys, recbole_gro; print('torch' in sys.modules); "
        "from recbole_gro.config import Config; print(Config('NARM', config_dict={'gro_lambda': 2})['gro_lambda']); "
        "from recbole_gro import *; print(create_defense.__name__, hasattr(recbole_gro, 'nothing'))"
    )
    assert in_a_new_process(code, tmp_path).splitlines() == ["False", "2", "create_defense False"]


def tree_of(module):
    file = PACKAGE.joinpath(*module.split(".")[1:])
    file = file / "__init__.py" if file.is_dir() else file.with_suffix(".py")
    return ast.parse(file.read_text())


def imports_of(module):
    """Modules of this package that a module of it names in import statements, wherever they stand."""
    names = set()
    for node in ast.walk(tree_of(module)):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("recbole_gro"):
            names |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names if alias.name.startswith("recbole_gro.")}
        assert not (isinstance(node, ast.ImportFrom) and node.level), f"{module} has a relative import"
    return {name for name in names if is_module(name)} - {"recbole_gro"}


def imported_by_name(module):
    """Modules of this package that a module of it gives to `import_module`, as text."""
    calls = [node for node in ast.walk(tree_of(module)) if isinstance(node, ast.Call) and node.args]
    calls = [call for call in calls if ast.unparse(call.func) in ("importlib.import_module", "import_module")]
    names = {call.args[0].value for call in calls if isinstance(call.args[0], ast.Constant)}
    return {name for name in names if name.startswith("recbole_gro.")}


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


# DESIGN: imports run one way, from the command down to the tools
LAYERS = (
    ("public",),  # a module
    ("cli",),
    ("experiment",),
    ("quick_start", "audit", "http_service", "ownership"),
    ("report", "attack", "defense", "detection", "evaluator", "serving"),
    ("trainer", "data", "scoring"),
    ("objective", "config"),
    ("utils",),
)
# what may import a folder of its own layer
NEIGHBOURS = {
    "attack": {"serving"},
    "defense": {"attack", "serving"},
    "evaluator": {"serving"},
    "trainer": {"scoring"},
    "data": {"scoring"},
    "ownership": {"audit", "quick_start"},
}
# the settings and plugins of all parts are known once these are imported
UPWARDS = {"config": ["recbole_gro.config.settings imports recbole_gro.public"]}
FOLDERS = sorted(folder.name for folder in PACKAGE.iterdir() if (folder / "__init__.py").is_file())


def layer_of(folder):
    (layer,) = [number for number, layer in enumerate(LAYERS) if folder in layer]
    return layer


def test_every_folder_has_a_place_in_the_order():
    assert sorted(name for layer in LAYERS[1:] for name in layer) == FOLDERS


@pytest.mark.parametrize("folder", FOLDERS)
def test_imports_of_a_folder_run_downwards(folder):
    upwards = []
    for file in sorted((PACKAGE / folder).rglob("*.py")):
        module = ".".join(("recbole_gro", *file.relative_to(PACKAGE).with_suffix("").parts)).removesuffix(".__init__")
        for name in imports_of(module) | imported_by_name(module):
            other = name.split(".")[1]
            if other != folder and other not in NEIGHBOURS.get(folder, ()) and layer_of(other) <= layer_of(folder):
                upwards.append(f"{module} imports {name}")
    assert upwards == UPWARDS.get(folder, [])


def test_attack_reads_neither_data_nor_defenses():
    reached = reached_from("recbole_gro.attack")
    assert [name for name in reached if name.startswith(("recbole_gro.data", "recbole_gro.defense"))] == []


@pytest.mark.parametrize("file", sorted((PACKAGE / "objective").glob("*.py")), ids=lambda file: file.stem)
def test_objective_imports_torch_only(file):
    imported = [node for node in ast.walk(ast.parse(file.read_text())) if isinstance(node, ast.Import | ast.ImportFrom)]
    names = [getattr(node, "module", None) or node.names[0].name for node in imported]
    others = [name for name in names if not name.startswith("recbole_gro.objective")]
    assert {name.split(".")[0] for name in others} <= {"math", "typing", "torch"}


def test_the_package_root_holds_few_files():
    assert len(list(PACKAGE.glob("*.py"))) <= 4


OVERRIDES = {"fit", "fit_gro", "evaluate", "_train_epoch", "_valid_epoch"}  # with the parameters of RecBole's
LONG_SIGNATURES = {"extraction_loss", "_drawn"}  # with more parameters than allowed


def positional_parameters(function):
    names = [parameter.arg for parameter in (*function.args.posonlyargs, *function.args.args)]
    return [name for name in names if name not in ("self", "cls")]


def test_functions_take_at_most_five_positional_parameters():
    functions = [
        node
        for file in PACKAGE.rglob("*.py")
        for node in ast.walk(ast.parse(file.read_text()))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.name not in OVERRIDES
    ]
    assert {function.name for function in functions if len(positional_parameters(function)) > 5} <= LONG_SIGNATURES
