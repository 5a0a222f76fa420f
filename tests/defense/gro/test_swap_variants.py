import pytest
import torch
from defense.gro.cases import swap_term as term

from recbole_gro import UserError, create_defense
from recbole_gro.defense.gro.settings import GROTrainerSettings
from recbole_gro.defense.gro.swap_rules import create_swap_rule
from recbole_gro.objective.extensions import assigned_targets, decoy_loss, head_guard
from recbole_gro.objective.swap import swap_loss


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


@pytest.mark.parametrize("name", ["assigned", "assigned_tail", "decoys"])
def test_what_a_rule_does_not_read_has_no_effect(config, lists, name):
    values = {"gro_rows": "tail", "swap_candidates": "outside_head", "margin_swap": 9.0}
    terms, rule = [], create_swap_rule(name, config)
    for given in ({}, {setting: values[setting] for setting in rule.unread}):
        rule = create_swap_rule(name, vars(GROTrainerSettings.of(config)) | given)
        rule.term(*lists)
        rule.epoch_ended()
        terms.append(rule.term(*lists))
    assert rule.unread
    assert torch.equal(*terms)
    assert terms[0] != 0


def test_decoys_are_the_lowest_student_scores_of_the_first_epoch(config, lists):
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


def test_after_an_epoch_without_lists_the_next_one_chooses_the_decoys(config, lists):
    rule = create_swap_rule("decoys", config)
    rule.epoch_ended()
    assert rule.decoys is None
    rule.term(*lists)
    rule.epoch_ended()
    assert rule.decoys.tolist() == (lists[2].mean(0)[1:].argsort()[:6] + 1).tolist()


@pytest.mark.parametrize("name", ["assigned_tail", "decoys"])
@pytest.mark.parametrize("head_k", [10, 11])
def test_a_head_as_long_as_the_list_is_refused(make_config, name, head_k):
    config = make_config(served_k=10, gro_head_k=head_k, gro_swap=name)
    with pytest.raises(UserError, match=f"gro_head_k: {head_k} leaves nothing .* below served_k=10") as error:
        create_defense("gro", config)
    assert "\n" not in str(error.value)


def test_decoys_need_an_epoch_after_the_one_that_chooses_them(make_config):
    one = make_config(served_k=10, gro_head_k=4, gro_swap="decoys", gro_epochs=1)
    with pytest.raises(UserError, match="gro_epochs: 1 leaves no epoch for the decoys"):
        create_defense("gro", one)
    create_defense("gro", make_config(served_k=10, gro_head_k=4, gro_swap="decoys", gro_epochs=2))


def test_steps_that_raise_the_epochs_leave_one_for_the_decoys(make_config, make_trainer):
    create_defense("gro_decoys", make_config(served_k=10, gro_head_k=4, gro_epochs=1))  # with its 1,520 steps
    settings = {"served_k": 10, "gro_head_k": 4, "gro_swap": "decoys", "gro_epochs": 1}
    trainer, train, valid = make_trainer(**settings, gro_steps=1)
    with pytest.raises(UserError, match=r"gro_epochs: 1 leaves no epoch .* raise gro_steps"):
        trainer.fit_gro(train, valid)
    trainer, train, valid = make_trainer(**settings, gro_steps=len(train) + 1)
    trainer.fit_gro(train, valid)
    assert trainer.swap_rule.decoys is not None
