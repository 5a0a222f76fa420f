"""Registries of named parts."""

import pytest

from recbole_gro import (
    create_attacker,
    create_defense,
    create_query_strategy,
    register_attacker,
    register_defense,
    register_query_strategy,
)
from recbole_gro.utils.errors import UserError
from recbole_gro.utils.registry import Registry


def shapes():
    registry = Registry("shape")
    for name in ("square", "circle"):
        registry.register(name)(name.upper())
    return registry


def test_a_registered_entry_is_found_under_its_name():
    registry = shapes()
    assert registry["circle"] == "CIRCLE"
    assert list(registry) == ["square", "circle"]
    assert "square" in registry
    assert "triangle" not in registry
    assert None not in registry


def test_register_gives_the_decorated_thing_back():
    registry = Registry("shape")

    @registry.register("dot")
    def dot():
        return 1

    assert dot() == 1
    assert registry["dot"] is dot


def test_a_name_taken_twice_is_an_error_and_changes_nothing():
    registry = shapes()
    with pytest.raises(ValueError, match="shape 'circle' is registered already, as 'CIRCLE'"):
        registry.register("circle")("other")
    assert registry["circle"] == "CIRCLE"


def test_an_unknown_name_lists_the_known_ones_and_the_nearest():
    with pytest.raises(UserError, match=r"^unknown shape 'cirle'\. Did you mean 'circle'\? Known: circle, square\.$"):
        shapes()["cirle"]


def test_an_unknown_name_like_no_other_gets_no_guess_but_the_way_to_register_it():
    with pytest.raises(UserError, match=r"^unknown shape 'xyz'\. Known: circle, square\. The module .* by plugins\.$"):
        shapes()["xyz"]


def test_registries_share_nothing():
    assert "circle" not in Registry("other shape")


DEFENSES = "aow, gro, gro_decoys, injected, none, random, reverse, tail_decoy, tail_random, tail_shuffle, truncate"


@pytest.mark.parametrize(
    ("create", "kind", "known"),
    [
        (lambda name: create_defense(name, {"seed": 0}), "defense", DEFENSES),
        (create_query_strategy, "query strategy", "autoregressive, coverage, crawl, mimic, mixed, random"),
        (
            lambda name: create_attacker(name, {}),
            "attacker",
            "few_shot, filtered, head, oracle, repeat, rounds, standard",
        ),
    ],
)
def test_every_extension_point_names_what_it_has(create, kind, known):
    name = "standard" if kind == "attacker" else "random"
    with pytest.raises(UserError, match=rf"^unknown {kind} '{name}x'\. Did you mean '{name}'\? Known: {known}\.$"):
        create(f"{name}x")


@pytest.mark.parametrize(
    ("register", "name"),
    [(register_defense, "random"), (register_query_strategy, "random"), (register_attacker, "standard")],
)
def test_built_in_names_cannot_be_taken(register, name):
    with pytest.raises(ValueError, match=f"'{name}' is registered already"):
        register(name)(object)
