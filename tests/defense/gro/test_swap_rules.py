import pytest
import torch

from recbole_gro import UserError, create_defense, register_swap_rule
from recbole_gro.defense.gro.swap_rules import create_swap_rule
from recbole_gro.objective.extensions import assigned_targets, decoy_loss, head_guard
from recbole_gro.objective.swap import swap_loss, swap_targets
from recbole_gro.utils.ranking import top_k

RULES = ["paper", "assigned", "assigned_tail", "decoys"]


@pytest.fixture
def config(make_config):
    return make_config(served_k=10, gro_head_k=4, margin_swap=0.25)


@pytest.fixture
def lists():
    """T, the lists of 10 that it serves, S and g, for 6 rows and 30 items."""
    generator = torch.Generator().manual_seed(4)
    target, student = torch.randn(2, 6, 31, generator=generator)
    return target.requires_grad_(), top_k(target.detach(), 10), student, torch.randn(6, 10, generator=generator)


def term(name, config, lists):
    return create_swap_rule(name, config).term(*lists)


def test_paper_is_equation_5_towards_section_4_5(config, lists):
    target, served, student, gradient = lists
    expected = swap_loss(target, served, swap_targets(student, served, gradient), 0.25)
    assert torch.equal(term("paper", config, lists), expected)


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


def test_results_tell_the_keys_that_a_rule_reads(make_config):
    def settled(**settings):
        return create_defense("gro", make_config(served_k=10, gro_head_k=4, **settings)).settled

    assert settled().items() >= {"gro_rows": "all", "swap_candidates": "all"}.items()
    assert "gro_head_k" not in settled()
    assert settled(gro_rows="tail").items() >= {"gro_rows": "tail", "gro_head_k": 4}.items()
    assert "gro_rows" not in settled(gro_swap="assigned", gro_rows="tail")


def test_assigned_is_equation_5_towards_the_assignment(config, lists):
    target, served, student, gradient = lists
    expected = swap_loss(target, served, assigned_targets(student, served, gradient), 0.25)
    assert torch.equal(term("assigned", config, lists), expected)
    assert not torch.equal(expected, term("paper", config, lists))


def test_assigned_tail_leaves_the_head_alone(config, lists):
    target, served, student, gradient = lists
    loss = term("assigned_tail", config, lists)
    head, tail = served.split([4, 6], 1)
    swapped = assigned_targets(student, tail, gradient[:, 4:], head)
    assert torch.equal(loss, swap_loss(target, tail, swapped, 0.25) + head_guard(target, head[:, -1], swapped))
    (moved,) = torch.autograd.grad(loss, target)
    assert (moved.gather(1, head) == 0).all()
    assert (moved.gather(1, tail) > 0).any()


def test_decoys_are_what_the_student_scores_lowest_in_the_first_epoch(config, lists):
    target, served, student, gradient = lists
    rule = create_swap_rule("decoys", config)
    assert rule.term(*lists) == 0
    assert rule.term(target, served, 2 * student, gradient) == 0
    assert rule.left_out is None
    rule.epoch_ended()
    lowest = student.mean(0)[1:].argsort()[:6] + 1
    assert rule.decoys.tolist() == lowest.tolist()
    assert rule.left_out.nonzero().flatten().tolist() == sorted(lowest.tolist())
    assert torch.equal(rule.term(*lists), decoy_loss(target, lowest, 4, 5))
    rule.term(target, served, -student, gradient)
    rule.epoch_ended()
    assert rule.decoys.tolist() == lowest.tolist()


@pytest.mark.parametrize("name", RULES)
def test_gradient_reaches_the_target_and_not_the_student(name, config, lists):
    rule = create_swap_rule(name, config)
    target, served, student, gradient = lists
    rule.term(*lists)
    rule.epoch_ended()
    student.requires_grad_()
    loss = rule.term(target, served, student.detach(), gradient)
    assert loss.item() > 0
    loss.backward()
    assert target.grad.abs().max() > 0
    assert (target.grad[:, 0] == 0).all()


@pytest.mark.parametrize("name", ["assigned_tail", "decoys"])
@pytest.mark.parametrize("head_k", [10, 11])
def test_a_head_as_long_as_the_list_is_refused(make_config, name, head_k):
    config = make_config(served_k=10, gro_head_k=head_k, gro_swap=name)
    with pytest.raises(UserError, match=f"gro_head_k: {head_k} leaves nothing .* below served_k=10") as error:
        create_defense("gro", config)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("key", [{"gro_rows": "tail"}, {"swap_candidates": "outside_head"}])
def test_a_head_as_long_as_the_list_is_refused_where_the_paper_keeps_it(make_config, key):
    with pytest.raises(UserError, match=r"gro_head_k: 10 leaves nothing .* below served_k=10"):
        create_defense("gro", make_config(served_k=10, gro_head_k=10, **key))


def test_decoys_need_an_epoch_after_the_one_that_chooses_them(make_config):
    with pytest.raises(UserError, match="gro_epochs: 1 leaves no epoch for the decoys"):
        create_defense("gro_decoys", make_config(served_k=10, gro_head_k=4, gro_epochs=1))
    create_defense("gro_decoys", make_config(served_k=10, gro_head_k=4, gro_epochs=2))


def test_rules_without_a_head_do_not_look_at_it(make_config):
    assert "gro_head_k" not in create_defense("gro", make_config(served_k=10, gro_head_k=99)).settled


def test_unknown_rule_names_the_known_ones(make_config):
    with pytest.raises(UserError, match=r"gro_swap 'decoy'.*Did you mean 'decoys'.*assigned_tail"):
        create_defense("gro", make_config(gro_swap="decoy"))


def test_name_is_taken():
    with pytest.raises(ValueError, match="paper"):
        register_swap_rule("paper")(object)
