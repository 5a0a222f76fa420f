import re

import pytest
from ownership.runs import marked, trained, verified
from pipeline import files_below

from recbole_gro.ownership.self_check import check_marks
from recbole_gro.utils.errors import UserError


@pytest.fixture(autouse=True)
def no_key_in_the_environment(monkeypatch, tmp_path):
    monkeypatch.delenv("RECBOLE_GRO_DEFENSE_KEY", raising=False)
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def owner(make_loaders, make_model, tmp_path):
    return marked(make_loaders, make_model, tmp_path)


def test_a_marked_model_shows_its_marks_and_nothing_is_written(owner, tmp_path):
    before = files_below(tmp_path)
    found = check_marks(owner, "defense.key", "aow")
    assert files_below(tmp_path) == before
    assert found["verdict"]["is_claim"]
    assert "key" not in found


def test_it_measures_what_a_verification_of_the_checkpoint_does(owner):
    found = check_marks(owner, "defense.key", "aow", probes=12, settings={"level": 0.02})
    results = verified(owner, method="aow", references=(), key="defense.key", probes=12, settings={"level": 0.02})
    assert found["verdict"] == results["verdict"]


def test_longer_lists_show_more_marked_items(owner):
    listed = [check_marks(owner, "defense.key", "aow", k=k)["verdict"]["facts"]["listed"] for k in (2, 10, 30)]
    assert listed == sorted(listed)
    assert listed[0] < listed[-1] == 1


def test_marks_that_follow_from_the_seed_are_refused(make_loaders, make_model, tmp_path):
    owner = marked(make_loaders, make_model, tmp_path, defense_key="seed")
    (tmp_path / "any.key").write_text("a key that somebody dated years ago")
    message = f"^owner: the marks of {re.escape(owner)} follow from its seed, .* train it with --defense_key=secret$"
    for check in (check_marks, lambda *words: verified(owner, key=words[1], method=words[2], references=())):
        with pytest.raises(UserError, match=message):
            check(owner, "any.key", "aow")
    assert not (tmp_path / "out").exists()


def test_marks_that_did_not_take_are_not_shown(make_loaders, make_model, tmp_path):
    owner = marked(make_loaders, make_model, tmp_path, aow_epochs=1, aow_learning_rate=1e-9)
    found = check_marks(owner, "defense.key", "aow")
    assert not (found["verdict"] or {"is_claim": False})["is_claim"]


def test_another_key_and_too_few_probes_are_a_reason(owner, tmp_path):
    (tmp_path / "other.key").write_text("ab" * 32)
    assert check_marks(owner, "other.key", "aow")["refused"].startswith("the key is not the one")
    assert check_marks(owner, "defense.key", "injected")["refused"].startswith("the owner's model was not trained")
    found = check_marks(owner, "defense.key", "aow", probes=1, settings={"level": 1e-12})
    assert found["refused"].startswith("no suspect could be claimed")


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"method": "fingerprint"}, "suspect: not set; the method fingerprint finds no marks"),
        ({"method": "awo"}, "unknown verification method 'awo'. Did you mean 'aow'?"),
        ({"key": "no.key"}, "key: no file no.key; aow takes the key that the owner's model was trained with"),
        ({"probes": 0}, "probes: 0 is not allowed"),
        ({"k": 1}, "k: 1 is not allowed"),
        ({"key": "ab" * 32}, "key: it takes a file; what is given looks like the secret itself"),
        ({"settings": {"levle": 0.1}}, "unknown setting of aow 'levle'"),
        ({"owner": "no.pth"}, "checkpoint no.pth: no such file"),
    ],
)
def test_invalid_input_is_named_and_nothing_is_written(make_loaders, tmp_path, given, message):
    arguments = {"owner": trained(make_loaders, tmp_path), "key": "defense.key", "method": "aow"} | given
    before = files_below(tmp_path)
    with pytest.raises(UserError, match=re.escape(message)):
        check_marks(**arguments)
    assert files_below(tmp_path) == before
