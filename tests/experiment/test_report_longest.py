"""What a tail defense costs users: the target's NDCG at the longest cut-off, in the tables of a report."""

import numpy as np
import pytest
from experiment.synthetic import experiment_of, grid

from recbole_gro.evaluator.ranks import ndcg
from recbole_gro.experiment.report import comparison_table, results_table
from recbole_gro.experiment.summary import gather, longest_k


def decoyed():
    """Return plan and settings of a defense that keeps the first 10 places and empties the others."""
    plan = experiment_of({"defense": ["none", "tail_decoy"]}, figure="defense")
    cells = grid(plan, served_k=50)
    undefended = {one.seed: one.target_ranks for one in cells if one.values["defense"] == "none"}
    for one in cells:
        ranks = undefended[one.seed]
        one.target_ranks = np.where(ranks <= 10, ranks, 0) if one.values["defense"] == "tail_decoy" else ranks
    return plan, gather(plan, cells)


def test_the_results_table_shows_what_a_tail_defense_costs():
    plan, settings = decoyed()
    table = results_table(plan, settings, 10)
    none, decoy, *_, popularity = [dict(zip(table.head, row, strict=True)) for row in table.rows]
    assert table.head.index("target NDCG@50") == table.head.index("target NDCG@10") + 1
    assert none["target NDCG@10"] == decoy["target NDCG@10"]
    for row, setting in ((none, settings[0]), (decoy, settings[1])):
        by_seed = [100 * ndcg(one.target_ranks, 50).mean() for one in setting.cells]
        assert row["target NDCG@50"] == f"{np.mean(by_seed):.2f} ± {np.std(by_seed, ddof=1):.2f}"
    assert float(decoy["target NDCG@50"].split()[0]) < float(none["target NDCG@50"].split()[0])
    assert popularity["target NDCG@50"]
    assert "NDCG@50 of the target: what users pay for a defense that changes lists below 10." in table.caption


def test_paired_comparisons_show_it_on_the_targets_side():
    plan, settings = decoyed()
    table = comparison_table(plan, settings, 10)
    target, surrogate, both = [dict(zip(table.head, row, strict=True)) for row in table.rows]
    pairs = zip(settings[1].cells, settings[0].cells, strict=True)
    cost = np.mean([ndcg(one.target_ranks, 50).mean() - ndcg(other.target_ranks, 50).mean() for one, other in pairs])
    assert target["NDCG@50 difference"].startswith(f"{100 * cost:+.2f} [-")
    assert target["NDCG@10 difference"].startswith("+0.00")
    assert surrogate["NDCG@50 difference"] == both["NDCG@50 difference"] == ""
    assert "NDCG@50: of the target alone" in table.caption


@pytest.mark.parametrize(
    ("served_k", "topk", "k", "longest"),
    [
        (100, None, 10, 100),
        (50, None, 10, 50),
        (30, None, 10, 20),
        (30, [5, 30], 10, 30),
        (30, 25, 10, 25),
        (10, None, 10, None),
        (5, None, 5, None),
    ],
)
def test_the_longest_cut_off_is_the_last_of_the_csv_that_every_list_has(served_k, topk, k, longest):
    plan = experiment_of({"defense": ["none", "gro"]})
    plan.fixed |= {"topk": topk} if topk else {}
    settings = gather(plan, grid(plan, users=50, served_k=served_k))
    assert longest_k(plan, settings, k) == longest
    heads = [*results_table(plan, settings, k).head, *comparison_table(plan, settings, k).head]
    assert (f"target NDCG@{longest}" in heads) == bool(longest)
    assert any(name.endswith(f"@{longest} difference") for name in heads) == bool(longest)


def test_lists_of_different_length_share_the_shortest_ones_cut_off():
    plan = experiment_of({"served_k": [20, 100]})
    settings = gather(plan, grid(plan, users=50))
    for cell in settings[0].cells:
        cell.facts = {**cell.facts, "served_k": 20}
    assert longest_k(plan, settings, 10) == 20
