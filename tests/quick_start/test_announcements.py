"""What the log says of an attack."""

import logging

import pytest
from attack.cases import RuleService

from recbole_gro import BlackBox, create_attacker
from recbole_gro.quick_start.announcements import announce_attack


@pytest.fixture
def announced(make_config, caplog):
    """Announce an attack on a target that reads eight items: `messages = announced("standard", query_length=6)`."""

    def announce(attack, **settings):
        attacker = create_attacker(attack, make_config(**{"query_sequences": 8, **settings}))
        with caplog.at_level(logging.INFO, "recbole_gro"):
            announce_attack(attack, "tail_decoy", attacker, BlackBox(RuleService(), budget=48), 8)
        return caplog.messages

    return announce


def test_an_attack_is_announced_with_its_sequences_and_its_budget(announced):
    method, queries = announced("repeat+random", query_length=6, attacker_repeats=2)
    assert method.startswith("attack on tail_decoy: repeat+random: ")
    assert queries == (
        "attack on tail_decoy: random sequences of at most 6 items, every prefix 2 times, 48 lists of 10 at most"
    )


@pytest.mark.parametrize(("length", "warned"), [(8, False), (9, True)])
def test_sequences_longer_than_the_target_reads_are_a_warning(announced, length, warned):
    messages = announced("standard", query_length=length)
    line = "query_length: of the 9 items of a sequence the target reads the last 8; shorter sequences query more"
    assert any(message.startswith(line) for message in messages) == warned
