import json

import pytest

from recbole_gro.report import run_report
from recbole_gro.report.environment import environment
from recbole_gro.report.run_report import markdown, notes, picture, save_results, table, write_report


def row(defense, target, surrogate=None):
    made = {"defense": defense, "target": {"test": target}}
    if surrogate is not None:
        made |= {
            "surrogate": {"test": {**surrogate, "agreement@10": 0.25}}, "surrogate_model": "NARM",
            "query_strategy": "autoregressive",
            "attacker": "standard", "lists_returned": 50, "query_sequences": 10, "auxiliary_sequences": 0, "repeats": 1,
            "selected_hyperparameters": {},
        }  # fmt: skip
    return made


def popularity():
    return {**row("popularity", metrics(0.02)), "meaning": "the most frequent items"}


def about(config):
    return {"test_users": 37, **environment(config)}


def metrics(value):
    return {f"{name}@{k}": value for name in ("hit", "ndcg") for k in (5, 10, 20)}


@pytest.fixture
def config(make_config):
    return make_config(served_k=20, topk=[5, 10, 20], valid_metric="NDCG@10")


def test_table_has_one_row_per_defense_in_percent(config):
    rows = [row("none", metrics(0.1), metrics(0.05)), row("gro", metrics(0.09), metrics(0.012345))]
    head, rule, none, gro = table(rows, config).lines()
    assert [cell.strip() for cell in head.strip("|").split("|")] == [
        "defense", "target HR@10", "target NDCG@10", "target HR@20", "target NDCG@20",
        "surrogate HR@10", "surrogate NDCG@10", "surrogate HR@20", "surrogate NDCG@20", "agreement@10",
    ]  # fmt: skip
    assert set(rule) <= set("|- :")
    assert [cell.strip() for cell in none.strip("|").split("|")] == ["none", *["10.00"] * 4, *["5.00"] * 4, "25.00"]
    assert "1.23" in gro
    assert len({len(line) for line in (head, rule, none, gro)}) == 1


def test_only_shares_are_in_percent(make_config):
    config = make_config(served_k=5, topk=[5], metrics=["NDCG", "AveragePopularity"], valid_metric="NDCG@5")
    rows = [row("none", {"ndcg@5": 0.1, "averagepopularity@5": 28.45}, {"ndcg@5": 0.05, "averagepopularity@5": 7.5})]
    rows[0]["surrogate"]["test"]["agreement@5"] = 0.25
    head, _, none = ([cell.strip() for cell in line.strip("|").split("|")] for line in table(rows, config).lines())
    assert head == [
        "defense", "target NDCG@5", "target averagepopularity@5 (interactions)",
        "surrogate NDCG@5", "surrogate averagepopularity@5 (interactions)", "agreement@5",
    ]  # fmt: skip
    assert none == ["none", "10.00", "28.45", "5.00", "7.5000", "25.00"]
    shares, counts = picture(rows, config).axes
    assert (shares.get_title(), counts.get_title()) == ("NDCG@5, test, %", "averagepopularity@5, test, interactions")
    assert [round(bar.get_height(), 6) for bar in shares.patches] == [10, 5]
    assert [round(bar.get_height(), 6) for bar in counts.patches] == [28.45, 7.5]
    assert [text.get_text() for text in counts.texts] == ["28.45", "7.5000"]
    results = {"defenses": rows, "references": [], **about(config)}
    text = markdown(results, config)
    assert "Percent where the head names no other unit, test items" in text
    assert "Agreement@5: share of common items in the top 5" in text


def test_surrogates_that_differ_between_defenses_are_named_for_each(config):
    rows = [row(name, metrics(0.1), metrics(0.05)) for name in ("none", "random", "gro")]
    rows[2] |= {"surrogate_model": "GRU4Rec", "lists_returned": 40}
    text = markdown({"defenses": rows, "references": [], **about(config)}, config)
    assert "- standard on none, random: surrogate NARM from 50 lists:" in text
    assert "- standard on gro: surrogate GRU4Rec from 40 lists:" in text
    same = markdown({"defenses": rows[:2], "references": [], **about(config)}, config)
    assert "\n- standard: surrogate NARM from 50 lists:" in same


@pytest.mark.parametrize(
    ("split", "group", "words"),
    [
        ({"LS": "valid_and_test"}, "user", "leave-one-out,"),
        ({"LS": "test_only"}, "user", "leave-one-out (test_only),"),
        ({"RS": [0.8, 0.1, 0.1]}, "user", "ratio split 0.8, 0.1, 0.1 of each user in time order,"),
        ({"RS": [0.8, 0.1, 0.1]}, "none", "ratio split 0.8, 0.1, 0.1 of all interactions in time order,"),
    ],
)
def test_markdown_names_the_split_and_the_users(make_config, split, group, words):
    eval_args = {"split": split, "order": "TO", "group_by": group, "mode": "full"}
    config = make_config("NARM", served_k=20, topk=[10, 20], valid_metric="NDCG@10", eval_args=eval_args)
    results = {"defenses": [row("none", metrics(0.1))], "references": [popularity()]}
    text = markdown({**results, **about(config)}, config)
    assert f"Percent, test items of 37 users, full ranking, {words}" in text


def test_table_without_attack_has_no_surrogate(config):
    lines = table([row("none", metrics(0.1))], config).lines()
    assert "surrogate" not in lines[0]
    assert "agreement" not in lines[0]


def test_a_reference_has_no_surrogate_beside_rows_that_have_one(config):
    lines = table([row("none", metrics(0.1), metrics(0.05)), row("popularity", metrics(0.02))], config).lines()
    cells = [cell.strip() for cell in lines[-1].strip("|").split("|")]
    assert cells == ["popularity", *["2.00"] * 4, *[""] * 5]
    assert len({len(line) for line in lines}) == 1


def test_a_surrogate_whose_training_failed_is_marked(config):
    rows = [row("none", metrics(0.1), metrics(0.05)), row("gro", metrics(0.1), metrics(0.01))]
    assert notes(rows) == []
    rows[1]["surrogate_improved"] = False
    *_, none, gro = table(rows, config).lines()
    assert gro.startswith("| gro (!) ")
    assert "(!)" not in none
    assert "(!) The training of this surrogate failed" in notes(rows)[-1]
    results = {"defenses": rows, "references": [popularity()], **about(config)}
    assert notes(rows)[-1] in markdown(results, config)


def test_a_surrogate_that_gained_no_more_than_noise_is_marked(config):
    rows = [row(name, metrics(0.1), metrics(0.05)) | {"gained": name == "none"} for name in ("none", "gro")]
    *_, none, gro = table(rows, config).lines()
    assert (none.split("|")[1].strip(), gro.split("|")[1].strip()) == ("none", "gro (=)")
    assert notes(rows)[-1].startswith("(=) This surrogate gained no more than noise")
    assert notes(rows[:1]) == []


def test_markdown_explains_each_reference_below_the_table(config):
    rows = [row("none", metrics(0.1), metrics(0.05))]
    untrained = {"defense": "untrained", "meaning": "a surrogate", "surrogate": {"test": metrics(0.03)}}
    text = markdown({"defenses": rows, "references": [untrained, popularity()], **about(config)}, config)
    cells = [[cell.strip() for cell in line.split("|")[1:-1]] for line in text.splitlines() if line[0:1] == "|"]
    assert cells[-2] == ["untrained", *[""] * 4, *["3.00"] * 4, ""]
    assert cells[-1] == ["popularity", *["2.00"] * 4, *[""] * 5]
    assert "References:\n\n- untrained: a surrogate.\n- popularity: the most frequent items.\n" in text
    untrained["surrogate"]["test"]["agreement@10"] = 0.01
    text = markdown({"defenses": rows, "references": [untrained], **about(config)}, config)
    assert "References; their agreement is with the undefended target:\n" in text
    assert "1.00 |" in text
    assert "References" not in markdown({"defenses": rows, "references": [], **about(config)}, config)


def test_a_surrogate_that_was_still_improving_is_marked(config):
    rows = [row(name, metrics(0.1), metrics(0.05)) for name in ("none", "gro", "random")]
    rows[0] |= {"surrogate_improved": True, "surrogate_still_improving": False}
    rows[1] |= {"surrogate_improved": True, "surrogate_still_improving": True}
    rows[2] |= {"surrogate_improved": False, "surrogate_still_improving": True}
    *_, none, gro, random = table(rows, config).lines()
    assert (none.split()[1:3], gro.split()[1:3], random.split()[1:3]) == (
        ["none", "|"],
        ["gro", "(+)"],
        ["random", "(!)"],
    )
    results = {"defenses": rows, "references": [popularity()], **about(config)}
    text = markdown(results, config)
    assert "(+) This surrogate was still improving after its surrogate_epochs" in text
    assert text.index("(!) The") < text.index("(+) This")


def test_a_target_that_was_still_improving_is_marked(config):
    rows = [row(name, metrics(0.1), metrics(0.05)) for name in ("none", "gro")]
    rows[0] |= {"target_still_improving": False, "surrogate_still_improving": True}
    rows[1] |= {"target_still_improving": True, "surrogate_still_improving": True}
    *_, none, gro = table(rows, config).lines()
    assert (none.split("|")[1].strip(), gro.split("|")[1].strip()) == ("none (+)", "gro (+) (^)")
    surrogate, target = notes(rows)
    assert surrogate.startswith("(+) This surrogate was still improving")
    assert target.startswith("(^) The undefended target reached its maximum number of epochs")
    assert "looks like a gain" in target


def test_markdown_names_model_data_budget_and_seed(config):
    rows = [row("none", metrics(0.1), metrics(0.05))]
    text = markdown({"defenses": rows, "references": [popularity()], **about(config)}, config)
    assert "| popularity |" in text
    assert "BERT4Rec on tiny" in text
    assert "- standard: surrogate NARM from 50 lists: every prefix of 10 autoregressive sequences." in text
    assert "seed 7" in text
    assert "Hyperparameters" not in text


def test_markdown_names_auxiliary_data_repeats_and_selected_hyperparameters(config):
    rows = [row(name, metrics(0.1), metrics(0.05)) for name in ("none", "truncate")]
    for made, head_k in zip(rows, (20, 10), strict=True):
        made |= {
            "auxiliary_sequences": 3,
            "repeats": 4,
            "selected_hyperparameters": {"attacker_head_k": head_k, "agreement": {10: 0.2}},
        }
    results = {"defenses": rows, "references": [popularity()], **about(config)}
    text = markdown(results, config)
    assert "every prefix, queried 4 times, of 10 autoregressive sequences, 3 of them histories of users." in text
    assert "none standard: attacker_head_k 20, agreement 10 0.2; truncate standard: attacker_head_k 10" in text


def test_picture_shows_target_and_surrogate_of_every_defense(config):
    figure = picture([row("none", metrics(0.1), metrics(0.05)), row("gro", metrics(0.09), metrics(0.01))], config)
    assert figure.get_suptitle() == "BERT4Rec on tiny: target as served and surrogate"
    assert [axes.get_title() for axes in figure.axes] == ["HR@10, test, %", "NDCG@10, test, %"]
    for axes in figure.axes:
        assert [label.get_text() for label in axes.get_xticklabels()] == ["none", "gro"]
        assert [round(bar.get_height(), 6) for bar in axes.patches] == [10, 9, 5, 1]


def test_a_result_is_three_files(config, tmp_path):
    rows = [row("none", metrics(0.1))]
    results = {"defenses": rows, "references": [popularity()], **about(config)}
    save_results(results, config, tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["results.json", "results.md", "results.png"]


def test_results_survive_a_failed_picture_and_the_report_is_completed(config, tmp_path, monkeypatch):
    rows = [row("none", metrics(0.1))]
    results = {"defenses": rows, "references": [popularity()], **about(config)}

    def failing(figure):
        raise MemoryError

    with monkeypatch.context() as patch:
        patch.setattr(run_report, "png", failing)
        with pytest.raises(MemoryError):
            save_results(results, config, tmp_path)
    assert json.loads((tmp_path / "results.json").read_text())["defenses"] == json.loads(json.dumps(rows))
    assert not (tmp_path / "results.png").exists()
    (tmp_path / "results.md").write_text("as it was")
    write_report(results, config, tmp_path)
    assert (tmp_path / "results.png").read_bytes().startswith(b"\x89PNG")
    assert (tmp_path / "results.md").read_text() == "as it was"


def test_several_attacks_have_a_row_each_and_the_strongest_a_mark(config):
    attacks = ["standard", "standard+mixed"]
    rows = [
        {**row(defense, metrics(0.1), metrics(0.05)), "attacker": attack, "strongest": attack == best}
        for defense, best in (("none", "standard+mixed"), ("gro", "standard"))
        for attack in attacks
    ]
    lines = [[cell.strip() for cell in line.strip("|").split("|")] for line in table(rows, config).lines()]
    assert lines[0][:3] == ["defense", "attack", "target HR@10"]
    assert [line[:3] for line in lines[2:]] == [
        ["none", "standard", "10.00"],
        ["none", "standard+mixed *", ""],
        ["gro", "standard *", "10.00"],
        ["gro", "standard+mixed", ""],
    ]
    assert "strongest attack" in " ".join(notes(rows))
    assert [len(axes.patches) for axes in picture(rows, config).axes] == [6, 6]  # two targets, four surrogates
