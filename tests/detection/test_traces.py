import pytest
import torch

from recbole_gro import Service
from recbole_gro.detection import traces as module
from recbole_gro.detection.traces import Tracer, joined_traces

HISTORIES = torch.tensor([[3, 1, 4, 1, 5], [9, 2, 6, 0, 0], [7, 0, 0, 0, 0], [8, 3, 2, 0, 0]])


@pytest.mark.parametrize("model", ["BERT4Rec", "SASRec", "GRU4Rec"])
def test_ranks_are_those_of_the_service(make_model, model):
    built = make_model(model)
    traces, service = Tracer(built, 5).trace(HISTORIES), Service(built, 30)
    assert traces.ranks[:, 0].tolist() == [0, 0, 0, 0]
    for row, length in enumerate(traces.lengths.tolist()):
        for place in range(1, length):
            ranked = service.recommend(HISTORIES[row : row + 1, :place])[0].tolist()
            assert traces.ranks[row, place] == ranked.index(HISTORIES[row, place]) + 1
    assert torch.equal(traces.ranks != 0, (HISTORIES != 0) & (torch.arange(5) > 0))


def test_a_history_has_the_same_trace_in_any_chunk(make_model, monkeypatch):
    tracer = Tracer(make_model(), 5)
    together = tracer.trace(HISTORIES)
    monkeypatch.setattr(module, "SCORES_AT_ONCE", 1)
    alone = tracer.trace(HISTORIES)
    assert torch.equal(together.ranks, alone.ranks)
    assert torch.allclose(together.embeddings, alone.embeddings, atol=1e-5)


def test_equal_scores_have_equal_embeddings_and_the_same_for_every_tracer(make_model):
    model = make_model("GRU4Rec")
    one, other = (Tracer(model, 5).trace(HISTORIES).embeddings for _ in range(2))
    assert torch.equal(one, other)
    assert not torch.allclose(one[0, 0], one[1, 0])


def test_the_most_recent_items_of_a_long_history_count(make_model):
    tracer = Tracer(make_model(), 5)
    long = torch.arange(1, 21).unsqueeze(0)
    recent = tracer.trace(long[:, -tracer.longest :])
    assert torch.equal(tracer.trace(long).ranks, recent.ranks)


def test_whole_histories_keep_their_last_query_alone(make_model):
    traces = Tracer(make_model(), 5).trace(HISTORIES)
    rows, lengths = torch.tensor([1, 0]), torch.tensor([2, 5])
    cut = traces.whole(rows, lengths)
    assert cut.items.tolist() == [[9, 2, 0, 0, 0], [3, 1, 4, 1, 5]]
    assert torch.equal(cut.embeddings[:, 0], torch.stack([traces.embeddings[1, 1], traces.embeddings[0, 4]]))
    assert len(joined_traces([cut, cut])) == 4
