"""The access log of a cached black box; resuming an attack is tested in tests/trainer/test_epoch_checkpoint.py."""

import contextlib
import json
import shutil

import pytest

from recbole_gro import Service, create_defense
from recbole_gro.attack.cached_black_box import CachedBlackBox

NO_ITEM = 31
QUERIES = [[[1], [2]], [[1, 3], [2, NO_ITEM]], [[1, 3], [2, 4]], [[1, 3, 5], [2, 4, 6]]]


class Interruption(Exception):
    """The end of a process in the middle of an attack."""


@pytest.fixture
def attack(tmp_path, make_config, make_model):
    """Send QUERIES from the first on, until an interruption: `attack(responses=2)`; `attack()` sends all."""

    def start(responses=9, logged=True):
        defense = create_defense("none", make_config("NARM"))
        service = Service(make_model("NARM"), 5, defense.answer)
        recommend, left = service.recommend, iter(range(responses))

        def interrupted(sequences):
            lists = recommend(sequences)
            if next(left, None) is None:
                raise Interruption
            return lists

        service.recommend = interrupted
        log = tmp_path / "access.jsonl" if logged else None
        box = CachedBlackBox(service, tmp_path / "responses", defense, access_log=log)
        for rows in QUERIES:
            with contextlib.suppress(ValueError):
                box.query(rows)

    return start


def logged_queries(tmp_path):
    return [json.loads(line)["sequences"] for line in (tmp_path / "access.jsonl").read_text().splitlines()]


@pytest.mark.parametrize("responses", [0, 1, 2])
def test_a_resumed_attack_repeats_no_line(attack, tmp_path, responses):
    with pytest.raises(Interruption):
        attack(responses)
    cut = (tmp_path / "access.jsonl").read_text()
    attack()
    assert logged_queries(tmp_path) == QUERIES
    assert (tmp_path / "access.jsonl").read_text().startswith(cut)
    attack()
    assert logged_queries(tmp_path) == QUERIES


def test_an_interruption_between_a_response_and_its_line_loses_no_line(attack, tmp_path):
    with pytest.raises(Interruption):
        attack(responses=2)
    log = tmp_path / "access.jsonl"
    log.write_text("".join(log.read_text().splitlines(keepends=True)[:-1]))
    assert logged_queries(tmp_path) == QUERIES[:2]
    attack()
    assert logged_queries(tmp_path) == QUERIES


def test_a_log_that_is_switched_on_later_has_the_earlier_queries_too(attack, tmp_path):
    with pytest.raises(Interruption):
        attack(responses=2, logged=False)
    assert not (tmp_path / "access.jsonl").exists()
    attack()
    assert logged_queries(tmp_path) == QUERIES


def test_repeated_queries_are_logged_again(attack, tmp_path):
    attack()
    shutil.rmtree(tmp_path / "responses")
    attack()
    assert logged_queries(tmp_path) == QUERIES * 2
