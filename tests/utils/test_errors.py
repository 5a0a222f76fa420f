"""The error that users read, and the nearest known name."""

import pytest

from recbole_gro.utils.errors import UserError, check_spelling, nearest, unknown_name


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


def test_a_name_that_is_more_like_another_kind_is_refused():
    check_spelling(["seed", "seeds", "anything", "learning_rat"], {"seeds"}, {"seed", "learning_rate"})
    with pytest.raises(UserError, match=r"^unknown key 'sedes'; did you mean 'seeds'\?$"):
        check_spelling(["sedes"], {"seeds"}, {"seed"})
