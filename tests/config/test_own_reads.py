import importlib
import itertools
import sys

import pytest

from recbole_gro.config.own_reads import undeclared_keys
from recbole_gro.defense import Defense

NUMBERS = itertools.count()
CONF = """
from recbole_gro import Settings, key
class {0}(Settings):
    {1}_a: int = key(1, "int >= 1", "of no part")
    {1}_b: int = key(1, "int >= 1", "of no part")
"""
PARTS = """
from recbole_gro import Defense, Settings, key, register_defense
class {0}Settings(Settings):
    {1}_declared: int = key(1, "int >= 1", "of Declaring")
    {1}_given: int = key(1, "int >= 1", "of Given")
@register_defense("{1}_declaring")
class Declaring(Defense):
    training_settings, output_settings = (), ({0}Settings,)
"""
READING = """
import {conf} as other
import {parts}
from recbole_gro import Defense
class Reading(Defense):
    training_settings = output_settings = ()
    def shown(self, ranked):
        return {read}
"""


@pytest.fixture
def reading(tmp_path, monkeypatch, own_parts):
    """Return a function that writes modules and returns the class of a part that reads a setting in some way."""
    monkeypatch.syspath_prepend(str(tmp_path))
    made = []

    def make(read):
        number = next(NUMBERS)  # what another test declared is not this one's
        name = f"own_reads_{number}"
        conf, parts = f"{name}_conf", f"{name}_parts"
        read = read.format(key=name, parts=parts, settings=f"Part{number}Settings")
        texts = {
            conf: CONF.format(f"Conf{number}", name),
            parts: PARTS.format(f"Part{number}", name),
            name: READING.format(conf=conf, parts=parts, read=read),
        }
        for module, text in texts.items():
            (tmp_path / f"{module}.py").write_text(text)
        made.extend(texts)
        return name, importlib.import_module(name).Reading

    yield make
    for module in made:
        del sys.modules[module]


def own(name, keys):
    return {key.removeprefix(f"{name}_") for key in keys if key.startswith(f"{name}_")}


def test_keys_that_a_user_declares_for_no_part_count_however_they_are_read(reading):
    name, part = reading("other.anything(self)")
    assert own(name, undeclared_keys([part], [(), ()])) == {"a", "b"}


@pytest.mark.parametrize(
    "read",
    [
        '"{key}_declared"',
        "self.config.{key}_declared",
        "(lambda config: config.{key}_declared)(self.config)",
        "{parts}.{settings}.of(self.config)",
    ],
)
def test_a_key_of_another_part_counts_where_the_source_names_it(reading, read):
    name, part = reading(read)
    assert own(name, undeclared_keys([part], [(), ()])) >= {"a", "b", "declared"}


def test_a_declared_key_and_one_of_another_part_do_not_count(reading):
    name, part = reading("None")
    (declared,) = (each for each in vars(sys.modules[f"{name}_conf"]).values() if isinstance(each, type) and each.names)
    assert own(name, undeclared_keys([part], [(declared,), ()])) == set()


def test_parts_of_this_package_have_no_undeclared_keys(reading):
    reading("None")
    assert undeclared_keys([Defense]) == set()


def test_what_else_is_imported_does_not_count(reading):
    """As of a script: the worker processes of an experiment have not imported it."""
    _, part = reading("None")
    before = undeclared_keys([part], [(), ()])
    other, _ = reading("None")
    assert sys.modules[f"{other}_conf"]
    assert undeclared_keys([part], [(), ()]) == before


@pytest.mark.parametrize("statement", ["from . import conf", "from .conf import helper", "from .. import conf"])
def test_modules_that_are_imported_inside_a_function_count(tmp_path, monkeypatch, statement):
    number = next(NUMBERS)
    folder = tmp_path / f"package_{number}"
    (folder / "inner").mkdir(parents=True)
    for place in (folder, folder / "inner"):
        (place / "__init__.py").touch()
    where = folder / "inner" if ".." in statement else folder
    conf = CONF.format(f"Conf{number}", f"package_{number}") + "def helper(part):\n    return 1\n"
    (folder / "conf.py").write_text(conf)
    (where / "part.py").write_text(
        "from recbole_gro import Defense\nclass Reading(Defense):\n    training_settings = output_settings = ()\n"
        f"    def shown(self, ranked):\n        {statement}\n        return ranked\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    importlib.import_module(f"package_{number}.conf")
    part = importlib.import_module(f"package_{number}{'.inner' if where != folder else ''}.part").Reading
    assert own(f"package_{number}", undeclared_keys([part], [(), ()])) == {"a", "b"}
