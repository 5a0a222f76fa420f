import pytest

from recbole_gro.utils.command_line import exit_code, settings_of
from recbole_gro.utils.errors import UserError


def test_words_are_settings():
    assert settings_of(["--a=1", "--b=x=y", "--c=", "--a=1"]) == {"a": "1", "b": "x=y", "c": ""}


@pytest.mark.parametrize("word", ["a=1", "--a", "-a=1", "--=1", ""])
def test_other_words_are_refused_by_name(word):
    with pytest.raises(UserError, match="is not understood; settings are given as --KEY=VALUE") as caught:
        settings_of(["--fine=1", word])
    assert repr(word) in str(caught.value)


def test_a_setting_with_two_values_is_refused():
    with pytest.raises(UserError, match="--a is given twice, as '1' and as '2'"):
        settings_of(["--a=1", "--a=2"])


@pytest.mark.parametrize(
    ("error", "code", "told"),
    [
        (None, 0, ""),
        (UserError("epochs: no"), 2, "tool: error: epochs: no\n"),
        (KeyboardInterrupt(), 130, "tool: stopped\n"),
    ],
)
def test_a_command_ends_in_a_code_and_a_line(capsys, error, code, told):
    def work():
        if error:
            raise error

    assert exit_code("tool", work) == code
    assert capsys.readouterr().err == told


def test_what_is_no_input_error_is_not_hidden():
    with pytest.raises(ZeroDivisionError):
        exit_code("tool", lambda: 1 / 0)
