from recbole_gro.ownership.report import summary


def test_the_summary_names_the_unit_of_the_effect():
    verdict = {
        "p_value": 1e-9, "level": 0.01, "is_claim": True, "effect": [37.25, 30.0, 44.5],
        "effect_name": "percent of marked items in the top 10, less what chance gives",
    }  # fmt: skip
    text = summary({"refused": None, "verdict": verdict, "suspect": "s.pth", "asked": {"lists": 190}})
    assert "37.2, 95 % interval 30 to 44.5 (percent of marked items in the top 10, less what chance gives)" in text
