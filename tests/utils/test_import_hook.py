import importlib
import importlib.util
import sys

import pytest

from recbole_gro.utils.import_hook import import_after


@pytest.fixture
def modules(tmp_path, monkeypatch):
    """Packages `library` and `ours` that can be imported; `library.log` has the modules in the order of their ends."""
    files = {
        "library/__init__.py": "log = []",
        "library/outer.py": "from library import inner, log\nlog.append('outer')",
        "library/inner.py": "from library import log\nlog.append('inner')",
        "library/failing.py": "raise ValueError('failing')",
        "ours.py": "from library import log\nlog.append('ours')",
    }
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    monkeypatch.syspath_prepend(tmp_path)
    before, finders = set(sys.modules), list(sys.meta_path)
    yield
    sys.meta_path[:] = finders
    for name in set(sys.modules) - before:
        del sys.modules[name]


def log():
    return sys.modules["library"].log


def test_the_follower_comes_once_after_the_first_module_and_what_it_imports(modules):
    finders = list(sys.meta_path)
    import_after("library", "ours")
    importlib.import_module("library.outer")
    assert log() == ["inner", "outer", "ours"]
    assert sys.meta_path == finders


def test_it_comes_at_once_where_the_library_is_imported(modules):
    importlib.import_module("library.inner")
    import_after("library", "ours")
    assert log() == ["inner", "ours"]


def test_a_module_that_is_looked_for_missing_or_failing_is_no_first_module(modules):
    import_after("library", "ours")
    assert importlib.util.find_spec("library.outer") is not None
    with pytest.raises(ModuleNotFoundError, match="nothing"):
        importlib.import_module("library.nothing")
    with pytest.raises(ValueError, match="failing"):
        importlib.import_module("library.failing")
    assert log() == []
    importlib.import_module("library.inner")
    assert log() == ["inner", "ours"]
