"""Faults of a user's own code are told from those of this package."""

import re
import sys

import pytest

from recbole_gro.config.plugins import imported_module
from recbole_gro.utils.own_code import fault_of_own_code, place_in_own_code
from recbole_gro.utils.registry import Registry

SOURCE = """\
class Roll:
    def shown(self):
        return self.later()

    def later(self):
        return {}["gone"]


class Helper:
    def run(self):
        return int("two\\nlines")


def bare(call):
    return call()
"""


@pytest.fixture
def own(tmp_path, monkeypatch):
    """A module that a setting names, in the working folder; its class Roll is registered."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "faulty_own_code.py").write_text(SOURCE)
    module = imported_module("faulty_own_code", "plugins")
    Registry("defense").register("roll")(module.Roll)
    return module


def error_of(call):
    try:
        return pytest.fail(f"{call()} was returned")
    except BaseException as error:
        return error


def test_the_innermost_call_of_a_users_code_is_named_with_its_part(own):
    error = error_of(own.Roll().shown)
    assert place_in_own_code(error).endswith("faulty_own_code.py, line 6, in Roll.later")
    assert re.fullmatch(
        r"defense roll: KeyError: 'gone' \(.*faulty_own_code.py, line 6, in Roll.later\)", str(fault_of_own_code(error))
    )
    assert str(fault_of_own_code(error, "attacker top")).startswith("defense roll: ")


def test_an_unregistered_object_has_the_name_that_is_given(own):
    error = error_of(own.Helper().run)
    reason = r"ValueError: invalid literal for int\(\) with base 10: 'two\\nlines' \(.*, line 11, in Helper.run\)"
    assert re.fullmatch(reason, str(fault_of_own_code(error)))
    assert re.fullmatch(f"attacker top: {reason}", str(fault_of_own_code(error, "attacker top")))


def test_what_a_library_raises_below_a_users_call_is_the_users(own):
    error = error_of(lambda: own.bare(lambda: "".join(3)))
    assert re.search(r"^TypeError: .* \(.*, line 15, in bare\)$", str(fault_of_own_code(error)))


def test_an_exception_without_text_has_its_type_alone(own):
    def failing():
        raise RuntimeError

    assert str(fault_of_own_code(error_of(lambda: own.bare(failing)))).startswith("RuntimeError (")


def test_ending_the_process_is_a_fault_of_own_code_and_an_interrupt_is_none(own):
    fault = str(fault_of_own_code(error_of(lambda: own.bare(lambda: sys.exit(0)))))
    assert re.fullmatch(r"it ends the process \(SystemExit: 0\), where it should .* \(.*, line 15, in bare\)", fault)

    def interrupted():
        raise KeyboardInterrupt

    assert fault_of_own_code(error_of(lambda: own.bare(interrupted))) is None
    assert fault_of_own_code(error_of(lambda: sys.exit(0))) is None


def test_other_faults_are_not_a_users(own):
    error = error_of(lambda: {}["gone"])
    assert place_in_own_code(error) == ""
    assert fault_of_own_code(error, "attacker top") is None
