"""Utility that a defense keeps against what the best attacker extracts."""

import numpy as np
import pytest

from recbole_gro.experiment.cells import Cell
from recbole_gro.experiment.plan import Experiment
from recbole_gro.experiment.report import write_report
from recbole_gro.experiment.summary import Setting
from recbole_gro.experiment.trade_off import attackers_table, picture, quality_table, trade_off_blocks
from recbole_gro.experiment.trade_off_points import on_frontier, points, unpaired, without_gain
from recbole_gro.report.document import Picture


def cell(defense, attacker, target, surrogate, seed=1, untrained=0.0, **values):
    """Return a cell of 100 users: a share `target` (`surrogate`) has the test item first, the others not at all."""
    shares = (target, surrogate, untrained)
    ranks = (np.array([1] * round(100 * share) + [0] * (100 - round(100 * share))) for share in shares)
    return ranked({"defense": defense, "attacker": attacker, **values}, *ranks, seed=seed)


def ranked(values, target, surrogate, untrained=None, seed=1, served_k=100):
    facts = {"served_k": served_k, "split": "leave-one-out"}
    beside = {"untrained": np.zeros(len(target)) if untrained is None else untrained}
    return Cell(
        values=values,
        seed=seed,
        target_ranks=np.array(target),
        surrogate_ranks=np.array(surrogate),
        agreement={10: 0.5},
        test_rows=f"of {len(target)} users",
        facts=facts,
        reference_ranks=beside,
    )


def settings(cells):
    """Return the cells by setting, in the order of the first cell of each."""
    by_setting = {}
    for one in cells:
        by_setting.setdefault(str(one.values), Setting(one.values, [])).cells.append(one)
    return list(by_setting.values())


GRID = [
    cell("none", "standard", 0.8, 0.5), cell("none", "head", 0.8, 0.4),
    cell("tail", "standard", 0.8, 0.1), cell("tail", "head", 0.8, 0.3),
    cell("gro", "standard", 0.6, 0.4), cell("gro", "head", 0.6, 0.45),
]  # fmt: skip


def test_a_defense_is_rated_by_its_worst_case():
    found = {point.name: point for point in points(settings(GRID))}
    assert found["tail"].attacker == "head"
    assert found["tail"].extracted == pytest.approx(0.3 / 0.5)
    assert found["tail"].by_attacker == pytest.approx({"standard": 0.2, "head": 0.6})
    assert found["gro"].extracted == pytest.approx(0.9)
    assert set(found["gro"].kept) == {f"{metric}@{k}" for metric in ("HR", "NDCG") for k in (5, 10, 20, 50, 100)}
    assert list(found["gro"].kept.values()) == pytest.approx([0.75] * 10)
    assert set(found["none"].kept.values()) == {1.0}
    assert found["none"].extracted == 1.0


def test_the_frontier_is_that_of_each_target():
    """A defense of one dataset is no better or worse than that of another, whose shares are of other users."""
    worse = [cell(one.values["defense"], one.values["attacker"], 0.8, 0.5) for one in GRID]
    grids = {"a": GRID, "b": worse}
    cells = [
        Cell(**vars(one) | {"values": {**one.values, "dataset": name}}) for name, own in grids.items() for one in own
    ]
    together = {point.name: point.on_frontier for point in points(settings(cells))}
    alone = {name: {point.name: point.on_frontier for point in points(settings(own))} for name, own in grids.items()}
    assert together == {
        f"{defense} (dataset {name})": found for name in grids for defense, found in alone[name].items()
    }
    assert picture(points(settings(cells)), "NDCG@10")


def test_shares_are_of_what_was_gained_beyond_the_untrained_surrogate():
    """Undefended, the best of two attacks gains 0.5 - 0.3; past a defense nothing, a half, or less than nothing."""
    undefended = [cell("none", "head", 0.8, 0.4, untrained=0.3), cell("none", "standard", 0.8, 0.5, untrained=0.3)]
    surrogates = {"nothing": 0.3, "half": 0.4, "below": 0.2}
    grid = [*undefended, *(cell(name, "head", 0.8, of, untrained=0.3) for name, of in surrogates.items())]
    shares = {point.name: point.extracted for point in points(settings(grid))}
    assert shares == pytest.approx({"none": 1, "nothing": 0, "half": 0.5, "below": 0})
    rows = {row[0].split()[0]: row[2:6] for row in attackers_table(points(settings(grid)))[1]}
    assert rows["none"] == ["standard", "1.00", "0.50", "1.00"]
    assert rows["below"] == ["head", "0.00", "0.00", ""]


@pytest.mark.parametrize(
    ("facts", "name"),
    [({"attacker": "head+mixed"}, "head+mixed"), ({"attacker": "head", "strongest": True}, "strongest")],
)
def test_an_attacker_that_does_not_vary_has_its_name(facts, name):
    grid = [ranked({"defense": defense}, [1, 1, 0], [1, 0, 0]) for defense in ("none", "tail")]
    for one in grid:
        one.facts |= facts
    assert [point.attacker for point in points(settings(grid))] == [name, name]


def test_where_no_attack_gained_anything_there_is_no_share():
    grid = [cell(name, "head", 0.8, 0.3, untrained=0.3) for name in ("none", "tail")]
    assert points(settings(grid)) == []


def test_settings_without_a_share_are_named_in_the_report(tmp_path):
    """Of model B no attack gained anything, so its defenses have no share; those of A do."""
    grid = [cell(name, "head", 0.8, 0.4, model="A") for name in ("none", "tail")]
    grid += [cell(name, "head", 0.8, 0.3, untrained=0.3, model="B") for name in ("none", "tail")]
    assert without_gain(settings(grid)) == ["none, model B", "tail, model B"]
    assert unpaired(settings(grid)) == without_gain(settings(GRID)) == []
    names = {"defense": ["none", "tail"], "attacker": ["head"], "model": ["A", "B"]}
    write_report(Experiment("own", "Own", "tradeoff", names, [1]), grid, tmp_path)
    report = (tmp_path / "report.md").read_text()
    assert "no attack on the undefended target gained anything there: none, model B; tail, model B." in report
    assert "| none (model A) \\* " in report


def test_a_seed_of_one_side_alone_is_no_lack_of_gain():
    grid = [cell("none", "head", 0.8, 0.4), cell("tail", "head", 0.8, 0.4, seed=2)]
    assert without_gain(settings(grid)) == []
    assert unpaired(settings(grid)) == ["tail: 2"]


def test_the_frontier_holds_the_points_that_no_other_dominates():
    assert {point.name for point in points(settings(GRID)) if point.on_frontier} == {"tail"}
    costly = [*GRID, cell("costly", "standard", 0.4, 0.05), cell("costly", "head", 0.4, 0.05)]
    assert {point.name for point in points(settings(costly)) if point.on_frontier} == {"tail", "costly"}


def test_the_frontier_depends_on_the_metric():
    grid = [
        ranked({"defense": "none"}, [1, 1, 30, 30], [1, 1, 1, 1]),
        ranked({"defense": "cut"}, [1, 1, 0, 0], [1, 1, 0, 0]),
        ranked({"defense": "low"}, [1, 0, 30, 30], [1, 1, 1, 0]),
    ]
    found = points(settings(grid))
    frontier = {metric: {p.name for p in found if on_frontier(p, found, metric)} for metric in ("NDCG@10", "HR@50")}
    assert frontier == {"NDCG@10": {"cut"}, "HR@50": {"none", "low", "cut"}}


def test_shares_compare_equal_seeds_only(tmp_path):
    """At the seed of both sides, the share of tail is 0.2 of 0.4; the other seeds must not change that."""
    grid = [
        cell("none", "standard", 0.8, 0.4), cell("none", "standard", 0.4, 0.1, seed=2),
        cell("tail", "standard", 0.4, 0.2), cell("tail", "standard", 0.1, 0.9, seed=3),
    ]  # fmt: skip
    tail = points(settings(grid))[1]
    assert (tail.name, tail.extracted, tail.seeds) == ("tail", pytest.approx(0.5), 1)
    assert tail.kept["NDCG@10"] == pytest.approx(0.5)
    assert unpaired(settings(grid)) == ["tail: 3"]
    write_report(
        Experiment("own", "Own", "tradeoff", {"defense": ["none", "tail"], "attacker": ["standard"]}, [1]),
        grid,
        tmp_path,
    )
    assert "was run with the seed: tail: 3." in (tmp_path / "report.md").read_text()


def test_the_best_attackers_are_compared_at_the_seeds_of_all_attackers():
    grid = [
        *GRID, cell("none", "standard", 0.8, 0.9, seed=2), cell("none", "head", 0.8, 0.1, seed=2),
        cell("tail", "standard", 0.8, 0.8, seed=2),
    ]  # fmt: skip
    tail = next(point for point in points(settings(grid)) if point.name == "tail")
    assert tail.by_attacker == pytest.approx({"standard": 0.2, "head": 0.6})
    assert unpaired(settings(grid)) == ["tail: 2"]
    assert unpaired(settings(GRID)) == []


def test_what_is_kept_is_a_mean_of_shares_and_what_is_extracted_a_share_of_means():
    grid = [
        cell("none", "standard", 0.8, 0.4), cell("none", "standard", 0.4, 0.2, seed=2),
        cell("tail", "standard", 0.4, 0.1), cell("tail", "standard", 0.4, 0.2, seed=2),
    ]  # fmt: skip
    [tail] = [point for point in points(settings(grid)) if point.name == "tail"]
    assert tail.kept["NDCG@10"] == pytest.approx((0.5 + 1.0) / 2)
    assert tail.extracted == pytest.approx(0.15 / 0.3)


def test_other_varied_keys_make_points_of_their_own_where_they_make_a_difference():
    grid = [cell("tail", "standard", 0.8, k / 100, head_k=k) for k in (10, 20)]
    grid += [cell(name, "standard", 0.8, 0.4, head_k=k) for name in ("gro", "none") for k in (10, 20)]
    found = points(settings(grid))
    assert [point.name for point in found] == ["tail (head_k 10)", "tail (head_k 20)", "gro", "none"]
    assert [point.extracted for point in found] == pytest.approx([0.1 / 0.4, 0.2 / 0.4, 1, 1])


def test_a_defense_without_an_undefended_counterpart_has_no_point():
    tail = cell("tail", "standard", 0.8, 0.4, seed=2)
    assert points(settings([tail])) == points([]) == []
    assert [point.name for point in points(settings([cell("none", "standard", 0.8, 0.4), tail]))] == ["none"]


def test_tables_and_picture_hold_every_point():
    found = points(settings(GRID))
    head, rows = attackers_table(found)
    assert head == ["defense", "NDCG@10 kept", "best attacker", "its share", "standard", "head", "seeds"]
    assert rows == [
        ["none", "1.000", "standard", "1.00", "1.00", "0.80", "1"],
        ["tail *", "1.000", "head", "0.60", "0.20", "0.60", "1"],
        ["gro", "0.750", "head", "0.90", "0.80", "0.90", "1"],
    ]
    head, rows = quality_table(found)
    assert head[:3] == ["defense", "HR@5", "HR@10"]
    assert [row[:2] for row in rows] == [["none", "80.00 (1.00)"], ["tail", "80.00 (1.00)"], ["gro", "60.00 (0.75)"]]
    texts = {text.get_text() for text in picture(found, "NDCG@10").axes[0].texts}
    assert {text.partition(" ")[2] for text in texts} == {"none [standard]", "tail [head]", "gro [head]"}
    assert texts >= {f"{point.extracted:.2f} {point.name} [{point.attacker}]" for point in found}


def test_a_loss_below_the_head_shows_at_long_cut_offs():
    low, cut = ranked({"defense": "none"}, [1, 30], [1, 30]), ranked({"defense": "cut"}, [1, 0], [1, 0])
    kept = points(settings([low, cut]))[1].kept
    assert kept["HR@20"] == kept["NDCG@10"] == 1
    assert kept["HR@50"] == 0.5
    assert 0.5 < kept["NDCG@50"] < 1


def test_lists_shorter_than_a_cut_off_have_no_such_column():
    short = settings([ranked({"defense": "none"}, [1, 2], [1, 2], served_k=20)])
    assert quality_table(points(short))[0] == ["defense", *(f"{m}@{k}" for m in ("HR", "NDCG") for k in (5, 10, 20))]


@pytest.mark.parametrize("lengths", [(20, 100), (100, 20)])
def test_lists_of_several_lengths_have_the_columns_of_all_and_blanks(tmp_path, lengths):
    grid = [
        ranked({"defense": defense, "served_k": k}, [1, 1, 1, last], [1, 0, 0, 0], served_k=k)
        for k in lengths
        for defense, last in (("none", 15), ("tail", 0))
    ]
    head, rows = quality_table(points(settings(grid)))
    assert head == ["defense", *(f"{metric}@{k}" for metric in ("HR", "NDCG") for k in (5, 10, 20, 50, 100))]
    by_name = {row[0]: dict(zip(head, row, strict=True)) for row in rows}
    short, long = by_name["tail (served_k 20)"], by_name["tail (served_k 100)"]
    assert (short["HR@20"], short["HR@50"], short["NDCG@5"], short["NDCG@100"]) == (
        "75.00 (0.75)",
        "",
        "75.00 (1.00)",
        "",
    )
    assert (long["HR@20"], long["HR@50"], long["NDCG@5"]) == ("75.00 (0.75)", "75.00 (0.75)", "75.00 (1.00)")
    names = {"served_k": list(lengths), "defense": ["none", "tail"]}
    write_report(Experiment("own", "Own", "tradeoff", names, [1]), grid, tmp_path)
    assert {"trade-off-ndcg-10.png", "trade-off-ndcg-100.png"} <= {file.name for file in tmp_path.iterdir()}
    captions = [block.caption for block in trade_off_blocks(settings(grid)) if isinstance(block, Picture)]
    assert ["shorter lists" in caption for caption in captions] == [False, True]


def test_a_metric_that_is_zero_undefended_has_no_share():
    kept = points(settings([ranked({"defense": "none"}, [0, 30], [1, 1])]))[0].kept
    assert np.isnan(kept["HR@10"])
    assert kept["HR@50"] == 1


def test_the_report_of_a_trade_off_has_its_tables_and_two_pictures(tmp_path):
    names = {"defense": ["none", "tail", "gro"], "attacker": ["standard", "head"]}
    experiment = Experiment("own", "Own", "tradeoff", names, [1])
    write_report(experiment, GRID, tmp_path)
    report = (tmp_path / "report.md").read_text()
    assert "| tail \\* " in report
    assert "HR@100" in report
    assert {"trade-off-ndcg-10.png", "trade-off-ndcg-100.png"} <= {file.name for file in tmp_path.iterdir()}


PLANNED = [
    {"defense": defense, "attacker": attack} for defense in ("none", "tail", "gro") for attack in ("standard", "head")
]


def test_a_defense_without_the_cells_of_an_attack_of_the_plan_has_no_point():
    """Else a failed attack, which may be the best one, makes a defense look better."""
    grid = settings([one for one in GRID if one.values != {"defense": "tail", "attacker": "head"}])
    assert {point.name for point in points(grid, PLANNED)} == {"none", "gro"}
    assert unpaired(grid, PLANNED) == ["tail: 1 (nothing of head on tail)"]
    assert [point.name for point in points(settings(GRID), PLANNED)] == ["none", "tail", "gro"]
    assert unpaired(settings(GRID), PLANNED) == []


def test_no_defense_has_a_point_where_the_undefended_target_lacks_an_attack_of_the_plan():
    grid = settings([one for one in GRID if one.values != {"defense": "none", "attacker": "standard"}])
    assert points(grid, PLANNED) == []
    assert unpaired(grid, PLANNED) == [f"{name}: 1 (nothing of standard on none)" for name in ("none", "tail", "gro")]
    assert any("standard on none" in getattr(block, "text", "") for block in trade_off_blocks(grid, PLANNED))


def test_the_share_of_a_seed_without_a_hit_is_that_of_the_means():
    grid = [cell("none", "head", target, 0.4, seed=seed) for seed, target in ((1, 0.8), (2, 0.0))]
    grid += [cell("tail", "head", target, 0.2, seed=seed) for seed, target in ((1, 0.4), (2, 0.2))]
    found = points(settings(grid))
    assert [point.kept["NDCG@10"] for point in found] == pytest.approx([1, 0.75])


def test_shares_of_an_undefended_target_without_a_hit_are_not_defined():
    grid = [cell(name, "head", 0.0, surrogate) for name, surrogate in (("none", 0.4), ("tail", 0.2))]
    found = points(settings(grid))
    assert not any(point.on_frontier for point in found)
    assert [row[1] for row in attackers_table(found)[1]] == ["n/a", "n/a"]
    assert all("nan" not in value for row in quality_table(found)[1] for value in row)
    blocks = [*trade_off_blocks(settings(grid))]
    assert not any(isinstance(block, Picture) for block in blocks)
    assert "n/a: the undefended target hits nothing" in blocks[0].caption
