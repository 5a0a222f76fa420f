import numpy as np
import pytest
import torch
from ownership.candidates import N_ITEMS, Table, references
from scipy import stats

from recbole_gro.ownership.fingerprint import LENGTHS, DistinctiveItems, distinctive_hits, generate_histories
from recbole_gro.ownership.method import NoVerdict, Probes

KEY = b"0123456789abcdef"


def judged(method, owner, suspect, others, n=150, key=KEY):
    probes = method.probes(owner, others, key, n)
    histories = torch.nn.utils.rnn.pad_sequence([torch.tensor(row) for row in probes.histories], batch_first=True)
    return method.verdict(probes, suspect.recommend(histories, 10))


@pytest.fixture(scope="module")
def owner():
    return Table(1)


def test_distinctive_items_are_those_that_one_candidate_alone_lists():
    candidates = torch.tensor([[[1, 2, 3]], [[1, 2, 4]], [[1, 5, 4]]])
    hits, totals = distinctive_hits(candidates, torch.tensor([[3, 5, 0, 9]]))
    assert totals.tolist() == [[1], [0], [1]]  # 3 and 5; 1, 2 and 4 are in two lists or more
    assert hits.tolist() == [[1], [0], [1]]


def test_items_below_the_compared_ones_do_not_count():
    hits, _ = distinctive_hits(torch.tensor([[[1, 2]], [[3, 4]]]), torch.tensor([[9, 8, 1, 2]]))
    assert hits.tolist() == [[0], [0]]


def test_zero_that_pads_lists_is_no_item():
    hits, totals = distinctive_hits(torch.tensor([[[1, 0]], [[2, 3]]]), torch.tensor([[0, 1]]))
    assert hits.tolist() == [[1], [0]]
    assert totals.tolist() == [[1], [2]]


def test_a_copy_is_claimed_and_an_independent_model_is_not(owner):
    method, others = DistinctiveItems({}), references(8)
    copy = judged(method, owner, owner.copy(), others)
    assert copy.is_claim
    assert copy.p_value < 1e-4
    assert copy.effect[1] > 0.2
    for seed in range(301, 306):
        independent = judged(method, owner, Table(seed), others)
        assert not independent.is_claim
        assert independent.effect[1] < 0 < independent.effect[2]


def test_a_copy_of_a_reference_is_no_copy_of_the_owner(owner):
    others = references(8)
    assert not judged(DistinctiveItems({}), owner, others["seed 103"].copy(), others).is_claim


def test_the_p_value_is_that_of_one_more_draw_from_the_references():
    shares = [0.5, 0.1, 0.2, 0.15]
    p_value, excess, error = DistinctiveItems({"margin": 0}).tested(shares)
    assert excess == pytest.approx(0.35)
    assert error == pytest.approx(0.05 * np.sqrt(4 / 3))
    assert p_value == pytest.approx(stats.t.sf(0.35 / (0.05 * np.sqrt(4 / 3)), 2))


def test_p_values_are_uniform_where_the_suspect_is_independent():
    """Every suspect is new, and so is every model of the line-up: the unit is the model."""
    method = DistinctiveItems({"margin": 0, "min_references": 4})
    p_values = []
    for trial in range(150):
        first = 1000 + 10 * trial
        models = references(5, first)
        owner = models.pop(f"seed {first}")
        p_values.append(judged(method, owner, Table(first + 9, noise=0.2 + trial % 3), models, 40).p_value)
    assert stats.kstest(p_values, "uniform").pvalue > 0.05
    assert 0.01 < np.mean(np.array(p_values) <= 0.05) < 0.1


def test_probes_alone_do_not_replace_references(owner):
    """Ten times the probes leave the uncertainty of three references about as it is."""
    method, others = DistinctiveItems({"min_references": 3}), references(3)
    few, many = (judged(method, owner, owner.copy(), others, n) for n in (100, 1000))
    widths = [verdict.effect[2] - verdict.effect[1] for verdict in (few, many)]
    assert widths[1] > widths[0] / 3


def test_the_turning_point_is_where_the_verdict_turns(owner):
    method = DistinctiveItems({})
    verdict = judged(method, owner, owner.copy(1.5), references(8))
    shares = list(verdict.facts["reference_shares"].values())
    needed = verdict.facts["share_needed"]
    assert method.tested([needed, *shares])[0] == pytest.approx(method.settings["level"])
    assert f"{100 * needed:.1f} %" in verdict.turning_point


def test_probes_needed_are_the_least_that_claim_from_there_on(owner):
    verdict = judged(DistinctiveItems({}), owner, owner.copy(), references(8), 200)
    assert verdict.facts["probes_needed"] in (10, 20, 50, 100)
    assert judged(DistinctiveItems({}), owner, Table(301), references(8), 200).facts["probes_needed"] is None


def test_probes_are_secret_and_repeat_for_the_same_key(owner):
    method, others = DistinctiveItems({}), references(5)
    probes = method.probes(owner, others, KEY, 50)
    assert probes == method.probes(owner, others, KEY, 50)
    assert probes.histories != method.probes(owner, others, KEY[::-1], 50).histories
    assert {len(row) for row in probes.histories} <= set(LENGTHS)
    assert all(0 < item < N_ITEMS for row in probes.histories for item in row)
    assert list(probes.expected["lists"]) == ["owner", *others]


def test_each_next_item_is_drawn_from_the_first_quarter_of_a_list(owner):
    draw = torch.Generator().manual_seed(1)
    histories = generate_histories([owner], torch.full((200,), LENGTHS.stop - 1), draw)
    whole = owner.recommend(histories[:, :1], N_ITEMS - 1)
    places = (whole == histories[:, 1:2]).int().argmax(1)
    assert set(places.tolist()) == set(range(N_ITEMS // 4))


def test_histories_single_out_no_candidate(owner):
    """The order of the candidates is all that tells them apart: each next item is of a list of any of them."""
    others = references(5)
    probes = DistinctiveItems({}).probes(owner, others, KEY, 400)
    follows = [
        np.mean([row[1] in owner.recommend([row[:1]], 10)[0] for row in probes.histories])
        for owner in (owner, *others.values())
    ]
    assert max(follows) - min(follows) < 0.15


@pytest.mark.parametrize(("n", "message"), [(0, "too few reference models: 0"), (4, "too few reference models: 4")])
def test_too_few_references_are_refused(owner, n, message):
    with pytest.raises(NoVerdict, match=message):
        DistinctiveItems({}).probes(owner, references(n), KEY, 10)


def test_references_that_equal_the_owner_are_refused(owner):
    method = DistinctiveItems({})
    probes = method.probes(owner, {f"{n}": owner for n in range(5)}, KEY, 10)
    with pytest.raises(NoVerdict, match="no item is distinctive"):
        method.verdict(probes, torch.ones(10, 10, dtype=torch.long))


def test_the_verdict_reads_nothing_but_its_arguments(owner):
    method, others = DistinctiveItems({}), references(5)
    probes = method.probes(owner, others, KEY, 60)
    lists = torch.tensor(probes.expected["lists"]["owner"])
    again = DistinctiveItems({}).verdict(Probes(probes.histories, probes.expected), lists)
    assert again == method.verdict(probes, lists)
    assert again.facts["share"] == 1


def apart(n):
    """Lists of an owner's model and five references for n probes, five items each, which are all distinctive."""
    names = ["owner", *map(str, range(1, 6))]
    return {name: [list(range(5 * place + 1, 5 * place + 6)) for _ in range(n)] for place, name in enumerate(names)}


def test_one_item_of_the_owners_in_few_probes_is_no_evidence():
    """The references' shares are all 0, which says little of how they vary over seeds."""
    method, lists = DistinctiveItems({}), torch.tensor([[1], *[[50]] * 3])
    error = 0.05 / np.sqrt(5) * np.sqrt(1.2)
    verdict = method.verdict(Probes([[1]] * 4, {"lists": apart(4)}), lists)
    assert verdict.p_value == pytest.approx(stats.t.sf((0.05 - 0.05) / error, 4))
    assert (verdict.is_claim, verdict.facts["probes_needed"]) == (False, None)
    assert verdict.effect[1] < 0.05 == pytest.approx(verdict.effect[2])  # one more reference's share is at least 0


def test_fewer_than_twenty_distinctive_items_of_a_model_are_no_verdict():
    suspect = torch.tensor([[1, 2, 3, 4, 5]] * 4)
    assert DistinctiveItems({}).verdict(Probes([[1]] * 4, {"lists": apart(4)}), suspect).is_claim
    few = apart(4)
    few["2"][3] = few["3"][3]  # which makes these items distinctive of neither
    for lists, which in ((apart(3), "15 of the owner's model"), (few, "15 of 2")):
        n = len(lists["owner"])
        reason = f"too few distinctive items: {which}, where each model needs 20; use more probes than {n}"
        with pytest.raises(NoVerdict, match=reason):
            DistinctiveItems({}).verdict(Probes([[1]] * n, {"lists": lists}), suspect[:n])


def test_probes_needed_give_twenty_distinctive_items_of_each_model():
    """Ten probes of one distinctive item each would bear no verdict of their own."""
    lists = {name: [row[:1] for row in rows] for name, rows in apart(50).items()}
    verdict = DistinctiveItems({}).verdict(Probes([[1]] * 50, {"lists": lists}), torch.tensor(lists["owner"]))
    assert verdict.facts["probes_needed"] == 20


def test_the_owners_model_itself_is_claimed(owner):
    """It lists no distinctive item of a reference by definition."""
    verdict = judged(DistinctiveItems({}), owner, owner, references(8))
    assert set(verdict.facts["reference_shares"].values()) == {0}
    assert 0 < verdict.p_value < 1e-9


@pytest.mark.parametrize(("listed", "effect"), [(range(1, 6), (1, None, 1)), (range(6, 11), (-0.2, -1, None))])
def test_the_interval_of_the_effect_holds_possible_differences_of_shares_alone(listed, effect):
    suspect = torch.tensor([list(listed)] * 4)
    found = DistinctiveItems({}).verdict(Probes([[1]] * 4, {"lists": apart(4)}), suspect).effect
    for end, expected in zip(found, effect, strict=True):
        assert expected is None or end == pytest.approx(expected)
    assert found[1] <= found[0] <= found[2]


def test_a_suspect_that_lists_no_distinctive_item_is_no_evidence():
    assert DistinctiveItems({"margin": 0}).tested([0.0] * 6) == (0.5, 0.0, 0.0)
    assert DistinctiveItems({"margin": 0}).tested([0.1, *[0.0] * 5])[0] == 0
    assert DistinctiveItems({"margin": 0}).tested([0.0, *[0.1] * 5])[0] == 1


def test_a_suspect_without_distinctive_items_is_no_verdict_and_their_number_is_named(owner):
    """As a copy of lists in which a defense replaced these items, or a popularity list."""
    method, others = DistinctiveItems({}), references(5)
    probes = method.probes(owner, others, KEY, 60)
    _, totals = distinctive_hits(torch.tensor(list(probes.expected["lists"].values())), torch.zeros(60, 1).long())
    nothing = torch.zeros(60, 10, dtype=torch.long)
    with pytest.raises(NoVerdict, match=f"no distinctive item of any model, of the owner's none of {totals[0].sum()}"):
        method.verdict(probes, nothing)
    assert not method.measured(probes, nothing).is_claim
    listed = method.verdict(probes, torch.tensor(probes.expected["lists"]["seed 101"]))
    assert listed.facts["distinctive_items"] == int(totals[0].sum())


def test_lists_too_short_for_a_claim_are_no_verdict(owner):
    """Of ten distinctive items a list of one holds one, less than a claim needs."""
    lists = {"owner": [list(range(1, 11))] * 20}
    lists |= {f"{n}": [list(range(10 * n + 1, 10 * n + 11))] * 20 for n in range(1, 6)}
    suspect = torch.tensor([[1]] * 20)
    reason = (
        "no suspect could be claimed: lists of 1 hold at most 10 % of the owner's 200 distinctive items, which gives"
    )
    with pytest.raises(NoVerdict, match=reason):
        DistinctiveItems({"margin": 0.1}).verdict(Probes([[1]] * 20, {"lists": lists}), suspect)
    assert DistinctiveItems({}).verdict(Probes([[1]] * 20, {"lists": lists}), suspect).is_claim
