import pytest
import torch
from defense.cases import synthetic

from recbole_gro import Defense, create_defense, register_defense
from recbole_gro.defense.base import defenses


def test_a_defense_without_methods_protects_neither_training_nor_output():
    defense, (ranked, query) = Defense({}), synthetic()
    target = object()
    assert defense.protect(target, None, None) is target
    assert torch.equal(defense.answer(ranked, query), ranked)
    assert defense.parts == (defense,)
    assert (defense.state_dict(), defense.effective, defense.shortens) == ({}, {}, False)


def test_shown_alone_makes_a_defense_on_the_output(monkeypatch):
    monkeypatch.setattr(defenses, "_entries", dict(defenses._entries))

    @register_defense("first_last")
    class FirstLast(Defense):
        def shown(self, ranked):
            return ranked.roll(-1, 1)

    ranked, query = synthetic()
    assert torch.equal(create_defense("first_last", {}).answer(ranked, query), ranked[:, [*range(1, 10), 0]])
    with pytest.raises(ValueError, match="defense 'first_last' is registered already"):
        register_defense("first_last")(FirstLast)
