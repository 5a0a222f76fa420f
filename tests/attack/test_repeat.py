from itertools import pairwise

import pytest
import torch
from attack.cases import AttackerCases, RuleService

from recbole_gro import BlackBox, UserError, create_defense
from recbole_gro.attack.repeat import AggregatedBlackBox, aggregated


class NoisyService(RuleService):
    """Serve RuleService's ranking with noise on the ranks, drawn per list."""

    def __init__(self):
        super().__init__()
        self.generator = torch.Generator().manual_seed(0)

    def recommend(self, sequences):
        ranked = RuleService(k=30).recommend(sequences)
        places = torch.arange(30) + 4 * torch.randn(ranked.shape, generator=self.generator)
        return ranked.gather(1, places.argsort(1)[:, : self.k])


class ShuffledService(RuleService):
    """Serve RuleService's lists through the defense `random`."""

    def __init__(self):
        super().__init__()
        self.defense = create_defense("random", {"seed": 4})

    def recommend(self, sequences):
        return self.defense.shown(super().recommend(sequences))


class TestRepeat(AttackerCases):
    name = "repeat"
    settings = {"attacker_repeats": 3, "surrogate_batch_size": 16}  # a third of the lists, more steps with them

    def test_a_third_of_the_sequences_costs_the_same(self):
        log = self.query(self.attacker())
        assert (len(log.sequences), self.box.lists_returned) == (20, 360)

    def test_too_many_repeats_for_the_budget_are_refused(self):
        with pytest.raises(UserError, match=r"attacker_repeats: 31 repeats leave 1 .*; set query_sequences to 62"):
            self.attacker(attacker_repeats=31)


def recovered(service, times):
    """Return the share of RuleService's items in lists of `times` responses, and the mean error of their ranks."""
    histories = torch.randint(1, 31, (300, 1), generator=torch.Generator().manual_seed(1))
    lists = AggregatedBlackBox(BlackBox(service), times).query(histories)
    place = (lists - histories - 1) % 30  # of an item in RuleService's ranking
    return float((place < 10).double().mean()), float((place - torch.arange(10)).abs().double().mean())


def test_more_repeats_recover_more_of_a_list_with_noise_per_response():
    found, off = zip(*(recovered(NoisyService(), times) for times in (1, 4, 16, 64)), strict=True)
    assert all(more > less + 0.01 for less, more in pairwise(found))
    assert all(more < less - 0.1 for less, more in pairwise(off))
    assert found[-1] > 0.95
    assert off[-1] < 0.7


def test_repeats_recover_the_items_of_uniform_shuffles_but_not_their_order():
    """The mean place of every item is then the middle of the list, whatever its rank."""
    (found, once), (_, often) = (recovered(ShuffledService(), times) for times in (1, 64))
    assert found == 1
    assert often == pytest.approx(once, rel=0.1)


def slowly_aggregated(responses):
    """Aggregate responses, each a list of ids: the definition, one item at a time."""
    k, items = len(responses[0]), {item for response in responses for item in response if item}

    def key(item):
        places = [response.index(item) for response in responses if item in response]
        earliest = next(r for r, response in enumerate(responses) if item in response)
        return -len(places), sum(places) / len(places), earliest, responses[earliest].index(item)

    return (sorted(items, key=key) + [0] * k)[:k]


@pytest.mark.parametrize("times", [1, 2, 5])
def test_aggregated_list_is_that_of_the_definition(times):
    generator = torch.Generator().manual_seed(times)
    responses = torch.rand(times, 200, 9, generator=generator).argsort(2) + 1  # of 9 items, 6 are shown
    shown = torch.randint(0, 7, (times, 200, 1), generator=generator)  # and of those some, or none
    responses = responses[:, :, :6] * (torch.arange(6) < shown)
    lists = aggregated(responses).tolist()
    for row, several in zip(lists, responses.transpose(0, 1).tolist(), strict=True):
        assert row == slowly_aggregated(several)


def test_items_of_most_responses_come_first():
    responses = torch.tensor([[[5, 1, 2]], [[6, 2, 1]], [[7, 2, 1]]])
    assert aggregated(responses).tolist() == [[2, 1, 5]]


def test_a_query_may_be_a_list_of_id_lists():
    assert torch.equal(
        AggregatedBlackBox(BlackBox(RuleService()), 2).query([[3], [4]]), RuleService().recommend([[3], [4]])
    )
