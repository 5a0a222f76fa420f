import os
import subprocess
import sys
import textwrap

import pytest

from recbole_gro.config.compiled_code import compiled_class
from recbole_gro.config.plugins import sources_of

CELL = """
import functools
SCALE = 2
NAMES = {"b", "a", "c"}
def helper(x):
    return x + 1
class Mine:
    width = 3
    def forward(self, x, by=1):
        return helper(x) * SCALE if x not in {"one", "two", "three"} else [each for each in (4, 5)]
    @property
    def size(self):
        return 7
    @staticmethod
    def of(x):
        return x - 8
    @functools.cached_property
    def kept(self):
        return 9
    @functools.lru_cache
    def wrapped(self):
        return NAMES and 10
"""


def defined(source, file="<cell>"):
    """The class of a cell: of __main__, without a file."""
    namespace = {"__name__": "__main__"}
    exec(compile(source, file, "exec"), namespace)
    return namespace["Mine"]


def test_a_cell_that_is_run_again_is_the_same_code():
    again = defined("\n\n" + CELL, "<another cell>")
    assert compiled_class(defined(CELL)) == compiled_class(again)
    assert compiled_class(defined(CELL)) == sources_of(again)["__main__:Mine"]


@pytest.mark.parametrize(
    "change",
    [
        ("SCALE = 2", "SCALE = 3"),
        ("x + 1", "x + 2"),
        ("x + 1", "x - 1"),
        ("width = 3", "width = 4"),
        ("by=1", "by=2"),
        ('"two"', '"too"'),
        ("(4, 5)", "(4, 6)"),
        ("return 7", "return 8"),
        ("x - 8", "x - 9"),
        ("return 9", "return 10"),
        ("and 10", "or 10"),
        ('"c"}', '"d"}'),
        ("helper(x) *", "abs(x) *"),
        ("def size", "def sizes"),
    ],
)
def test_a_change_of_the_code_is_seen(change):
    changed = CELL.replace(*change)
    assert changed != CELL
    assert sources_of(defined(changed)) != sources_of(defined(CELL))


def test_the_text_is_the_same_in_every_process(tmp_path):
    script = textwrap.dedent(CELL) + "from recbole_gro.config.plugins import sources_of\nprint(sources_of(Mine))\n"
    printed = {
        subprocess.run(
            [sys.executable, "-W", "ignore", "-"], input=script, capture_output=True, text=True, check=True,
            env={**os.environ, "PYTHONHASHSEED": seed}, cwd=tmp_path,
        ).stdout
        for seed in ("1", "2")
    }  # fmt: skip
    (text,) = printed
    assert "forward" in text
