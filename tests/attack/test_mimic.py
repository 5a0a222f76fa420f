import pytest
import torch
from attack.cases import QueryStrategyCases, RuleService

from recbole_gro import BlackBox, create_attacker, create_query_strategy
from recbole_gro.attack.query_log import QueryLog


class TestMimic(QueryStrategyCases):
    name = "mimic"

    def test_no_item_is_queried_twice_in_a_sequence(self):
        log = self.query(n_sequences=60, length=12)
        assert all(len(set(row)) == 12 for row in log.sequences.tolist())

    def test_listed_items_have_the_guessed_share_and_ranks(self):
        n = 20_000
        settings = {"mimic_listed_share": 0.7, "mimic_rank_decay": 1.0}
        strategy = create_query_strategy("mimic", settings)
        log = strategy.query(BlackBox(RuleService(n_items=201)), n, 2, torch.Generator().manual_seed(1))
        at = log.lists[:, 0] == log.sequences[:, 1:]
        assert float(at.any(1).float().mean()) == pytest.approx(0.7, abs=0.02)
        share = at.float().sum(0) / at.sum()
        weights = 1 / torch.arange(1, 11)
        assert torch.allclose(share, weights / weights.sum(), atol=0.02)


def next_items(served, sequences, n_items=31, **settings):
    strategy = create_query_strategy("mimic", settings)
    return strategy.next_items(served, sequences, n_items, torch.Generator().manual_seed(1))


def test_the_only_item_outside_of_the_list_is_found():
    # 16 draws by popularity among 1000 items seldom have it
    served, sequences = torch.arange(1, 999).expand(50, -1), torch.full((50, 1), 5)
    assert next_items(served, sequences, 1000, mimic_listed_share=0.0).tolist() == [999] * 50
    assert 5 not in next_items(served, sequences, 999, mimic_listed_share=0.0)  # no item is outside


@pytest.mark.parametrize("share", [0.0, 0.7, 1.0])
@pytest.mark.parametrize("decay", [0.5, 20.0, 400.0])
def test_the_only_new_item_of_the_list_is_found(share, decay):
    sequences, served = torch.arange(1, 30).expand(50, -1), torch.arange(1, 31).expand(50, -1)
    settings = {"mimic_listed_share": share, "mimic_rank_decay": decay}
    assert next_items(served, sequences, **settings).tolist() == [30] * 50


def test_items_of_the_list_repeat_where_no_item_is_left():
    everything = torch.arange(1, 31).expand(50, -1)
    assert set(next_items(everything[:, :4], everything).tolist()) <= {1, 2, 3, 4}


class PopularService(RuleService):
    """Serve the same ten items, whatever the sequence."""

    def recommend(self, sequences):
        return torch.arange(1, 11).expand(len(sequences), -1)


def test_popularity_is_guessed_from_the_lists():
    strategy = create_query_strategy("mimic")
    log = strategy.query(BlackBox(PopularService(n_items=201)), 400, 3, torch.Generator().manual_seed(1))
    first = log.sequences[20:, 0]  # after the probes
    assert float((first <= 10).float().mean()) == pytest.approx(0.5, abs=0.08)
    probes = log.sequences[:20, 0]
    assert float((probes <= 10).float().mean()) < 0.4


class ShortService(PopularService):
    """Serve ten items in lists of 40."""

    def recommend(self, sequences):
        return torch.nn.functional.pad(super().recommend(sequences), (0, 30))


def test_padding_of_short_lists_is_no_item():
    logs = [
        create_query_strategy("mimic").query(BlackBox(service), 400, 3, torch.Generator().manual_seed(1))
        for service in (PopularService(n_items=201), ShortService(n_items=201, k=40))
    ]
    share, short = (float((log.sequences[20:, 0] <= 10).float().mean()) for log in logs)
    assert short == pytest.approx(share, abs=0.05)


def known_histories(n):
    """Return n histories of 6 items whose next item is always the second of the list."""
    first = torch.arange(n) % 200 + 1
    return torch.stack([(first + 2 * step - 1) % 200 + 1 for step in range(6)], 1)


def test_histories_of_users_replace_the_guesses():
    strategy, box = create_query_strategy("mimic"), BlackBox(RuleService(n_items=201))
    generator = torch.Generator().manual_seed(1)
    strategy.extend(box, known_histories(400), generator)
    log = strategy.query(box, 400, 4, generator)
    at = log.lists[:, :-1] == log.sequences[:, 1:, None]
    assert float(at.any(2).float().mean()) > 0.98
    assert float(at[:, :, 1].float().mean()) > 0.9


def test_few_shot_hands_it_its_histories(make_config):
    config = make_config("NARM", query_sequences=440, query_length=6, served_k=10, attacker_known_share=0.01)
    attacker = create_attacker("few_shot+mimic", config)
    box = BlackBox(RuleService(n_items=201))
    log = attacker.query(box, torch.Generator().manual_seed(2), known_histories(400))
    assert isinstance(log, QueryLog)
    at = log.lists[400:, :-1] == log.sequences[400:, 1:, None]
    assert float(at[:, :, 1].float().mean()) > 0.9


def test_the_extension_of_queried_sequences_learns_from_what_is_queried_alone():
    strategy, box = create_query_strategy("mimic"), BlackBox(RuleService())
    prefixes = torch.tensor([[1, 2, 5, 0, 0]])
    log = strategy.extend(box, prefixes, torch.Generator().manual_seed(1), queried=2)
    assert log.sequences[0, :3].tolist() == [1, 2, 5]
    assert len(strategy._at_rank) == 0  # the given item at position 2 was queried, none after it is given


def test_another_service_is_attacked_without_what_one_before_listed():
    def log(strategy):
        return strategy.query(BlackBox(PopularService(n_items=201)), 200, 6, torch.Generator().manual_seed(1))

    strategy = create_query_strategy("mimic")
    first, second = log(strategy), log(strategy)
    assert torch.equal(first.sequences, second.sequences)
