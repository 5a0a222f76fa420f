"""The provider's log of a box that keeps its answers; the answers themselves are in tests/test_resume.py."""

import contextlib
import json
import shutil

import pytest

from recbole_gro import Service, create_defense
from recbole_gro.attack.cached_black_box import CachedBlackBox

NO_ITEM = 31
QUERIES = [[[1], [2]], [[1, 3], [2, NO_ITEM]], [[1, 3], [2, 4]], [[1, 3, 5], [2, 4, 6]]]


class CutOffError(Exception):
    """Stands in for the power cut."""


@pytest.fixture
def ask(tmp_path, make_config, make_model):
    """Ask all that QUERIES has from the start, up to a power cut: `ask(answers=2)`, and `ask()` to go on."""

    def start(answers=9, logged=True):
        defense = create_defense("none", make_config("NARM"))
        service = Service(make_model("NARM"), 5, defense.answer)
        recommend, left = service.recommend, iter(range(answers))

        def cut_off(sequences):
            lists = recommend(sequences)
            if next(left, None) is None:
                raise CutOffError
            return lists

        service.recommend = cut_off
        log = tmp_path / "asked.jsonl" if logged else None
        box = CachedBlackBox(service, tmp_path / "answers", defense, access_log=log)
        for rows in QUERIES:
            with contextlib.suppress(ValueError):
                box.query(rows)

    return start


def asked(tmp_path):
    return [json.loads(line)["sequences"] for line in (tmp_path / "asked.jsonl").read_text().splitlines()]


@pytest.mark.parametrize("answers", [0, 1, 2])
def test_a_log_that_was_cut_off_goes_on_without_repeating_itself(ask, tmp_path, answers):
    with pytest.raises(CutOffError):
        ask(answers)
    cut = (tmp_path / "asked.jsonl").read_text()
    ask()
    assert asked(tmp_path) == QUERIES
    assert (tmp_path / "asked.jsonl").read_text().startswith(cut)
    ask()
    assert asked(tmp_path) == QUERIES


def test_a_cut_between_an_answer_and_its_line_loses_no_line(ask, tmp_path):
    with pytest.raises(CutOffError):
        ask(answers=2)
    log = tmp_path / "asked.jsonl"
    log.write_text("".join(log.read_text().splitlines(keepends=True)[:-1]))
    assert asked(tmp_path) == QUERIES[:2]
    ask()
    assert asked(tmp_path) == QUERIES


def test_a_log_that_is_wanted_later_has_the_earlier_queries_too(ask, tmp_path):
    with pytest.raises(CutOffError):
        ask(answers=2, logged=False)
    assert not (tmp_path / "asked.jsonl").exists()
    ask()
    assert asked(tmp_path) == QUERIES


def test_what_is_asked_anew_is_written_down_anew(ask, tmp_path):
    ask()
    shutil.rmtree(tmp_path / "answers")
    ask()
    assert asked(tmp_path) == QUERIES * 2
