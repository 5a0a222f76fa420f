"""A service whose right answers are known, and what every query strategy must do with it."""

import pytest
import torch

from recbole_gro import BlackBox, BudgetSpent, Service, create_query_strategy


class RuleService(Service):
    """Serves the k items that follow the last item of a history, in a ring of items 1 .. n_items - 1."""

    def __init__(self, n_items=31, k=10):
        self.n_items, self.k = n_items, k

    def recommend(self, sequences):
        last = torch.as_tensor(sequences)[:, -1:]
        return (last + torch.arange(self.k)) % (self.n_items - 1) + 1


class PaddedService(RuleService):
    """As RuleService, with 0 in place of the last items: each list has between 1 and k of them left."""

    def recommend(self, sequences):
        lists = super().recommend(sequences)
        left = lists[:, :1] % self.k + 1
        return lists * (torch.arange(self.k) < left)


class QueryStrategyCases:
    """A new strategy gets its suite by one line: `class TestMine(QueryStrategyCases): name = "mine"`.

    Attributes:
        name: what it is registered as.
    """

    name: str

    def ask(self, n_sequences=20, length=6, seed=3, budget=None, service=None):
        self.box = BlackBox(service or RuleService(), budget=budget)
        generator = torch.Generator().manual_seed(seed)
        return create_query_strategy(self.name)(self.box, n_sequences, length, generator, False)

    def test_shapes(self):
        log = self.ask(n_sequences=5, length=4)
        assert log.sequences.shape == (5, 4)
        assert log.lists.shape == (5, 4, 10)
        assert log.n_lists == 20

    def test_every_prefix_is_counted(self):
        log = self.ask(n_sequences=20, length=6)
        assert self.box.lists_asked == log.n_lists == 120

    def test_lists_are_the_answers_to_the_prefixes(self):
        log = self.ask()
        for s, sequence in enumerate(log.sequences):
            for t in range(len(sequence)):
                assert torch.equal(self.box.query(sequence[None, : t + 1])[0], log.lists[s, t].long())

    def test_lists_of_a_model_are_the_answers_to_the_prefixes(self, make_model):
        service = Service(make_model("BERT4Rec"), 5)
        log = self.ask(n_sequences=3, length=12, service=service)
        for t in range(12):
            assert torch.equal(service.recommend(log.sequences[:, : t + 1]), log.lists[:, t].long())

    def test_sequences_hold_items_only(self):
        log = self.ask(n_sequences=100)
        assert int(log.sequences.min()) >= 1
        assert int(log.sequences.max()) <= 30

    def test_padding_of_lists_is_never_asked_about(self):
        log = self.ask(n_sequences=100, service=PaddedService())
        assert int(log.lists.min()) == 0
        assert int(log.sequences.min()) >= 1

    def test_first_item_may_be_any(self):
        log = self.ask(n_sequences=600, length=1)
        assert set(log.sequences[:, 0].tolist()) == set(range(1, 31))

    def test_same_seed_same_log(self):
        one, other = self.ask(seed=3), self.ask(seed=3)
        assert torch.equal(one.sequences, other.sequences)
        assert torch.equal(one.lists, other.lists)

    def test_other_seed_other_log(self):
        assert not torch.equal(self.ask(seed=3).sequences, self.ask(seed=4).sequences)

    def test_budget_holds(self):
        assert self.ask(n_sequences=5, length=4, budget=20).n_lists == 20
        with pytest.raises(BudgetSpent):
            self.ask(n_sequences=5, length=4, budget=19)
        assert self.box.lists_asked <= 19
