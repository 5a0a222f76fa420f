import torch
from attack.cases import QueryStrategyCases, RuleService

from recbole_gro.attack.crawl import beginnings


class TwoRings(RuleService):
    """Lists of even items have the next even ones alone, those of odd items the next odd ones."""

    def recommend(self, sequences):
        last = torch.as_tensor(sequences)[:, -1:]
        return (last - 1 + 2 * (1 + torch.arange(self.k))) % (self.n_items - 1) + 1


class TestCrawl(QueryStrategyCases):
    name = "crawl"

    def test_it_begins_with_items_of_lists_before_each_once_until_there_is_no_other(self):
        log = self.query(n_sequences=30, length=1)
        first = log.sequences[:, 0]
        assert len(first.unique()) == 30
        for place in range(1, 30):
            assert first[place] in log.lists[:place]

    def test_it_begins_with_the_most_often_listed_first(self):
        listed = torch.tensor([0.0, 3.0, 1.0, 5.0, 9.0])
        begun = torch.tensor([True, False, False, False, True])
        draw = torch.Generator().manual_seed(1)
        assert beginnings(listed, begun, 9, draw).tolist() == [3, 1, 2]
        assert beginnings(listed, begun, 2, draw).tolist() == [3, 1]

    def test_what_no_list_has_begins_sequences_last(self):
        log = self.query(n_sequences=33, length=1, service=TwoRings())
        first = log.sequences[:, 0]
        assert len((first[:15] % 2).unique()) == 1
        assert len(first[:30].unique()) == 30
        assert len(first) == 33  # then any item again

    def test_a_service_without_lists_gets_every_item_once(self):
        empty = RuleService()
        empty.recommend = lambda sequences: torch.zeros(len(sequences), empty.k, dtype=torch.long)
        log = self.query(n_sequences=30, length=1, service=empty)
        assert len(log.sequences.unique()) == 30
        assert self.box.queries_answered == 2

    def test_sequences_go_on_along_the_lists(self):
        log = self.query(n_sequences=20, length=4)
        assert (log.lists[:, :-1] == log.sequences[:, 1:, None]).any(2).all()
