import pytest
import torch
from defense.gro.cases import swap_term as term

from recbole_gro import UserError, create_defense, register_swap_rule
from recbole_gro.defense.gro.swap_rules import SwapRule, create_swap_rule, swap_term
from recbole_gro.objective.swap import swap_loss, swap_targets

RULES = ["paper", "assigned", "assigned_tail", "decoys"]


def test_paper_is_equation_5_towards_section_4_5(config, lists):
    target, served, student, gradient = lists
    expected = swap_loss(target, served, swap_targets(student, served, gradient), 0.25)
    assert torch.equal(term("paper", config, lists), expected)


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


def test_rules_without_a_head_do_not_check_it(make_config):
    assert "gro_head_k" not in create_defense("gro", make_config(served_k=10, gro_head_k=99)).effective


def test_unknown_rule_names_the_known_ones(make_config):
    with pytest.raises(UserError, match=r"gro_swap 'decoy'.*Did you mean 'decoys'.*assigned_tail"):
        create_defense("gro", make_config(gro_swap="decoy"))


class OwnRule(SwapRule):
    """Do what a test wants."""

    def __init__(self, term):
        self.term = term


@pytest.mark.parametrize(
    ("own", "message"),
    [
        (lambda target, *_: target, r"returned float32 \[6, 31\]; a tensor of one number"),
        (lambda *_: 0.5, "returned float; a tensor of one number"),
        (lambda target, *_: target.argmax(), r"returned int64 \[\]; "),
        (lambda target, served, *_: served.fill_(1).sum() * target.sum(), "changed served in place"),
        (lambda target, served, student, _: student.zero_().sum() + target.sum(), "changed student_scores in place"),
    ],
)
def test_a_rule_of_ones_own_that_gives_no_term_or_changes_its_input_is_refused(lists, own, message):
    target, served, student, gradient = lists
    with pytest.raises(UserError, match=f"^OwnRule: term {message}"):
        swap_term(OwnRule(own), target, served, student.clone(), gradient)


def test_name_is_taken():
    with pytest.raises(ValueError, match="paper"):
        register_swap_rule("paper")(object)
