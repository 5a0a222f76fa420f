import pytest
import torch
from attack.cases import PaddedService, QueryStrategyCases, RuleService

from recbole_gro import BlackBox, UserError, create_query_strategy, register_query_strategy


class TestAutoregressive(QueryStrategyCases):
    name = "autoregressive"

    def test_next_item_is_in_the_list_before_it(self):
        log = self.query(n_sequences=50, length=8)
        followed = (log.lists[:, :-1] == log.sequences[:, 1:, None]).any(2)
        assert followed.all()

    def test_next_item_is_uniform_over_the_list(self):
        n = 4000
        log = self.query(n_sequences=n, length=2)
        place = (log.lists[:, 0] == log.sequences[:, 1:2]).int().argmax(1)
        share = torch.bincount(place, minlength=10) / n
        assert torch.allclose(share, torch.full((10,), 0.1), atol=5 * (0.1 * 0.9 / n) ** 0.5)

    def test_next_item_is_uniform_over_the_items_of_a_padded_list(self):
        log = self.query(n_sequences=30_000, length=2, service=PaddedService())
        place = (log.lists[:, 0] == log.sequences[:, 1:2]).int().argmax(1)
        left = (log.lists[:, 0] != 0).sum(1)
        for n in range(1, 11):
            share = torch.bincount(place[left == n], minlength=10) / (left == n).sum()
            assert torch.allclose(share[:n], torch.full((n,), 1 / n), atol=0.06)


class TestRandom(QueryStrategyCases):
    name = "random"

    def test_items_are_uniform_over_the_catalogue(self):
        n = 6000
        log = self.query(n_sequences=n // 3, length=3)
        share = torch.bincount(log.sequences.flatten(), minlength=31)[1:] / n
        assert torch.allclose(share, torch.full((30,), 1 / 30), atol=5 * (29 / 900 / n) ** 0.5)

    def test_sequences_do_not_depend_on_the_lists(self):
        generators = [torch.Generator().manual_seed(1) for _ in range(2)]
        boxes = BlackBox(RuleService(k=3)), BlackBox(RuleService(k=20))
        logs = [
            create_query_strategy("random")(box, 5, 6, generator, False)
            for box, generator in zip(boxes, generators, strict=True)
        ]
        assert torch.equal(logs[0].sequences, logs[1].sequences)


def test_the_error_for_an_unknown_strategy_names_the_registered_ones():
    with pytest.raises(UserError, match=r"unknown query strategy 'randon'.*'random'.*autoregressive, random"):
        create_query_strategy("randon")


def test_a_name_is_registered_once():
    with pytest.raises(ValueError, match="'random' is registered already"):
        register_query_strategy("random")(print)
