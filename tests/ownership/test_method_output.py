import itertools
import math
import re

import numpy as np
import pytest
import torch
from ownership.runs import trained, verified
from pipeline import files_below

from recbole_gro.ownership.method import Probes, Verdict, VerificationMethod, methods, register_method
from recbole_gro.ownership.recompute import recompute
from recbole_gro.utils import own_code
from recbole_gro.utils.errors import UserError

VERDICT = {
    "p_value": 0.5,
    "level": 0.01,
    "effect": (0.1, 0.0, 0.2),
    "effect_name": "size",
    "null": "nothing",
    "turning_point": "something",
}
ITSELF: dict = {}
ITSELF["again"] = ITSELF


@pytest.fixture
def owner(make_loaders, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(methods, "_entries", dict(methods._entries))
    (tmp_path / "verify.key").write_text("0123456789abcdef")
    return trained(make_loaders, tmp_path)


def own_method(probes=None, verdict=None):
    """Register a method that returns these, each from a function of its arguments."""

    @register_method("own")
    class Own(VerificationMethod):
        summary, source, assumptions = "own", "own", ("one",)

        def probes(self, owner, references, key, n):
            return probes(n) if probes else Probes([[1], [2, 3]], {"lists": [[1], [2]]})

        def verdict(self, probes, lists):
            return verdict() if verdict else Verdict(**VERDICT)


def verify_with_own(owner):
    return verified(owner, "ownership.runs:following", method="own", references=(), probes=40)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"p_value": -1.0}, "p_value of its verdict is -1.0; a float from 0 to 1 is expected"),
        ({"p_value": 7}, "p_value of its verdict is 7; a float from 0 to 1 is expected"),
        ({"p_value": math.nan}, "p_value of its verdict is nan; a float"),
        ({"p_value": "0.5"}, "p_value of its verdict is '0.5' (str); a float"),
        ({"p_value": True}, "p_value of its verdict is True; a float"),
        ({"p_value": torch.tensor(0.5)}, "p_value of its verdict is tensor(0.5000) (Tensor); a float"),
        ({"level": 2.0}, "level of its verdict is 2.0; a float from 0 to 1"),
        ({"level": None}, "level of its verdict is None; a float from 0 to 1"),
        ({"effect": (math.nan, 0, 0)}, "effect of its verdict is (nan, 0, 0) (tuple); finite floats (value"),
        ({"effect": (0.0, -math.inf, 0)}, "effect of its verdict is (0.0, -inf, 0) (tuple); finite floats"),
        ({"effect": (0.1, 0.2)}, "effect of its verdict is (0.1, 0.2) (tuple); finite floats"),
        ({"effect": (0.1, 0.2, 0.0)}, "effect of its verdict is (0.1, 0.2, 0.0) (tuple); finite floats"),
        ({"effect": 0.1}, "effect of its verdict is 0.1; finite floats"),
        ({"null": None}, "null of its verdict is None; a sentence or name"),
        ({"facts": {"a": [1, math.nan]}}, "facts['a'][1] is nan; it takes plain JSON"),
        ({"facts": {"a": {"b": np.int64(1)}}}, "facts['a']['b'] is "),
        ({"facts": {1: 2}}, "facts has the key 1; it takes plain JSON"),
        ({"facts": None}, "facts is None, no dict; it takes plain JSON"),
        ({"facts": ITSELF}, "facts holds itself; it takes plain JSON"),
        (None, "verdict returned None; a Verdict is expected, or NoVerdict is raised"),
    ],
)
def test_an_impossible_verdict_is_refused_with_the_method_and_the_value(owner, tmp_path, changed, message):
    own_method(verdict=lambda: changed and Verdict(**VERDICT | changed))
    with pytest.raises(UserError, match=re.escape(f"method: own: {message}")) as error:
        verify_with_own(owner)
    assert "\n" not in str(error.value)
    assert not (tmp_path / "out" / "results.json").exists()


@pytest.mark.parametrize(
    ("probes", "message"),
    [
        (lambda n: None, "probes returned None; Probes are expected"),
        (lambda n: [[1]], "probes returned [[1]] (list); Probes are expected"),
        (lambda n: Probes(torch.ones(2, 2)), "the histories of its probes are tensor([[1., 1.], [1., 1.]]) (Tensor)"),
        (lambda n: Probes([(1,)]), "the histories of its probes are [(1,)] (list); a list of lists is expected"),
        (lambda n: Probes([]), "its probes have 0 histories; 1 to 40 are expected"),
        (lambda n: Probes([[1]] * (n + 100)), "its probes have 140 histories; 1 to 40 are expected"),
        (lambda n: Probes([[1], []]), "history 1 of its probes is empty; it takes item ids, int, 1 to 30"),
        (lambda n: Probes([[1, 0]]), "history 0 of its probes holds 0; it takes item ids"),
        (lambda n: Probes([[31]]), "history 0 of its probes holds 31; it takes item ids"),
        (lambda n: Probes([[1.0]]), "history 0 of its probes holds 1.0; it takes item ids"),
        (lambda n: Probes([[np.int64(1)]]), "history 0 of its probes holds "),
        (lambda n: Probes([[1]], {"t": torch.ones(2)}), "expected['t'] is tensor([1., 1.]) (Tensor); it takes"),
        (lambda n: Probes([[1]], {"t": (1, 2)}), "expected['t'] is (1, 2) (tuple); it takes plain JSON"),
        (lambda n: Probes([[1]], {"t": math.inf}), "expected['t'] is inf; it takes plain JSON"),
    ],
)
def test_impossible_probes_are_refused_before_a_commitment_and_a_query(owner, tmp_path, probes, message):
    own_method(probes=probes)
    with pytest.raises(UserError, match=re.escape(f"method: own: {message}")):
        verify_with_own(owner)
    assert not any(file.endswith((".json", ".jsonl")) for file in files_below(tmp_path))


def test_what_a_method_may_return_is_kept_and_recomputes(owner):
    facts = {"share": np.float64(0.5), "reference_shares": [0.5], "none": None, "deep": {"a": [True, "b"]}}
    own_method(verdict=lambda: Verdict(**VERDICT | {"effect": (1, 1, 1), "p_value": 0, "facts": facts}))
    results = verify_with_own(owner)
    assert results["verdict"]["is_claim"]
    assert results["verdict"]["facts"] == facts
    assert recompute("out/results.json", owner)["verdict"] == results["verdict"]


@pytest.mark.parametrize("drawn", ["histories", "expected"])
def test_a_method_whose_probes_do_not_repeat_is_refused_before_its_commitment(owner, tmp_path, drawn):
    def probes(n):
        draws = np.random.default_rng().integers(1, 30, n).tolist()
        histories = [[item] for item in draws] if drawn == "histories" else [[1]] * n
        return Probes(histories, {"draws": draws if drawn == "expected" else []})

    own_method(probes=probes)
    with pytest.raises(UserError, match=r"^method: own: equal arguments gave other probes"):
        verify_with_own(owner)
    assert not any(file.endswith((".json", ".jsonl")) for file in files_below(tmp_path))


def test_a_verdict_that_changes_its_arguments_changes_no_result(owner):
    class Own(VerificationMethod):
        def probes(self, owner, references, key, n):
            return Probes([[1], [2, 3]], {"lists": [[1], [2]]})

        def verdict(self, probes, lists):
            probes.expected["lists"].clear()
            probes.histories.pop()
            lists.zero_()
            return Verdict(**VERDICT)

    register_method("own")(Own)
    results = verify_with_own(owner)
    assert (results["expected"], results["probes"]) == ({"lists": [[1], [2]]}, [[1], [2, 3]])
    assert all(any(row) for row in results["suspect_lists"])
    assert recompute("out/results.json", owner)["verdict"] == results["verdict"]


def test_a_method_whose_verdict_does_not_repeat_is_refused(owner, tmp_path):
    counted = itertools.count(1)
    own_method(verdict=lambda: Verdict(**VERDICT | {"p_value": 1 / next(counted)}))
    with pytest.raises(UserError, match=r"^method: own: equal arguments gave another verdict a second time"):
        verify_with_own(owner)
    assert not (tmp_path / "out" / "results.json").exists()


def test_a_verdict_that_reads_what_probes_kept_is_refused(owner, tmp_path):
    class Own(VerificationMethod):
        def probes(self, owner, references, key, n):
            self.kept = [[1]]
            return Probes(self.kept)

        def verdict(self, probes, lists):
            return Verdict(**VERDICT | {"effect": (len(self.kept), 1, 1)})

    register_method("own")(Own)
    with pytest.raises(AttributeError, match="kept"):
        verify_with_own(owner)
    assert not (tmp_path / "out" / "results.json").exists()


def test_recompute_names_the_method_whose_verdict_fails_and_blames_no_file(owner, monkeypatch):
    own_method()
    verify_with_own(owner)
    monkeypatch.setattr(own_code, "_packages", {__name__.partition(".")[0]})
    methods._entries["own"].verdict = lambda self, probes, lists: probes.expected["absent"]
    with pytest.raises(UserError, match=r"^verification method own: KeyError: 'absent' \(.*output\.py, line"):
        recompute("out/results.json", owner)


@pytest.mark.parametrize(
    ("attributes", "message"),
    [
        ({"assumptions": "one sentence"}, "its assumptions are 'one sentence' (str); a tuple of sentences is expected"),
        ({"assumptions": (1,)}, "its assumptions are (1,) (tuple); a tuple of sentences"),
        ({"effect_unit": "shares"}, "its effect_unit is 'shares' (str); share, percent or an empty text is expected"),
        ({"summary": None}, "its summary is None; a text is expected"),
        ({"source": 1}, "its source is 1; a text is expected"),
    ],
)
def test_what_a_method_says_of_itself_is_checked_before_any_work(owner, tmp_path, attributes, message):
    own_method()
    for name, value in attributes.items():
        setattr(methods._entries["own"], name, value)
    with pytest.raises(UserError, match=re.escape(f"method: own: {message}")):
        verify_with_own(owner)
    assert not (tmp_path / "out").exists()


def test_a_method_that_needs_references_runs_with_none_of_them_never(owner, tmp_path):
    own_method()
    methods._entries["own"].needs_references = True
    with pytest.raises(UserError, match=r"^references: none are given, with which own compares; give checkpoints"):
        verify_with_own(owner)
    assert not (tmp_path / "out").exists()
