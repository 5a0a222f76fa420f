import json

import pytest

from recbole_gro.ownership.method import VerificationMethod, methods
from recbole_gro.ownership.report import save_results, self_check_text, summary

VERDICT = {
    "p_value": 1e-9, "level": 0.01, "is_claim": True, "effect": [37.25, 30.0, 44.5],
    "effect_name": "percent of marked items in the top 10, less what chance gives", "null": "chance alone",
    "turning_point": "fewer lists", "facts": {"share": 0.5, "share_needed": 0.25, "reference_shares": {"a.pth": 0.125}},
}  # fmt: skip
RESULTS = {
    "refused": None, "verdict": VERDICT, "suspect": "s.pth", "method": "aow", "answers": {"lists": 190},
    "assumptions": ["a secret key"],
}  # fmt: skip


def test_the_summary_names_the_unit_of_the_effect():
    text = summary(RESULTS)
    assert "37.2 %, 95 % interval 30 % to 44.5 % (percent of marked items in the top 10, less what chance" in text


@pytest.mark.parametrize("method", ["fingerprint", "contrast"])
def test_effects_that_are_shares_are_shown_in_percent(method):
    verdict = VERDICT | {"effect": [0.3725, 0.3, 0.445], "effect_name": "share of items"}
    text = summary(RESULTS | {"method": method, "verdict": verdict})
    assert "Effect: 37.2 %, 95 % interval 30 % to 44.5 % (share of items)." in text


def test_the_effect_of_a_method_without_a_unit_is_shown_as_it_is(monkeypatch):
    monkeypatch.setattr(methods, "_entries", methods._entries | {"distance": VerificationMethod})
    verdict = VERDICT | {"effect": [0.3725, 0.3, 0.445], "effect_name": "distance"}
    text = summary(RESULTS | {"method": "distance", "verdict": verdict})
    assert "Effect: 0.372, 95 % interval 0.3 to 0.445 (distance)." in text


def test_a_self_check_says_whether_the_marks_are_shown():
    text = self_check_text("t.pth", "aow", RESULTS)
    assert text.startswith("t.pth shows its marks: p = 1e-09, level 0.01. Effect: 37.2 %")
    text = self_check_text("t.pth", "aow", {"verdict": VERDICT | {"is_claim": False}, "refused": None})
    assert text.startswith("t.pth does not show its marks in these lists")
    assert self_check_text("t.pth", "aow", {"verdict": None, "refused": "too few"}) == "No self-check: too few."


def test_the_summary_says_whether_there_is_a_claim_or_no_verdict():
    assert summary(RESULTS).startswith("s.pth is claimed to be a copy of the owner's model: p = 1e-09")
    unclaimed = RESULTS | {"verdict": VERDICT | {"is_claim": False}}
    assert summary(unclaimed).startswith("s.pth is not claimed to be a copy")
    assert summary(RESULTS | {"refused": "no lists", "verdict": None}) == "No verdict: no lists."


def test_the_folder_holds_facts_as_csv_and_the_shares_as_a_picture(tmp_path):
    save_results(RESULTS, tmp_path)
    assert (tmp_path / "results.csv").read_text().splitlines() == [
        "fact,value,low,high",
        "effect,37.25,30.0,44.5",
        "share,0.5,,",
        "share_needed,0.25,,",
        "reference_shares a.pth,0.125,,",
    ]
    assert json.loads((tmp_path / "results.json").read_text()) == RESULTS
    assert (tmp_path / "shares.png").read_bytes().startswith(b"\x89PNG")
    assert "a secret key" in (tmp_path / "report.md").read_text()


def test_without_a_verdict_the_folder_holds_the_reason_and_no_picture(tmp_path):
    save_results(RESULTS | {"refused": "no lists", "verdict": None}, tmp_path)
    assert (tmp_path / "results.csv").read_text().splitlines() == ["fact,value,low,high", "effect,,,"]
    assert "No verdict: no lists." in (tmp_path / "report.md").read_text()
    assert not (tmp_path / "shares.png").exists()
