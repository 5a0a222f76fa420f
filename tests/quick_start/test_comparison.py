"""The comparison of one defense."""

import shutil

import pytest
import torch
from pipeline import TINY_RUN

from recbole_gro import Defense, register_defense
from recbole_gro.defense.base import defenses
from recbole_gro.quick_start.comparison import Comparison, compare, metrics_in_words, set_gain
from recbole_gro.quick_start.stage_cache import StageCache


@pytest.fixture
def comparison(make_loaders, tmp_path):
    """Compare a defense on tiny data, with one cache for all calls of a test: `comparison("reverse", served_k=3)`."""

    def make(name, **settings):
        config, *loaders = make_loaders(**{**TINY_RUN, "defense": [name], **settings})
        compared = compare(config, name, loaders, StageCache(tmp_path / "stages"))
        return compared[0] if len(compared) == 1 else compared

    return make


def test_metrics_have_their_units():
    line = metrics_in_words({"valid": {}, "test": {"hit@10": 0.2091, "averagepopularity@10": 28.45}})
    assert line == "HR@10 20.91 %, averagepopularity@10 28.45 interactions"


def test_the_lists_are_those_of_the_service_and_of_the_surrogate(comparison):
    plain, reversed_ = comparison("none"), comparison("reverse")
    for split in ("valid", "test"):
        assert plain.served[split].shape == plain.surrogate_lists[split].shape
        assert plain.served[split].shape[1] == TINY_RUN["served_k"]
        assert plain.served[split].flip(1).equal(reversed_.served[split])
    assert set(plain.row["seconds"]) == {"target", "evaluation", "queries", "surrogate", "surrogate evaluation"}
    assert plain.row["surrogate_epochs"] == TINY_RUN["surrogate_epochs"]


def test_every_attack_meets_the_same_service(comparison):
    """The defense draws its orders one after the other: each attack gets the lists that it gets alone."""
    names = ["standard", "standard+random", "standard+autoregressive"]
    together = comparison("random", attacker=names)
    assert [one.row["attacker"] for one in together] == names
    for one in together:
        alone = comparison("random", attacker=one.row["attacker"])
        assert alone.row["surrogate"] == one.row["surrogate"]
    assert together[0].surrogate_lists["test"].equal(together[2].surrogate_lists["test"])
    assert together[0].row["held_out"] == together[2].row["held_out"] != together[1].row["held_out"]


def test_a_defense_whose_state_goes_on_changing_serves_every_attack_alike(comparison, monkeypatch, tmp_path):
    """As of a module of torch, whose state_dict holds its own tensors."""
    monkeypatch.setattr(defenses, "_entries", dict(defenses._entries))

    @register_defense("rotating")
    class Rotating(Defense):
        """Rotate each list by the number of those served before."""

        def __init__(self, config):
            super().__init__(config)
            self.served = torch.zeros(1, dtype=torch.long)

        def shown(self, ranked):
            by = (self.served + torch.arange(len(ranked))).unsqueeze(1)
            self.served += len(ranked)
            return ranked.gather(1, (torch.arange(ranked.shape[1]) + by) % ranked.shape[1])

        def state_dict(self):
            return {"served": self.served}

        def load_state_dict(self, state):
            self.served = state["served"]

    names = ["standard+random", "standard+mixed"]
    _, second = comparison("rotating", attacker=names, query_sequences=11)
    shutil.rmtree(tmp_path / "stages")
    alone = comparison("rotating", attacker=names[1], query_sequences=11)
    assert second.row["held_out"] == alone.row["held_out"]
    assert second.surrogate_lists["test"].equal(alone.surrogate_lists["test"])


def test_the_strongest_attack_agrees_best_with_the_held_out_queries_of_all(comparison):
    suite = ["standard+random", "standard+mixed", "rounds"]
    compared = comparison("none", attacker=["standard", "strongest"], attacker_suite=suite, surrogate_epochs=6)
    rows = [one.row for one in compared]
    assert [row["attacker"] for row in rows] == ["standard", *suite]
    [best] = [row for row in rows if row.get("strongest")]
    assert best["suite_agreement"] == max(row["suite_agreement"] for row in rows[1:])
    assert "strongest" not in rows[0]  # it is not of the suite


def test_without_an_attack_only_the_service_is_measured(comparison):
    compared = comparison("none", attack=False)
    assert compared.surrogate_lists == {}
    assert set(compared.row) == {"defense", "seconds", "target", "target_still_improving"}


def test_a_gain_is_noise_up_to_twice_its_standard_error():
    """NDCG@10 of row i is 1 where item i + 1 is the first of its list, and 0 where it is not listed."""
    items = torch.arange(1, 101)

    def lists(n):
        return torch.where(torch.arange(100) < n, items, 0).unsqueeze(1)

    compared = [Comparison({}, {}, {"test": lists(n)}) for n in (13, 14, 15, 90, 5)]
    set_gain(compared, {"test": lists(10)}, items, 10)
    # n more rows of 100 gain 1: twice the error is 2 sqrt(n (100 - n) / 99) / 100
    assert [one.row["gain"]["ndcg@10"] for one in compared] == [0.03, 0.04, 0.05, 0.8, -0.05]
    assert [one.row["gain"]["standard_error"] for one in compared[:3]] == [0.0171, 0.0197, 0.0219]
    assert [one.row["gained"] for one in compared] == [False, True, True, True, False]
    set_gain(compared[:1], {"test": lists(13)}, items, 10)
    assert compared[0].row == {"gain": {"ndcg@10": 0.0, "standard_error": 0.0}, "gained": False}
    of_one_user = torch.arange(100) // 5  # 10 to 14 gain 1
    set_gain(compared[2:3], {"test": lists(10)}, items, 10, of_one_user)
    assert compared[2].row == {"gain": {"ndcg@10": 0.05, "standard_error": 0.05}, "gained": False}
    set_gain(compared[3:4], {"test": lists(10)}, items, 10, torch.zeros(100, dtype=torch.long))
    assert compared[3].row == {"gain": {"ndcg@10": 0.8, "standard_error": None}, "gained": False}  # of one user


def test_effective_settings_are_those_of_the_defense(comparison):
    row = comparison("gro", attack=False, gro_lambda=0.5).row
    assert row["effective_settings"]["gro_lambda"] == 0.5
    assert row["effective_settings"]["gro_steps"] == TINY_RUN["gro_steps"]
