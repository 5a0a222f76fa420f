from concurrent.futures import ThreadPoolExecutor

import pytest
import torch

from recbole_gro import BlackBox, BudgetSpent, Service, UserError
from recbole_gro.scoring import create_scorer
from recbole_gro.utils.errors import InvalidQuery


class Recording(Service):
    """Record the queries that reach the service."""

    def __init__(self):
        self.n_items, self.k, self.queries = 31, 2, []

    def recommend(self, sequences):
        self.queries.append(sequences)
        return torch.tensor([[1, 2]] * len(sequences))


def test_queries_and_lists_are_counted():
    box = BlackBox(Recording())
    box.query([[1], [2, 3], [4]])
    box.query(torch.tensor([[5, 6]]))
    assert (box.queries_answered, box.lists_returned) == (2, 4)


def test_budget_can_be_spent_to_the_last_list():
    box = BlackBox(Recording(), budget=3)
    box.query([[1], [2]])
    box.query([[3]])
    assert box.lists_returned == 3


def test_a_query_over_the_budget_does_not_reach_the_service():
    service = Recording()
    box = BlackBox(service, budget=3)
    box.query([[1], [2]])
    with pytest.raises(BudgetSpent, match=r"2 more lists requested, 1 of 3 are left"):
        box.query([[3], [4]])
    assert len(service.queries) == 1
    assert (box.queries_answered, box.lists_returned) == (1, 2)
    box.query([[3]])


def test_threads_share_one_budget(make_model):
    box, returned = BlackBox(make_model("GRU4Rec"), k=5, budget=50), []
    alone = BlackBox(make_model("GRU4Rec"), k=5).query([[1, 2, 3], [1, 2, 4]])

    def query(_):
        for width in (1, 2, 1, 2, 1, 2):
            try:
                lists = box.query([[1, 2, 3], [1, 2, 4]][:width])
            except BudgetSpent:
                continue
            returned.append(len(lists))
            assert torch.equal(lists, alone[:width])

    with ThreadPoolExecutor(16) as threads:
        list(threads.map(query, range(16)))
    assert sum(returned) == box.lists_returned == 50
    assert len(returned) == box.queries_answered


def test_a_budget_of_zero_returns_no_list():
    with pytest.raises(BudgetSpent):
        BlackBox(Recording(), budget=0).query([[1]])


def test_budget_spent_is_a_user_error():
    assert issubclass(BudgetSpent, UserError)


@pytest.mark.parametrize("name", ["BERT4Rec", "NARM"])
def test_a_model_without_a_service_is_served_undefended(make_model, name):
    model = make_model(name)
    box = BlackBox(model, k=4)
    sequences = torch.tensor([[3, 1, 4], [1, 5, 0]])
    scores = create_scorer(model).next_item_scores(sequences, torch.tensor([3, 2]))
    scores[:, 0] = -torch.inf
    assert torch.equal(box.query(sequences), scores.argsort(descending=True)[:, :4])
    assert (box.k, box.n_items) == (4, model.n_items)


def test_model_runs_without_dropout(make_model):
    model = make_model().train()
    box = BlackBox(model, k=20)
    assert torch.equal(box.query([[1, 2, 3]]), box.query([[1, 2, 3]]))


def test_lists_pass_through_the_defense(make_model):
    model = make_model()
    flipped = BlackBox(Service(model, 6, lambda ranked, _: ranked.flip(1)))
    assert torch.equal(flipped.query([[1, 2]]), BlackBox(model, 6).query([[1, 2]]).flip(1))


@pytest.mark.parametrize("name", ["BERT4Rec", "NARM", "SASRec", "GRU4Rec"])
def test_lists_hold_every_item_but_never_padding_or_mask(make_model, name):
    model = make_model(name)
    n_items = model.n_items - 1
    lists = BlackBox(model, k=n_items).query([[1, 2, 3], [n_items]])
    assert lists.sort(1).values.tolist() == [list(range(1, n_items + 1))] * 2


def test_id_lists_and_padded_tensors_are_the_same_query(make_model):
    box = BlackBox(make_model(), k=5)
    assert torch.equal(box.query([[1, 2, 3], [4]]), box.query(torch.tensor([[1, 2, 3, 0], [4, 0, 0, 0]])))


def test_a_list_does_not_depend_on_the_other_sequences_of_the_query(make_model):
    box = BlackBox(make_model(), k=5)
    together = box.query([[1, 2, 3], [4], [7, 8, 9, 10, 11, 12, 13, 14, 15]])
    assert torch.equal(together[1:2], box.query([[4]]))


@pytest.mark.parametrize(
    ("sequences", "reason"),
    [
        ([[1, 2], []], "empty sequence"),
        (torch.tensor([[0, 1]]), "padded on the right"),
        ([[1, 0, 2]], "padded on the right"),
        ([[31]], "between 1 and 30"),
        ([[1, -2]], "between 1 and 30"),
        ([[1.0, 2.5]], "integer ids"),
        (torch.tensor([[1.0]]), "integer ids"),
        ([["1"]], "integer ids"),
        ([1, 2], "integer ids"),
        (None, "integer ids"),
        (7, "integer ids"),
        (torch.tensor(7), "integer ids"),
        (iter([[1, 2]]), "integer ids"),
    ],
)
def test_an_invalid_query_is_refused_and_not_counted(make_model, sequences, reason):
    box = BlackBox(make_model(), k=5)
    assert box.n_items == 31
    with pytest.raises(InvalidQuery, match=reason):
        box.query(sequences)
    assert box.lists_returned == 0


@pytest.mark.parametrize("budget", ["7", 7.5, -1, True])
def test_a_budget_that_is_no_number_of_lists_is_refused(budget):
    with pytest.raises(UserError, match=f"^budget: {budget!r} is no number of lists"):
        BlackBox(Recording(), budget=budget)


@pytest.mark.parametrize("k", [0, 31])
def test_list_longer_than_the_catalogue_is_refused(make_model, k):
    with pytest.raises(UserError, match=f"^k: {k} is no number of items between 1 and the 30 of"):
        BlackBox(make_model(), k=k)


@pytest.mark.parametrize("name", ["BERT4Rec", "NARM", "SASRec", "GRU4Rec"])
def test_the_most_recent_items_of_a_long_sequence_count(make_model, name):
    box = BlackBox(make_model(name), k=5)
    recent = [9, 8, 7, 6, 5, 4, 3, 2]
    longest = box._service.scorer.longest
    assert torch.equal(box.query([[11, 12, 13, *recent]]), box.query([recent[-longest:]]))
