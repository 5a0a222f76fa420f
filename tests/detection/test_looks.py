import torch

from recbole_gro.detection.looks import LOOKS, NOT_REACHED, above, of_first_versions, scores_at_looks


def test_the_score_at_a_look_is_the_highest_so_far():
    draw = torch.Generator().manual_seed(3)
    lengths = torch.randint(1, 13, (60,), generator=draw)
    scores = torch.randn(60, 12, generator=draw).masked_fill(torch.arange(12) >= lengths.unsqueeze(1), -torch.inf)
    found = scores_at_looks(scores, lengths)
    for row, length in enumerate(lengths.tolist()):
        for place, n in enumerate(LOOKS):
            assert float(found[row, place]) == (float(scores[row, :n].max()) if length >= n else -torch.inf)


def test_a_history_without_the_items_of_a_look_has_not_reached_it():
    scores = torch.tensor([[9.0, 0, 0, 0, 0], [0, 0, 0, 0, 9.0], [9.0, 9.0, -torch.inf, -torch.inf, -torch.inf]])
    found = above(scores, torch.tensor([5, 5, 2]), [1.0] * len(LOOKS))
    assert found.tolist() == [[1, 1, 1, 1, -1, -1], [0, 0, 0, 1, -1, -1], [1, 1, -1, -1, -1, -1]]


def test_the_first_version_that_reaches_a_look_counts():
    draw = torch.Generator().manual_seed(4)
    history = torch.randint(9, (50,), generator=draw).sort().values
    looks = torch.randint(-1, 2, (50, len(LOOKS)), generator=draw)
    found = of_first_versions(looks, history, 11)
    for number in range(11):
        for place in range(len(LOOKS)):
            own = [v for v in looks[history == number, place].tolist() if v != NOT_REACHED]
            assert int(found[number, place]) == (own[0] if own else NOT_REACHED)
