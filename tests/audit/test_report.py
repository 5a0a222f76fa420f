import json

from recbole_gro.audit.report import irregular_lines, read_results, result_table, save_results

ROW = {
    "attacker": "standard", "lists": 900, "agreement": 0.6, "agreement_at": 10, "untrained_agreement": 0.051,
    "surrogate_model": "GRU4Rec",
    "surrogate_improved": True, "surrogate_still_improving": False, "strongest": False,
}  # fmt: skip
RESULTS = {
    "service": {"black_box": "service.yaml", "k": 20, "catalogue": 300, "catalogue_given": False},
    "lists": {"limit": 2000, "given_out": 1400, "for_catalogue": 70},
    "attacks": [ROW | {"surrogate_still_improving": True}, ROW | {"attacker": "head", "strongest": True}],
    "curve": [{"lists": 90, "sequences": 3, "agreement": 0.25}, {"lists": 900, "sequences": 30, "agreement": 0.6}],
    "lists_needed": {"50%": 90, "80%": 400, "90%": 610},
    "histories": {
        "users": 40, "left_out": 2, "agreement@10": 0.5,
        "service": {"hit@10": 0.2, "ndcg@10": 0.1}, "surrogate": {"hit@10": 0.15, "ndcg@10": 0.05},
    },
    "irregularities": {"failed": 3, "shorter": 0, "changed": 1200},
    "failures": {"status 400": 3},
}  # fmt: skip


def test_the_report_holds_what_was_measured(tmp_path):
    save_results(RESULTS, tmp_path)
    assert read_results(tmp_path / "results.json") == json.loads(json.dumps(RESULTS))
    assert read_results(tmp_path / "none.json") is None
    page = (tmp_path / "report.md").read_text()
    assert "900 lists of the service has agreement@10 of 60.0 %" in page
    assert "The same surrogate before its first epoch has 5.1 %, lists of random items would agree on 3.3 %" in page
    assert "The gain is 54.9 points; 50% of it with at most 90, 80% of it with 400, 90% of it with 610 lists." in page
    assert "at most 1,400 lists of k=20 items, 2,000 were allowed" in page
    assert "collected with 70 of these lists" in page
    lines = [[cell.strip() for cell in line.strip("|").split("|")] for line in page.splitlines()]
    assert ["standard (+)", "900", "GRU4Rec", "60.0 %", "5.1 %"] in lines
    assert [r"head \*", "900", "GRU4Rec", "60.0 %", "5.1 %"] in lines
    assert ["90", "25.0 %"] in lines
    assert ["service", "20.0 %", "10.0 %"] in lines
    assert ["surrogate", "15.0 %", "5.0 %"] in lines
    assert "(+) This surrogate was still improving" in page
    assert (tmp_path / "results.csv").read_text().splitlines() == [
        "lists,sequences,agreement",
        "90,3,0.25",
        "900,30,0.6",
    ]
    assert (tmp_path / "budget.png").read_bytes().startswith(b"\x89PNG")


def test_attacks_whose_agreement_is_at_other_positions_have_them_in_their_rows(tmp_path):
    attacks = [ROW, ROW | {"attacker": "head", "agreement_at": 3, "strongest": True}]
    save_results(RESULTS | {"attacks": attacks}, tmp_path)
    page = (tmp_path / "report.md").read_text()
    lines = [[cell.strip() for cell in line.strip("|").split("|")] for line in page.splitlines()]
    assert ["attack", "lists", "surrogate", "agreement", "untrained"] in lines
    assert ["standard", "900", "GRU4Rec", "60.0 % (@10)", "5.1 %"] in lines
    assert [r"head \*", "900", "GRU4Rec", "60.0 % (@3)", "5.1 %"] in lines
    assert "has agreement@3 of 60.0 %" in page
    assert "lists of random items would agree on 1.0 %" in page
    table = result_table(RESULTS | {"attacks": attacks})
    assert [row[-2] for row in table.rows] == ["60.0 % (@10)", "60.0 % (@3)"]
    of = "on held-out queries; untrained: before the first epoch, without any list of the service; lists of random"
    assert table.notes[:2] == [
        f"agreement@10 {of} items would agree on 3.3 %.",
        f"agreement@3 {of} items would agree on 1.0 %.",
    ]


def test_the_terminal_has_the_marks_of_the_report_and_their_meaning():
    table = result_table(RESULTS)
    assert table.marks == ["(+)", "*"]
    assert table.notes[-1].startswith("(+) This surrogate was still improving")
    assert sum(note.startswith("*") for note in table.notes) == 1


def test_a_surrogate_that_extracted_nothing_needs_no_number_of_lists(tmp_path):
    save_results(RESULTS | {"lists_needed": dict.fromkeys(RESULTS["lists_needed"])}, tmp_path)
    page = (tmp_path / "report.md").read_text()
    assert "The attack gained nothing" in page
    assert "50% of it" not in page


def test_irregular_answers_are_sentences():
    assert irregular_lines(RESULTS) == [
        "3 queries failed permanently and have no list",
        "1,200 of these have lists that differ from one query to the next",
        "3 queries failed: status 400",
    ]
    again = {"irregularities": {"repeated": 4, "changed": 0}, "failures": {}}
    assert irregular_lines(again)[1] == "0 of these have lists that differ from one query to the next"
    [line] = irregular_lines({"irregularities": {"failed": 0}, "failures": {}})
    assert "no history was queried twice" in line
