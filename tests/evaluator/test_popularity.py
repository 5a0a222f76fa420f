import pytest
import torch
from pipeline import untrained

from recbole_gro.data import build_dataset, build_loaders
from recbole_gro.evaluator import PopularityService, evaluate_service
from recbole_gro.utils.errors import InvalidQuery


def test_every_query_has_the_most_popular_items_first(make_model):
    model = make_model("NARM")
    service = PopularityService(model, 6, {4: 9, 30: 2, 7: 5, 2: 5})
    lists = service.recommend(torch.tensor([[1, 2], [3, 0]]))
    assert lists.tolist() == [[4, 2, 7, 30, 1, 3]] * 2


@pytest.mark.parametrize("model", ["NARM", "BERT4Rec"])
def test_metrics_are_those_of_a_list_by_hand(write_dataset, make_config, model):
    # x is in every training history, y in one; the last item of each history is tested, the one before validated
    histories = {f"u{n}": ["a", "x", "x", "b", "x"] for n in range(3)} | {"odd": ["a", "y", "x", "b", "y"]}
    settings = {"served_k": 2, "topk": [1, 2], "valid_metric": "NDCG@2"}
    config = make_config(model, data_path=str(write_dataset(histories)), **settings)
    loaders = build_loaders(config, build_dataset(config))
    counts = loaders[0]._dataset.interaction_counter
    service = PopularityService(untrained(config, loaders[0]), 1, counts)
    assert service.list.tolist() == [loaders[0]._dataset.token2id("item_id", "x")]
    service = PopularityService(untrained(config, loaders[0]), 2, counts)
    metrics, _ = evaluate_service(config, service, *loaders)
    assert metrics["test"]["hit@1"] == 0.75
    assert metrics["valid"]["hit@1"] == 0


@pytest.mark.parametrize("sequences", [[[99]], [[0, 1]], [[]]])
def test_an_invalid_query_is_refused_as_by_any_service(make_model, sequences):
    with pytest.raises(InvalidQuery):
        PopularityService(make_model("NARM"), 6, {4: 9}).recommend(sequences)
