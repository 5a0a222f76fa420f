import pytest

from recbole_gro import UserError
from recbole_gro.defense.settings import KeyedSettings, RandomSettings, TailSettings, check_head


@pytest.mark.parametrize("head_k", [10, 11])
def test_a_head_as_long_as_the_list_is_refused(head_k):
    line = f"^some_key: {head_k} leaves nothing of lists of 10 to change; set it below served_k=10$"
    with pytest.raises(UserError, match=line):
        check_head("some_key", head_k, 10)


def test_a_shorter_head_passes():
    assert check_head("some_key", 9, 10) is None


def test_absent_settings_take_their_defaults():
    assert TailSettings.of({}).head_k == 20
    assert RandomSettings.of({}).random_keyed is False
    assert KeyedSettings.of({"defense_key": "secret"}).defense_key == "secret"
