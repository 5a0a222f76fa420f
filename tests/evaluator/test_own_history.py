import torch

from recbole_gro.evaluator import OwnHistoryService


def test_lists_are_the_items_of_the_query_latest_first(make_model):
    service = OwnHistoryService(make_model("NARM"), 4)
    queries = torch.tensor([[1, 2, 3, 4, 5], [7, 8, 7, 0, 0], [9, 0, 0, 0, 0], [6, 6, 6, 6, 2]])
    expected = [[5, 4, 3, 2], [7, 8, 0, 0], [9, 0, 0, 0], [2, 6, 0, 0]]
    assert service.recommend(queries).tolist() == expected
    assert service.recommend([[7, 8, 7]]).tolist() == expected[1:2]
