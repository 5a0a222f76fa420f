import pytest
from attack.cases import AttackerCases

from recbole_gro import UserError


class TestFewShot(AttackerCases):
    name = "few_shot"

    def test_first_sequences_begin_with_the_auxiliary_data(self):
        attacker = self.attacker()
        auxiliary, log = self.auxiliary(attacker), self.query(attacker)
        for sequence, history in zip(log.sequences.tolist(), auxiliary.tolist(), strict=False):
            recent = [item for item in history if item][-6:]
            assert sequence[: len(recent)] == recent

    def test_short_histories_are_extended_with_items_of_the_lists(self):
        log = self.query(self.attacker())
        followed = (log.lists[:, :-1] == log.sequences[:, 1:, None]).any(2)
        assert followed[0, 1:].all()  # two auxiliary items
        assert followed[1, 3:].all()  # four
        assert not followed[2:5].all()  # as many as a sequence has, or more

    def test_the_rest_of_the_budget_goes_to_the_query_strategy(self):
        log = self.query(self.attacker(query_strategy="random"))
        followed = (log.lists[5:, :-1] == log.sequences[5:, 1:, None]).any(2)
        assert 0.2 < followed.double().mean() < 0.5  # 10 of 30 items are listed

    def test_histories_beyond_the_budget_are_not_queried(self):
        attacker = self.attacker(query_sequences=3)
        log = self.query(attacker)
        assert log.sequences.shape == (3, 6)
        assert log.sequences[:, :2].tolist() == self.auxiliary(attacker)[:3, :2].tolist()

    def test_a_share_of_zero_is_refused(self):
        with pytest.raises(UserError, match="attacker_known_share: 0 gives few_shot no auxiliary data"):
            self.attacker(attacker_known_share=0.0)
