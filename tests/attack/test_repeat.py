from itertools import pairwise

import pytest
import torch
from attack.cases import AttackerCases, RuleService

from recbole_gro import BlackBox, UserError, create_defense
from recbole_gro.attack.repeat import Repeated, stable_list


class NoisyService(RuleService):
    """Ranks all items anew for every list, in RuleService's order but for noise on the places."""

    def __init__(self):
        super().__init__()
        self.generator = torch.Generator().manual_seed(0)

    def recommend(self, sequences):
        ranked = RuleService(k=30).recommend(sequences)
        places = torch.arange(30) + 4 * torch.randn(ranked.shape, generator=self.generator)
        return ranked.gather(1, places.argsort(1)[:, : self.k])


class ShuffledService(RuleService):
    """RuleService behind the defense `random`."""

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
    """Of lists made of `times` answers: share of RuleService's items, and how many places an item is off."""
    histories = torch.randint(1, 31, (300, 1), generator=torch.Generator().manual_seed(1))
    lists = Repeated(BlackBox(service), times).query(histories)
    place = (lists - histories - 1) % 30  # of an item in RuleService's ranking
    return float((place < 10).double().mean()), float((place - torch.arange(10)).abs().double().mean())


def test_more_repeats_recover_the_list_behind_fresh_noise_ever_better():
    found, off = zip(*(recovered(NoisyService(), times) for times in (1, 4, 16, 64)), strict=True)
    assert all(more > less + 0.01 for less, more in pairwise(found))
    assert all(more < less - 0.1 for less, more in pairwise(off))
    assert found[-1] > 0.95
    assert off[-1] < 0.7


def test_shuffles_that_are_all_equally_likely_tell_the_items_and_never_their_order():
    """The mean place of every item is then the middle of the list, whatever its rank."""
    (found, once), (_, often) = (recovered(ShuffledService(), times) for times in (1, 64))
    assert found == 1
    assert often == pytest.approx(once, rel=0.1)


def slow_stable_list(answers):
    """One list of some answers, each a list of ids: the definition, an item at a time."""
    k, items = len(answers[0]), {item for answer in answers for item in answer if item}

    def key(item):
        places = [answer.index(item) for answer in answers if item in answer]
        earliest = next(a for a, answer in enumerate(answers) if item in answer)
        return -len(places), sum(places) / len(places), earliest, answers[earliest].index(item)

    return (sorted(items, key=key) + [0] * k)[:k]


@pytest.mark.parametrize("times", [1, 2, 5])
def test_stable_list_is_that_of_the_definition(times):
    generator = torch.Generator().manual_seed(times)
    answers = torch.rand(times, 200, 9, generator=generator).argsort(2) + 1  # of 9 items, 6 are shown
    shown = torch.randint(0, 7, (times, 200, 1), generator=generator)  # and of those some, or none
    answers = answers[:, :, :6] * (torch.arange(6) < shown)
    lists = stable_list(answers).tolist()
    for row, several in zip(lists, answers.transpose(0, 1).tolist(), strict=True):
        assert row == slow_stable_list(several)


def test_items_that_most_answers_have_come_first():
    answers = torch.tensor([[[5, 1, 2]], [[6, 2, 1]], [[7, 2, 1]]])
    assert stable_list(answers).tolist() == [[2, 1, 5]]


def test_a_query_may_be_a_list_of_id_lists():
    assert torch.equal(Repeated(BlackBox(RuleService()), 2).query([[3], [4]]), RuleService().recommend([[3], [4]]))
