"""Which Python make takes, and which versions it installs."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

MAKEFILE = Path(__file__).parents[1] / "Makefile"
RUNS, SHIM = '#!/bin/sh\necho "${0##*/}"\n', "#!/bin/sh\nexit 127\n"  # pyenv's shims stand for absent versions too
PATHS = [
    ({"python3.13": RUNS, "python3.12": RUNS, "python3.11": RUNS, "python3": RUNS}, "python3.13"),
    ({"python3.13": SHIM, "python3.12": RUNS, "python3.11": RUNS}, "python3.12"),
    ({"python3.13": SHIM, "python3.11": RUNS, "python3": RUNS}, "python3.11"),
    ({"python3": RUNS}, "python3"),
]


@pytest.fixture
def commands(tmp_path):
    """Return the commands of `make demo` in a new checkout, where only the given programs are found."""

    def printed(programs, *arguments):
        shutil.copy(MAKEFILE, tmp_path)
        for name in ("setup.cfg", "setup.py", "pyproject.toml", "constraints.txt", *programs):
            (tmp_path / name).write_text(programs.get(name, ""))
            (tmp_path / name).chmod(0o755)
        make = shutil.which("make")
        environment = {name: text for name, text in os.environ.items() if name not in ("PYTHON", "MAKEFLAGS")}
        command = [make, "-n", "demo", *arguments]
        done = subprocess.run(
            command,
            cwd=tmp_path,
            env={**environment, "PATH": str(tmp_path)},
            capture_output=True,
            text=True,
            check=True,
        )
        return done.stdout

    return printed


@pytest.mark.parametrize(("programs", "chosen"), PATHS)
def test_the_newest_python_that_runs_is_taken(commands, programs, chosen):
    assert f"\n{chosen} -m venv .venv " in commands(programs)


def test_another_python_is_taken_where_it_is_named(commands):
    assert "\n/opt/python -m venv .venv " in commands({"python3.13": RUNS}, "PYTHON=/opt/python")


def test_versions_are_pinned_unless_the_newest_are_wanted(commands):
    assert "-c constraints.txt -e ." in commands({"python3.13": RUNS})
    assert "constraints" not in commands({"python3.13": RUNS}, "CONSTRAINTS=").partition(" -m pip ")[2]


def test_torch_comes_from_an_index_of_its_own_where_one_is_named(commands):
    wanted = "pip install --disable-pip-version-check -c constraints.txt --index-url https://cpu torch "
    assert wanted in commands({"python3.13": RUNS}, "TORCH_INDEX=https://cpu")
    assert "--index-url" not in commands({"python3.13": RUNS})
