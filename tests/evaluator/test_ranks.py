import torch

from recbole_gro.evaluator.ranks import ranks


def test_ranks_count_from_the_first_item_of_the_list():
    lists = torch.tensor([[7, 2, 5], [1, 2, 3], [4, 9, 0]])
    assert ranks(lists, torch.tensor([5, 4, 4])).tolist() == [3, 0, 1]
