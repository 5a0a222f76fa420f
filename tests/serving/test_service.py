"""The service: lists of items best first, scored at once or in parts, and refusals before anything is scored."""

from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
from recbole.data.interaction import Interaction
from recbole.model.sequential_recommender import STAMP
from scoring.cases import record_reads

from recbole_gro import Service, UserError
from recbole_gro.serving import service as service_module
from recbole_gro.utils import ranking
from recbole_gro.utils.ranking import top_k

MODELS = ("BERT4Rec", "NARM")


@pytest.fixture(params=MODELS)
def model(request, make_model):
    return make_model(request.param)


def queries(n=11, width=8, n_items=31):
    generator = torch.Generator().manual_seed(0)
    lengths = torch.randint(1, width + 1, (n, 1), generator=generator)
    return torch.randint(1, n_items, (n, width), generator=generator) * (torch.arange(width) < lengths)


@pytest.mark.parametrize("k", [1, 5, 30])
def test_lists_hold_k_different_items_and_never_padding(model, k):
    model.item_embedding.weight.data[0] = 50.0  # padding would score high
    lists = Service(model, k).recommend(queries())
    assert lists.shape == (11, k)
    assert lists.min() >= 1
    assert lists.max() <= 30
    assert all(len(set(row)) == k for row in lists.tolist())


def test_lists_are_the_models_ranking(make_model):
    model = make_model("NARM")
    sequences = queries()
    lists = Service(model, 5).recommend(sequences)
    lengths = (sequences > 0).sum(1)
    scores = model.full_sort_predict(Interaction({"item_id_list": sequences, "item_length": lengths}))
    assert torch.equal(lists, top_k(scores, 5))


@pytest.mark.parametrize("at_once", [1, 31 * 4, 31 * 11])
def test_lists_do_not_depend_on_the_size_of_the_parts(model, monkeypatch, at_once):
    whole = Service(model, 5).recommend(queries())
    sizes = []
    scored = service_module.top_k
    monkeypatch.setattr(ranking, "SCORES_AT_ONCE", at_once)
    monkeypatch.setattr(service_module, "top_k", lambda scores, k: sizes.append(len(scores)) or scored(scores, k))
    assert torch.equal(Service(model, 5).recommend(queries()), whole)
    assert max(sizes) == max(1, at_once // 31)
    assert sum(sizes) == 11


def test_id_lists_and_tensors_have_the_same_lists(model):
    service = Service(model, 5)
    assert torch.equal(service.recommend([[3, 1, 2], [5]]), service.recommend(torch.tensor([[3, 1, 2], [5, 0, 0]])))


def test_lists_are_those_of_the_output_step(model):
    plain = Service(model, 5).recommend(queries())
    assert torch.equal(Service(model, 5, lambda ranked, _: ranked.flip(1)).recommend(queries()), plain.flip(1))


@pytest.mark.parametrize("dtype", [torch.int32, torch.int16, torch.uint8])
def test_lists_are_int64_whatever_integers_a_defense_returns(model, dtype):
    lists = Service(model, 5, lambda ranked, _: ranked.flip(1).to(dtype)).recommend(queries())
    assert lists.dtype == torch.long
    assert torch.equal(lists, Service(model, 5).recommend(queries()).flip(1))


@pytest.mark.parametrize("at_once", [31 * 4, 31 * 99])
def test_an_output_step_gets_the_sequences_that_are_read(model, monkeypatch, at_once):
    monkeypatch.setattr(ranking, "SCORES_AT_ONCE", at_once)
    parts, sequences = [], queries(width=12)
    plain = Service(model, 5)

    def watched(ranked, part):
        parts.append(part)
        assert torch.equal(top_k(part.scores, 5), ranked)
        return ranked

    assert torch.equal(Service(model, 5, watched).recommend(sequences), plain.recommend(sequences))
    assert [len(part.scores) for part in parts] == ([4, 4, 3] if at_once == 31 * 4 else [11])
    reads = plain.scorer.longest
    rows = [row for part in parts for row in zip(part.sequences, part.lengths, strict=True)]
    for row, (read, length) in zip(sequences, rows, strict=True):
        assert read[:length].tolist() == row[row > 0].tolist()[-reads:]
        assert not read[length:].any()


def test_the_model_runs_without_dropout_and_gradients(make_model):
    model = make_model("NARM", dropout_probs=[0.5, 0.5]).train()
    service = Service(model, 5)
    scored = service.scorer.next_item_scores
    needed_gradients = []

    def watched(*sequences):
        scores = scored(*sequences)
        needed_gradients.append(scores.requires_grad)
        return scores

    service.scorer.next_item_scores = watched
    assert torch.equal(service.recommend(queries()), service.recommend(queries()))
    assert needed_gradients == [False, False]


def test_the_model_can_be_trained_after_serving(make_loaders, make_model):
    model, (_, train, _, _) = make_model("BERT4Rec"), make_loaders("BERT4Rec")
    weights = {name: value.clone() for name, value in model.state_dict().items()}
    service = Service(model, 5)
    service.recommend(queries())
    assert all(torch.equal(value, weights[name]) for name, value in model.state_dict().items())
    model.train()
    model.calculate_loss(next(iter(train))).backward()
    assert model.item_embedding.weight.grad.any()


@pytest.mark.parametrize(
    "sequences",
    [
        [[1, 31]],
        [[1, 10**9]],
        [[-1, 2]],
        [[]],
        [[1], []],
        [[0, 1]],
        [],
        torch.tensor([[1, 2], [0, 0]]),
        torch.tensor([[0, 1], [1, 2]]),
        torch.tensor([1, 2, 3]),
        torch.tensor([[1.0, 2.0]]),
        torch.tensor([[True, True]]),
        torch.tensor([[[1]]]),
        torch.tensor(3),
        [[1.5]],
        [[float("nan")]],
        [["1"]],
        [[None]],
        [[[1], [2]]],
        [[2**70]],
        [1, 2],
        "12",
        None,
        3,
    ],
    ids=str,
)
def test_an_invalid_query_is_a_value_error(model, sequences):
    with pytest.raises(
        ValueError, match=r"item ids lie between 1 and 30|empty sequence|padded on the right|must be integer ids"
    ):
        Service(model, 5).recommend(sequences)


@pytest.mark.parametrize("items", [slice(None), 17])
@pytest.mark.parametrize("k", [1, 5])
def test_nan_scores_are_an_error(make_model, items, k):
    model = make_model("NARM")
    score = model.full_sort_predict

    def broken(interaction):
        scores = score(interaction)
        scores[-1, items] = torch.nan
        return scores

    model.full_sort_predict = broken
    with pytest.raises(UserError, match="model: the scores of NARM are NaN, so there is no list to serve") as caught:
        Service(model, k).recommend(queries())
    assert "\n" not in str(caught.value)


def test_a_model_that_reads_more_than_a_sequence_is_named(make_model):
    class NeedsAge(STAMP):
        def full_sort_predict(self, interaction):
            return super().full_sort_predict(interaction) + interaction["age"].unsqueeze(1)

    model = make_model("STAMP")
    model.__class__ = NeedsAge
    with pytest.raises(UserError, match="model: NeedsAge reads 'age' too; a query is an item sequence and no more"):
        Service(model, 5).recommend([[1, 2]])


@pytest.mark.parametrize("k", [31, 100, 0, -1, True])
def test_lists_longer_than_the_catalogue_are_refused(model, k):
    with pytest.raises(UserError, match=f"^k: {k!r} is no number of items between 1 and the 30 of the catalogue"):
        Service(model, k)


def test_a_service_has_the_catalogue_and_device_of_its_model(model):
    service = Service(model, 5)
    assert service.n_items == 31
    assert service.k == 5
    assert service.device == torch.device("cpu")


def test_state_is_kept_for_queries_of_few_sequences_only(make_model, monkeypatch):
    service = Service(make_model("GRU4Rec"), 5)
    reads = record_reads(service.scorer.gru, monkeypatch)
    histories = torch.randint(1, service.n_items, (6, 5), generator=torch.Generator().manual_seed(1))
    kept = [service.recommend(histories[:, :t]) for t in (3, 4, 5)]
    assert reads == [(6, 3), (6, 1), (6, 1)]
    monkeypatch.setattr(service_module, "ROWS_KEPT", 5)
    recomputed = [service.recommend(histories[:, :t]) for t in (3, 4, 5)]
    assert reads[3:] == [(6, 3), (6, 4), (6, 5)]
    assert all(torch.equal(one, other) for one, other in zip(kept, recomputed, strict=True))


@pytest.mark.parametrize(
    ("output", "message"),
    [
        (lambda ranked: ranked[:, :3], r"defense: its lists are int64 \[2, 3\]; int64 \[2, 5\] item ids are expected"),
        (lambda ranked: ranked.float(), r"defense: its lists are float32 \[2, 5\]; int64"),
        (lambda ranked: None, "defense: its lists are NoneType; int64"),
        (lambda ranked: ranked > 9, r"defense: its lists are bool \[2, 5\]; int64"),
        (lambda ranked: ranked + 1000, r"defense: its lists have ids from 10\d\d to 10\d\d; items are 1 to 30"),
        (lambda ranked: ranked + 31 - ranked.max(), r"defense: its lists have ids from \d+ to 31; items are 1 to 30"),
        (lambda ranked: ranked[:, :1].expand(2, 5), "defense: its lists have an item twice; the items of a list"),
        (lambda ranked: ranked.fill_(3), "defense: its lists have an item twice"),
        (lambda ranked: ranked * torch.tensor([1, 1, 0, 0, 1]), "defense: its lists have 0 before an item; 0 pads"),
    ],
)
def test_what_a_defense_returns_has_to_be_lists_of_items(model, output, message):
    with pytest.raises(UserError, match=message):
        Service(model, 5, lambda ranked, query: output(ranked)).recommend([[1, 2], [3]])


@pytest.mark.parametrize("name", ["sequences", "lengths", "scores"])
def test_an_output_step_that_changes_the_query_is_refused(model, name):
    def output(ranked, query):
        getattr(query, name).zero_()
        return ranked

    with pytest.raises(UserError, match=f"^defense: it changed {name} in place, which it may only read"):
        Service(model, 5, output).recommend([[1, 2], [3]])


@pytest.mark.parametrize("name", ["GRU4Rec", "NARM", "SASRec"])
def test_threads_with_services_of_their_own_on_one_model_get_the_lists_of_one(make_model, name):
    model, rows = make_model(name), torch.randint(1, 31, (16, 8), generator=torch.Generator().manual_seed(2))

    def extended(number):
        service, half = Service(model, 5), rows[8 * number : 8 * number + 8 - number]
        return [service.recommend(half[:, :length]) for _ in range(20) for length in range(1, 9)]

    alone = [extended(number) for number in (0, 1)]
    with ThreadPoolExecutor(2) as pool:
        together = list(pool.map(extended, (0, 1)))
    for one, other in zip(alone, together, strict=True):
        assert all(map(torch.equal, one, other))
