import contextlib
import math
from types import SimpleNamespace

import pytest
import torch
from attack.cases import AttackerCases, PaddedService, RuleService

from recbole_gro import BlackBox, QueryStrategy, UserError, create_attacker, register_query_strategy
from recbole_gro.attack import query_budget
from recbole_gro.attack.rounds import draw_by_frequency


class TestRounds(AttackerCases):
    name = "rounds"
    settings = {"attacker_rounds": 3, "attacker_reproduced": 0.9}

    def test_log_and_training_log_have_the_same_sequences(self):
        attacker = self.attacker()
        log = self.query(attacker)
        assert attacker.training_log(log) is log
        assert log.sequences.shape[1] == 6
        assert len(log.sequences) >= attacker.n_sequences
        assert set(log.lengths.tolist()) <= {2, 4, 6}

    def test_its_summary_says_where_rounds_do_not_fit(self):
        assert "queries in 3 rounds and extends" in self.attacker().summary
        assert "queries in 6 rounds (of 50; no more fit" in self.attacker(attacker_rounds=50).summary

    def test_lists_hold_different_items_and_padding_after_them(self):
        log = self.query(self.attacker(), PaddedService())
        for row in log.lists[log.sequences != 0].tolist():
            items = row[: sum(item != 0 for item in row)]
            assert all(items)
            assert len(set(items)) == len(items) > 0

    def test_lists_are_those_served_for_the_prefixes(self):
        log = self.query(self.attacker())
        for t in range(6):
            rows = log.lengths > t
            assert torch.equal(log.lists[rows, t].long(), RuleService().recommend(log.sequences[rows, : t + 1]))
            assert not log.lists[~rows, t].any()

    @pytest.mark.parametrize(("agreement", "length", "n_sequences"), [(0.95, 2, 180), (0.85, 6, 60)])
    def test_reproduced_sequences_are_not_extended(self, monkeypatch, agreement, length, n_sequences):
        monkeypatch.setattr(
            "recbole_gro.attack.rounds.agreement_by_sequence",
            lambda _, log, __: torch.full((len(log.lengths),), agreement),
        )
        log = self.query(self.attacker(surrogate_epochs=1))
        assert set(log.lengths.tolist()) == {length}
        assert len(log.sequences) == n_sequences

    @pytest.mark.parametrize("shares", [(7, 9), (8, 8), (6, 10)])
    def test_a_sequence_that_is_reproduced_as_often_as_the_setting_says_is_not_extended(self, monkeypatch, shares):
        agreement = torch.tensor([n / 10 for n in shares]).sum() / 2  # 0.8, but for rounding
        monkeypatch.setattr(
            "recbole_gro.attack.rounds.agreement_by_sequence", lambda _, log, __: agreement.repeat(len(log.lengths))
        )
        log = self.query(self.attacker(surrogate_epochs=1, attacker_reproduced=0.8))
        assert set(log.lengths.tolist()) == {2}

    def test_the_budget_is_spent_where_rounds_do_not_divide_it(self):
        attacker = self.attacker(surrogate_epochs=1, attacker_rounds=3, query_sequences=5, query_length=8)
        assert query_budget(attacker.config) // attacker.step % attacker.rounds
        log = self.query(attacker)
        assert log.n_lists == query_budget(attacker.config) // attacker.step * attacker.step

    def test_the_least_reproduced_are_extended_first(self, monkeypatch):
        attacker = self.attacker(attacker_reproduced=0.5)
        log = self.query(attacker)
        agreement = torch.linspace(0.9, 0.0, len(log.sequences))
        monkeypatch.setattr("recbole_gro.attack.rounds.agreement_by_sequence", lambda *_: agreement)
        monkeypatch.setattr(attacker, "_surrogate", lambda *_: None)
        chosen = attacker._to_extend(log, 5, 31, 1)
        open_ = [row for row in range(len(log.sequences)) if log.lengths[row] < 6 and agreement[row] < 0.5]
        assert chosen.tolist() == open_[::-1][:5]

    def test_every_strategy_draws_by_rank(self):
        for strategy in ("autoregressive", "coverage", "mixed"):
            ranks = []
            for decay in (0, 5):
                log = self.query(self.attacker(query_strategy=strategy, query_rank_decay=decay, surrogate_epochs=1))
                followed = (log.lists[:, :-1] == log.sequences[:, 1:, None])[log.sequences[:, 1:] != 0]
                ranks.append(float(followed[followed.any(1)].float().argmax(1).float().mean()))
            assert ranks[1] < ranks[0] / 2

    def test_surrogates_of_rounds_differ_between_neighbouring_seeds(self, monkeypatch):
        """Seeds 1, 2, 3 are replicates only where round 2 of seed 1 is not round 1 of seed 2."""
        begun, trained = [], []
        monkeypatch.setattr("recbole_gro.attack.rounds.init_seed", lambda seed, _: begun.append(seed))
        for seed in (1, 2, 3):
            attacker = self.attacker(seed=seed, surrogate_epochs=1)
            trainer = attacker.trainer

            def noted(config, *rest, trainer=trainer):
                trained.append(config["seed"])
                return trainer(config, *rest)

            attacker.trainer = noted
            self.query(attacker)
        assert len(set(begun)) == len(begun) == 6
        assert trained == begun  # of splits and negatives

    def test_rounds_are_shown_as_they_end(self, monkeypatch):
        ended = []

        @contextlib.contextmanager
        def shown(stage, total, unit, is_shown):
            yield SimpleNamespace(update=lambda: ended.append((total, unit, is_shown)))

        monkeypatch.setattr("recbole_gro.attack.rounds.progress_bar", shown)
        attacker = self.attacker(surrogate_epochs=1)
        box = BlackBox(RuleService(), budget=query_budget(attacker.config))
        attacker.query(box, torch.Generator().manual_seed(3), show_progress=True)
        assert ended == [(3, "rounds", True)] * 3

    def test_random_queries_are_extended_by_random_items(self):
        log = self.query(self.attacker(query_strategy="random"))
        followed = (log.lists[:, :-1] == log.sequences[:, 1:, None]).any(2)[log.sequences[:, 1:] != 0]
        assert followed.float().mean() < 0.6


def test_a_strategy_with_a_draw_of_its_own_is_refused(make_config):
    with pytest.raises(UserError, match=r"^attacker: rounds draws listed items in its own way, mimic in another"):
        create_attacker("rounds+mimic", make_config())


def test_a_strategy_with_an_order_of_its_own_is_refused(make_config, own_parts):
    @register_query_strategy("own_order")
    class OwnOrder(QueryStrategy):
        def query(self, *args, **kwargs):
            return super().query(*args, **kwargs)

    for name in ("crawl", "own_order"):
        with pytest.raises(UserError, match=rf"^attacker: rounds sends queries in its own order, {name} in another"):
            create_attacker(f"rounds+{name}", make_config())


def test_rarely_queried_and_highly_ranked_items_are_drawn_most():
    n, queried = 60_000, torch.tensor([0.0, 0.0, 100.0, 10.0, 0.0])
    served = torch.tensor([[2, 1, 3, 0]]).expand(n, -1)
    drawn = draw_by_frequency(served, queried, 0.5, torch.Generator().manual_seed(1))
    weights = {2: 1 / math.log(math.e + 100), 1: 2**-0.5, 3: 3**-0.5 / math.log(math.e + 10)}
    for item, weight in weights.items():
        assert float((drawn == item).float().mean()) == pytest.approx(weight / sum(weights.values()), abs=0.01)
