"""Agreement with held-out queries, and the choice of the queries that attacks are compared on."""

import pytest
import torch

from recbole_gro import BlackBox, QueryLog, Service, create_query_strategy
from recbole_gro.attack.selection import (
    agreement_by_sequence,
    likeness_to_users,
    list_agreement,
    suite_agreement,
)


def log_of(next_places):
    """Return a log of lists 1 .. 10 whose next items stand at these places of the list, from 1; 20 is outside."""
    sequences = torch.tensor([[15, *next_places]])
    return QueryLog(sequences, torch.arange(1, 11).expand(1, len(next_places) + 1, 10))


def served_by(service, sequences):
    """Return the log of a service's lists for all prefixes of sequences [S, L]."""
    lists = [service.recommend(sequences[:, : t + 1]) for t in range(sequences.shape[1])]
    return QueryLog(sequences, torch.stack(lists, 1))


@pytest.mark.parametrize(
    ("places", "expected"),
    [([1, 20], 0.5 * 0.5), ([2, 20, 4, 20], (1 / 2 + 1 / 4) / 4 / 2), ([20, 20], 0.0), ([1, 1], 0.01)],
)
def test_likeness_is_the_reciprocal_rank_times_the_share_outside_of_lists(places, expected):
    assert likeness_to_users(log_of(places)) == pytest.approx(expected)


def test_sequences_of_one_item_continue_as_no_users_do():
    assert likeness_to_users(log_of([])) == 0


def test_the_queries_of_a_suite_do_not_depend_on_its_order(make_model):
    """An attack of single items that leave no likeness, in a tensor that is as wide as the longest one."""
    model, long = make_model("GRU4Rec"), log_of([20, 20, 20])
    single = log_of([])
    single = QueryLog(
        torch.nn.functional.pad(single.sequences, (0, 3)), torch.nn.functional.pad(single.lists, (0, 0, 0, 3))
    )
    logs = {"single": (model, single), "long": (model, long)}
    for order in (logs, dict(reversed(logs.items()))):
        assert suite_agreement(order) == dict.fromkeys(logs, list_agreement(model, long))


def test_padding_of_ragged_logs_does_not_count():
    log = log_of([1, 20])
    padded = QueryLog(torch.nn.functional.pad(log.sequences, (0, 3)), torch.nn.functional.pad(log.lists, (0, 0, 0, 3)))
    assert likeness_to_users(padded) == likeness_to_users(log)


def test_agreement_with_the_model_that_served_is_1_and_with_another_less(make_model):
    model, other = make_model("GRU4Rec"), make_model("NARM")
    sequences = torch.randint(1, model.n_items, (4, 6), generator=torch.Generator().manual_seed(1))
    log = served_by(Service(model, 10), sequences)
    assert list_agreement(model, log) == 1
    assert 0 < list_agreement(other, log) < 1
    assert agreement_by_sequence(model, log, 3).tolist() == [1] * 4


def test_agreement_by_sequence_is_of_the_latest_prefixes(make_model):
    model = make_model("GRU4Rec")
    sequences = torch.randint(1, model.n_items, (2, 6), generator=torch.Generator().manual_seed(1))
    log = served_by(Service(model, 10), sequences)
    log.sequences[1, 4:] = 0
    log.lists[1, 4:] = 0
    log.lists[0, :3] = 1 + torch.arange(10)  # earlier lists do not count
    assert agreement_by_sequence(model, log, 2).tolist() == [1, 1]


def test_all_attacks_are_measured_on_the_same_queries(make_model):
    model, other = make_model("GRU4Rec"), make_model("NARM")
    box = BlackBox(Service(model, 10))
    logs = [
        create_query_strategy("mixed", {"query_random_share": 0.3, "query_rank_decay": decay}).query(
            box, 10, 6, torch.Generator().manual_seed(1)
        )
        for decay in (0.0, 3.0)
    ]
    agreement = suite_agreement({"one": (model, logs[0]), "other": (other, logs[1])})
    assert agreement == {"one": 1.0, "other": list_agreement(other, logs[1])}


def test_the_queries_that_all_are_measured_on_have_the_longest_sequences(make_model):
    model = make_model("GRU4Rec")
    long, short = log_of([20, 20, 20]), log_of([1, 20])
    assert likeness_to_users(short) > likeness_to_users(long)
    assert suite_agreement({"short": (model, short), "long": (model, long)})["short"] == list_agreement(model, long)


def test_shorter_lists_are_compared_at_their_own_length(make_model):
    model = make_model("GRU4Rec")
    sequences = torch.randint(1, model.n_items, (3, 4), generator=torch.Generator().manual_seed(1))
    log = served_by(Service(model, 10), sequences)
    log.lists[:, :, 4:] = 0
    assert list_agreement(model, log) == 1


def test_empty_lists_do_not_count(make_model):
    model = make_model("GRU4Rec")
    sequences = torch.randint(1, model.n_items, (3, 4), generator=torch.Generator().manual_seed(1))
    log = served_by(Service(model, 10), sequences)
    log.lists[:, 0] = 0
    log.lists[1, 2] = 0
    assert list_agreement(model, log) == 1
    assert list_agreement(model, QueryLog(log.sequences, torch.zeros_like(log.lists))) == 0
    log.lists[2, 1:] = 0
    assert agreement_by_sequence(model, log, 3).tolist() == [1, 1, 0]  # the third has nothing that is reproduced
