import pytest
import torch
from attack.cases import AttackerCases, PaddedService, RuleService

from recbole_gro import BlackBox, UserError
from recbole_gro.attack import attacks_of


class TestOracle(AttackerCases):
    name = "oracle"
    settings = {"query_length": 10, "query_sequences": 36}

    def auxiliary(self, attacker):
        """Return histories of 60 users: 20 each of 4, 7 and 12 items."""
        items = torch.randint(1, 31, (60, 12), generator=torch.Generator().manual_seed(6))
        return items * (torch.arange(12) < torch.tensor([4, 7, 12]).repeat(20)[:, None])

    def test_queries_stay_within_the_budget(self):
        log = self.query(self.attacker())
        # 20 histories of 7 items give 5 lists each, 20 of 12 give 10
        assert self.box.lists_returned == log.n_lists == 300
        for budget in (10, 11, 14):
            log = self.query(self.attacker(query_sequences=budget))
            assert self.box.lists_returned == log.n_lists == 10 * budget

    def test_log_and_training_log_have_the_same_sequences(self):
        attacker = self.attacker()
        log = self.query(attacker)
        assert attacker.training_log(log) is log
        assert log.sequences.shape == (40, 10)
        assert sorted(log.lengths.tolist()) == [5] * 20 + [10] * 20

    def test_sequences_are_the_most_recent_items_of_the_users(self):
        attacker = self.attacker()
        known = [[item for item in row if item] for row in self.auxiliary(attacker).tolist()]
        expected = [row[-(min(len(row), 10) // 5 * 5) :] for row in known if len(row) >= 5]
        queried = [[item for item in row if item] for row in self.query(attacker).sequences.tolist()]
        assert sorted(queried) == sorted(expected)
        assert queried != expected  # the users are drawn

    def test_lists_are_those_served_for_the_prefixes(self):
        log = self.query(self.attacker())
        for t in range(10):
            rows = log.lengths > t
            assert torch.equal(log.lists[rows, t].long(), RuleService().recommend(log.sequences[rows, : t + 1]))
            assert not log.lists[~rows, t].any()

    def test_lists_hold_different_items_and_padding_after_them(self):
        log = self.query(self.attacker(), PaddedService())
        for row in log.lists[log.sequences != 0].tolist():
            items = row[: sum(item != 0 for item in row)]
            assert all(items)
            assert len(set(items)) == len(items) > 0

    def test_sequences_shorter_than_five_are_queried_whole(self):
        log = self.query(self.attacker(query_length=3))
        assert set(log.lengths.tolist()) == {3}

    def test_runs_from_end_to_end(self, tiny_data_path):
        self.settings = {}
        super().test_runs_from_end_to_end(tiny_data_path)

    def test_too_few_histories_are_refused(self):
        attacker, items = self.attacker(), torch.ones(4, 10, dtype=torch.long)
        items[1:, 4:] = 0
        box = BlackBox(RuleService(), budget=360)
        with pytest.raises(UserError, match=r"attacker: oracle needs two users with 5 or more training items"):
            attacker.query(box, torch.Generator(), items)
        assert box.lists_returned == 0


def test_the_oracle_is_not_among_the_attacks_of_the_suite(make_config):
    assert "oracle" not in {name.partition("+")[0] for name in attacks_of(make_config(attacker="strongest"))}
