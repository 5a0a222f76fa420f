"""The error that users read, and the nearest known name."""

import pytest

from recbole_gro.utils.errors import UserError, nearest, unknown_name


@pytest.mark.parametrize(
    ("name", "known", "found"),
    [
        ("bert4rec", ["BERT4Rec", "NARM"], "BERT4Rec"),
        ("served_K", ["served_k", "gro_lambda"], "served_k"),
        ("narm", ["NARM"], "NARM"),
        ("DEFENSE", ["defense"], "defense"),
        ("anything", ["NARM"], None),
        ("anything", [], None),
        (7, ["seven", "7th"], None),
    ],
)
def test_nearest_does_not_mind_case(name, known, found):
    assert nearest(name, known) == found


def test_a_user_error_is_a_value_error():
    assert issubclass(UserError, ValueError)
    assert isinstance(unknown_name("shape", "x", ["y"]), UserError)
