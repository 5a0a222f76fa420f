import os
import subprocess
import sys
import textwrap

import pytest

from recbole_gro.config.compiled_code import compiled_class
from recbole_gro.config.plugins import sources_of

CELL = """
import datetime
import enum
import fractions
import functools
import pathlib
import re
import numpy as np
import torch
SCALE = 2
NAMES = {"b", "a", "c"}
def helper(x):
    return x + 1
def twice(function):
    @functools.wraps(function)
    def both(x):
        return function(function(x))
    return both
@twice
def decorated(x):
    return x // 11
@functools.lru_cache
def cached(x):
    return x // 12
class Layer:
    depth = 13
    def forward(self, x):
        return Inner().forward(x)
class Inner:
    def forward(self, x):
        return x % 14
class Width:
    def __init__(self):
        self.width = 15
    def of_width(self):
        return self.width - 27
class Base:
    def forward(self, x):
        return x % 16
class Kind(enum.Enum):
    FIRST = 1
    SECOND = 2
KIND = Kind.FIRST
FLOATS = torch.arange(2000) * 0.19
HALF = torch.tensor(2.1).bfloat16()
NONE = torch.zeros(0, 2)
NUMBERS = np.arange(2000) + 22
OBJECTS = np.array(["a", 23], dtype=object)
ACTIVATION, INVERSE, FUNCTION = torch.sin, np.exp, functools.reduce
PATH = pathlib.Path("data.csv")
PART_OF = fractions.Fraction(1, 24)
DAY = datetime.date(2025, 1, 1)
PATTERN = re.compile("a" * 300 + "b")
UP_TO = range(25)
OTHER = (KIND, FLOATS, HALF, NONE, NUMBERS, OBJECTS, ACTIVATION, INVERSE, FUNCTION, PATH, PART_OF, DAY, PATTERN, UP_TO)
OWN = Width()
BOUND = Width().of_width
LAYERS = [Layer]
PART = functools.partial(helper, 17)
config = {"output_dir": "runs"}
class Mine(Base):
    width = 3
    class Nested:
        depth = 18
    def built(self, config):
        return self.config, config["output_dir"], OWN, LAYERS, PART, decorated, cached, OTHER, BOUND
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
    assert compiled_class(defined(CELL)).text == sources_of(again)["__main__:Mine"]


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
        *((f"{number}\n", f"{number + 100}\n") for number in (11, 12, 13, 14, 15, 16, 18)),
        ("(helper, 17)", "(helper, 117)"),
        ("[Layer]", "[Inner]"),
        ("KIND = Kind.FIRST", "KIND = Kind.SECOND"),
        ("* 0.19", "* 0.2"),
        ("(2.1)", "(2.2)"),
        ("zeros(0, 2)", "zeros(0, 3)"),
        ("+ 22", "+ 23"),
        ('"a", 23', '"a", 24'),
        ("torch.sin", "torch.cos"),
        ("np.exp", "np.log"),
        ("functools.reduce", "functools.cmp_to_key"),
        ("data.csv", "other.csv"),
        ("(1, 24)", "(1, 25)"),
        ("(2025, 1, 1)", "(2025, 1, 2)"),
        ('"b")', '"c")'),
        ("range(25)", "range(26)"),
        ("width - 27", "width - 28"),
        ("function(function(x))", "function(x)"),
    ],
)
def test_a_change_of_the_code_is_seen(change):
    changed = CELL.replace(*change)
    assert changed != CELL
    assert sources_of(defined(changed)) != sources_of(defined(CELL))


def test_settings_in_the_script_are_no_code():
    assert compiled_class(defined(CELL.replace('"runs"', '"elsewhere"'))) == compiled_class(defined(CELL))


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
