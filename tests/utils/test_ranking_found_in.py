import torch

from recbole_gro.utils.ranking import found_in


def test_items_are_found_where_they_stand_in_the_other_list():
    generator = torch.Generator().manual_seed(1)
    items, others = (torch.rand(40, 5, 20, generator=generator).argsort(2)[..., :k] for k in (6, 9))
    wanted = (items.unsqueeze(-1) == others.unsqueeze(-2)).any(-1) & (items != 0)
    assert torch.equal(found_in(items, others), wanted)


def test_padding_is_found_nowhere():
    assert not found_in(torch.zeros(1, 2, dtype=torch.long), torch.zeros(1, 3, dtype=torch.long)).any()
