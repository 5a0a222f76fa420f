from types import SimpleNamespace

import pytest

from recbole_gro.audit.curve import lists_for_gain

CURVE = [{"lists": 100, "agreement": 0.22}, {"lists": 1000, "agreement": 0.26}, {"lists": 10_000, "agreement": 0.4}]


def attack(untrained=0.2, improved=True):
    return SimpleNamespace(facts={"untrained_agreement": untrained, "agreement_at": 10, "surrogate_improved": improved})


def test_shares_are_of_the_gain_over_an_untrained_surrogate():
    needed = lists_for_gain(attack(), CURVE, 1000)
    assert needed["50%"] == pytest.approx(1000 * 10 ** (0.04 / 0.14), abs=1)  # level 0.3, where half of 0.4 is at 100
    assert needed["90%"] == pytest.approx(1000 * 10 ** (0.12 / 0.14), abs=1)  # level 0.38


def test_shares_are_of_the_gain_over_random_items_where_they_agree_more():
    assert lists_for_gain(attack(0.02), CURVE, 50) == lists_for_gain(attack(), CURVE, 1000)


@pytest.mark.parametrize(("untrained", "improved", "n_items"), [(0.4, True, 1000), (0.1, True, 20), (0.1, False, 1000)])
def test_an_attack_without_gain_has_no_number_of_lists(untrained, improved, n_items):
    assert set(lists_for_gain(attack(untrained, improved), CURVE, n_items).values()) == {None}
