import importlib
import subprocess
import sys
import textwrap

import pytest

from recbole_gro import Defense
from recbole_gro.config import own_modules
from recbole_gro.config.own_modules import reached, source
from recbole_gro.config.plugins import imported_module, module_sources, sources_of
from recbole_gro.defense.base import defenses
from recbole_gro.utils.own_code import fault_of_own_code

PART = "from recbole_gro import Defense\n{0}\nclass Part(Defense):\n    def shown(self, ranked):\n        {1}\n"


@pytest.fixture
def project(tmp_path, monkeypatch):
    """A call that writes files of a user, as a new process finds them, and returns a module if one is named."""
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setattr(own_modules, "_sources", {})
    before = {*sys.modules}

    def write(files, module=None):
        for name, text in files.items():
            place = tmp_path / f"{name}.py"
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_text(text)
        importlib.invalidate_caches()
        return importlib.import_module(module) if module else None

    yield write
    for name in {*sys.modules} - before:
        del sys.modules[name]


@pytest.mark.parametrize(
    ("files", "counts"),
    [
        ({"part": PART.format("import deep", "..."), "deep": "import deeper"}, {"part", "deep", "deeper"}),
        ({"part": PART.format("from deep import Depth", "...")}, {"part", "deep", "deeper"}),
        ({"part": PART.format("", "import deep")}, {"part", "deep", "deeper"}),
        ({"part": PART.format("import numpy, torch, recbole, yaml, json", "from scipy import stats")}, {"part"}),
        ({"part": PART.format("from absent import what", "...").replace("\nfrom", "\nif 0: from")}, {"part"}),
        ({"part": PART.format("import other.near", "...")}, {"part", "other", "other.near", "other.far"}),
        ({"part": PART.format("", "from other import near")}, {"part", "other", "other.near", "other.far"}),
        ({"part": PART.format("from named import space", "...")}, {"part", "named.space", "deep", "deeper"}),
    ],
)
def test_the_modules_that_a_part_imports_are_its_sources(project, files, counts):
    others = {
        "deep": "import deeper\nclass Depth: ...\n",
        "deeper": "import deep\n",
        "unrelated": "ONE = 1\n",
        "other/__init__": "TWO = 2\n",
        "other/near": "from . import far\n",
        "other/far": "THREE = 3\n",
        "named/space": "import deeper\n",
    }
    part = project(others | files, "part").Part
    assert {name for name, text in sources_of(part).items() if text or name == "named"} - {"named"} == counts


def test_a_module_has_the_same_source_before_and_after_it_is_imported(project):
    part = project(
        {"part": PART.format("", "import late.inner"), "late/__init__": "A = 1\n", "late/inner": "B = 2"}, "part"
    ).Part
    before = sources_of(part)
    assert before.keys() == {"part", "late", "late.inner"}
    own_modules._sources.clear()
    importlib.import_module("late.inner")
    assert sources_of(part).keys() == before.keys()
    assert {name: text.strip() for name, text in sources_of(part).items()} == {
        name: text.strip() for name, text in before.items()
    }


@pytest.mark.parametrize("folder", ["site-packages", "dist-packages"])
def test_what_is_installed_does_not_count(project, tmp_path, monkeypatch, folder):
    (tmp_path / folder).mkdir()
    (tmp_path / folder / "installed_one.py").write_text("import deep\n")
    monkeypatch.syspath_prepend(str(tmp_path / folder))
    part = project({"part": PART.format("import installed_one", "..."), "deep": ""}, "part").Part
    assert sources_of(part).keys() == {"part"}
    assert reached({"installed_one"}) == {"installed_one", "deep"}


def test_code_that_is_edited_while_it_runs_counts_as_it_was(project):
    """The process computes with the code that it has imported, whatever the file has then."""
    module = project({"part": PART.format("import deep", "return 1"), "deep": "ONE = 1\n"}, "part")
    before = sources_of(module.Part)
    project({"part": PART.format("import deep", "return 2"), "deep": "ONE = 2\n"})
    assert sources_of(module.Part) == before
    again = importlib.reload(module)
    assert "return 2" in sources_of(again.Part)["part"]
    assert sources_of(again.Part)["deep"] == before["deep"]
    importlib.reload(sys.modules["deep"])
    assert sources_of(again.Part)["deep"] == "ONE = 2\n"


def test_the_source_of_a_plugin_is_read_when_it_is_imported(project):
    project({"part": PART.format("import deep", "return 1"), "deep": "ONE = 1\n"})
    module = imported_module("part", "plugins")
    project({"part": PART.format("", "return 2"), "deep": "ONE = 2\n"})
    assert "return 1" in sources_of(module.Part)["part"]
    assert sources_of(module.Part)["deep"] == "ONE = 1\n"


def test_a_function_that_a_setting_names_has_the_sources_of_its_module_and_of_those_that_it_imports(project):
    project({"choice": "import deep\ndef choose(): ...\n", "deep": "ONE = 1\n"})
    assert module_sources("choice:choose", "query_choice") == {
        "choice": "import deep\ndef choose(): ...\n",
        "deep": "ONE = 1\n",
    }


def test_the_module_that_registers_a_part_counts_where_another_one_makes_its_class(project):
    make = "from recbole_gro import Defense\ndef make(by):\n    class Roll(Defense):\n        n = by\n    return Roll\n"
    registers = "from factory import make\nfrom recbole_gro import register_defense\n"
    module = project({"factory": make, "plugin_of_rolls": registers + "Roll = register_defense('rolls')(make(1))\n"},
                     "plugin_of_rolls")  # fmt: skip
    assert sources_of(module.Roll).keys() == {"factory", "plugin_of_rolls"}
    del defenses._entries["rolls"]


def test_a_fault_in_a_module_that_a_plugin_imports_is_one_of_own_code(project):
    project({"base_of_parts": PART.format("", "return 1 / 0"), "plugin_of_parts": "from base_of_parts import Part\n"})
    part = imported_module("plugin_of_parts", "plugins").Part
    with pytest.raises(ZeroDivisionError) as caught:
        part.shown(None, None)
    assert "base_of_parts.py, line" in str(fault_of_own_code(caught.value))


def test_a_compiled_module_has_a_digest_and_an_absent_one_nothing(project, tmp_path):
    (tmp_path / "fast.so").write_bytes(b"machine code")
    assert source("no_such_module_of_a_user") == ""
    assert sources_of(Defense) == {}


def test_the_modules_of_a_script_count_where_its_class_uses_them(project, tmp_path):
    script = """
        import unused, losses
        from losses import Loss as Other
        from recbole_gro import Defense
        from recbole_gro.config.plugins import sources_of
        class Part(Defense):
            def shown(self, ranked):
                import late
                return Other
        print(*sorted(sources_of(Part)))
    """
    losses = "import layers\nclass Loss: ...\n"
    project({"layers": "", "losses": losses, "late": "", "unused": "", "script": textwrap.dedent(script)})
    command = [sys.executable, "-W", "ignore", str(tmp_path / "script.py")]
    printed = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert printed.split() == ["__main__:Part", "late", "layers", "losses"]
