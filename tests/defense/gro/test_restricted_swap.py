import pytest
import torch
from defense.gro.cases import swap_term as term

from recbole_gro import UserError, create_defense


@pytest.mark.parametrize("rows", ["all", "tail"])
@pytest.mark.parametrize("candidates", ["all", "outside_head"])
def test_paper_with_its_head_kept(make_config, lists, rows, candidates):
    config = make_config(served_k=10, gro_head_k=4, margin_swap=0.25, gro_rows=rows, swap_candidates=candidates)
    target, served, student, gradient = lists
    first, terms = (4 if rows == "tail" else 0), []
    for t, a, s, g in zip(target.tolist(), served.tolist(), student.tolist(), gradient.tolist(), strict=True):
        items = [j for j in range(1, 31) if candidates == "all" or j not in a[:4]]
        for i in range(first, 10):
            swapped = max(items, key=lambda j: g[i] * s[j])
            terms.append(max(0.0, t[a[i]] - t[swapped] + 0.25))
    assert term("paper", config, lists).item() == pytest.approx(sum(terms) / len(terms), rel=1e-5)


def test_paper_below_the_head_moves_no_item_of_it(make_config, lists):
    config = make_config(served_k=10, gro_head_k=4, gro_rows="tail", swap_candidates="outside_head")
    target, served, *_ = lists
    (moved,) = torch.autograd.grad(term("paper", config, lists), target)
    assert (moved.gather(1, served[:, :4]) == 0).all()
    assert (moved.gather(1, served[:, 4:]) > 0).any()


@pytest.mark.parametrize("key", [{"gro_rows": "tail"}, {"swap_candidates": "outside_head"}])
def test_a_head_as_long_as_the_list_is_refused(make_config, key):
    with pytest.raises(UserError, match=r"gro_head_k: 10 leaves nothing .* below served_k=10"):
        create_defense("gro", make_config(served_k=10, gro_head_k=10, **key))
