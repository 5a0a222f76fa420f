import json
import math
from dataclasses import asdict
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import tensor

from recbole_gro import Service, create_defense, load_target
from recbole_gro.defense.defense_key import defense_key
from recbole_gro.defense.marks.marks import grow_marks
from recbole_gro.ownership import marks as marks_module
from recbole_gro.ownership.marks import _needed, gamma_tail, higher_shares, listed, wilson
from recbole_gro.ownership.method import NoVerdict, Probes, create_method

N_ITEMS = 61
CANDIDATES = torch.arange(1, N_ITEMS)


def owner_of(seed, method="aow", rows=4, length=6):
    """A model with marks of the key of a seed, among all other items."""
    config = {"seed": seed, "defense_key": "seed", "output_dir": None}

    def others(sequences):
        return torch.stack([tensor([item for item in range(1, N_ITEMS) if item not in row]) for row in sequences])

    marks = grow_marks(defense_key(config), method, list(range(1, rows + 1)), length, others)
    return SimpleNamespace(config=config, marks=marks.state(), model=SimpleNamespace(n_items=N_ITEMS))


def suspect(histories, k=N_ITEMS - 1, seed=0):
    """A list per history that depends on nothing of the owner: the same for the same history."""
    draws = [torch.Generator().manual_seed(hash((seed, *history)) % 2**31) for history in histories]
    return torch.stack([torch.randperm(N_ITEMS - 1, generator=draw)[:k] + 1 for draw in draws])


def verdict_on(owner, answer, method="aow", n=1000, **settings):
    method = create_method(method, settings)
    probes = method.probes(owner, {}, b"", n)
    return method.verdict(probes, answer(probes))


@pytest.mark.parametrize("method", ["aow", "injected"])
@pytest.mark.parametrize("k", [N_ITEMS - 1, 5])
def test_p_values_are_uniform_where_the_suspect_does_not_know_the_key(method, k):
    settings = {"injected_contexts": 2, "injected_context_items": 1} if method == "injected" else {}
    p_values = [
        verdict_on(owner_of(seed, method), lambda probes: suspect(probes.histories, k), method, **settings).p_value
        for seed in range(150)
    ]
    in_order = torch.tensor(p_values).sort().values
    distance = (in_order - (torch.arange(150) + 0.5) / 150).abs().max()
    assert distance < 1.63 / math.sqrt(150)  # Kolmogorov-Smirnov at 1 %
    assert len(set(p_values)) > 145


def test_p_values_are_uniform_for_a_suspect_that_serves_every_history_the_same_list():
    popular = torch.arange(1, 11)
    p_values = [
        verdict_on(owner_of(seed), lambda probes: popular.expand(len(probes.histories), -1)).p_value
        for seed in range(150)
    ]
    in_order = torch.tensor(p_values).sort().values
    assert (in_order - (torch.arange(150) + 0.5) / 150).abs().max() < 1.63 / math.sqrt(150)


def test_a_suspect_that_lists_every_marked_item_first_is_a_claim():
    verdict = verdict_on(owner_of(1), lambda probes: tensor(probes.expected["items"]).unsqueeze(1))
    assert verdict.is_claim
    assert verdict.p_value < 1e-10
    assert verdict.facts["listed"] == 1
    assert verdict.effect[0] == pytest.approx(100 * (1 - verdict.facts["listed_by_chance"]))


def test_a_claim_turns_where_the_sentence_says():
    def answer(hits):
        return lambda probes: tensor(probes.expected["items"]).unsqueeze(1) * (torch.arange(20) < hits).unsqueeze(1)

    sentences = [verdict_on(owner_of(1), answer(hits)) for hits in range(1, 21)]
    claims = [verdict.is_claim for verdict in sentences]
    assert claims == sorted(claims)
    assert {True, False} == set(claims)
    for verdict in sentences:
        words = verdict.turning_point.replace(",", "").split()
        assert (float(words[3]) >= float(words[-1])) == verdict.is_claim


def test_the_least_evidence_of_any_level_has_the_tail_of_that_level():
    for n, level in ((1, 0.5), (1, 1e-30), (3, 0.01), (40, 1e-12)):
        found = torch.tensor(_needed(n, level), dtype=torch.float64)
        assert gamma_tail(found, n) == pytest.approx(level, rel=1e-6)


def test_lists_after_random_items_are_put_together():
    probes = create_method("injected", {"injected_contexts": 3, "injected_context_items": 4}).probes(
        owner := owner_of(1, "injected", rows=2, length=3), {}, b"", 100
    )
    sequences = owner.marks["sequences"].tolist()
    assert len(probes.histories) == 2 * 2 * 3
    assert [history[4:] for history in probes.histories[::3]] == [row[:end] for row in sequences for end in (1, 2)]
    assert len({tuple(history[:4]) for history in probes.histories}) == 12
    assert probes.expected["items"] == [row[end] for row in sequences for end in (1, 2)]


def test_no_more_lists_than_the_budget_and_none_is_refused():
    method = create_method("injected", {"injected_contexts": 3})
    owner = owner_of(1, "injected")
    assert len(method.probes(owner, {}, b"", 10).histories) == 9
    with pytest.raises(NoVerdict, match=r"2 lists are too few: one test takes 3"):
        method.probes(owner, {}, b"", 2)


def test_a_model_without_marks_or_with_others_is_refused():
    with pytest.raises(NoVerdict, match="not trained with the defense injected"):
        create_method("injected", {}).probes(owner_of(1), {}, b"", 10)
    with pytest.raises(NoVerdict, match="not trained with the defense aow"):
        create_method("aow", {}).probes(SimpleNamespace(marks=None), {}, b"", 10)


def test_another_seed_than_the_marks_are_of_is_refused():
    owner = owner_of(1)
    owner.config["seed"] = 2
    with pytest.raises(NoVerdict, match="the key is not the one"):
        create_method("aow", {}).probes(owner, {}, b"", 10)


@pytest.mark.parametrize("in_file", [True, False])
def test_a_secret_key_is_read_from_the_file_or_the_variable_that_trained(in_file, tmp_path, monkeypatch):
    secret = {"defense_key": "secret", "seed": 1, "output_dir": str(tmp_path)}
    monkeypatch.delenv("RECBOLE_GRO_DEFENSE_KEY", raising=False)
    given = b"ab" * 32
    if in_file:
        defense_key(secret)
        given = (tmp_path / "defense.key").read_bytes()
    else:
        monkeypatch.setenv("RECBOLE_GRO_DEFENSE_KEY", given.decode())
    owner = owner_of(1)
    owner.config = secret
    owner.marks = grow_marks(defense_key(secret), "aow", [1, 2], 3, lambda rows: CANDIDATES[9:].expand(2, -1)).state()
    method = create_method("aow", {})
    assert len(method.probes(owner, {}, given, 100).histories) == 4
    with pytest.raises(NoVerdict, match="the key is not the one"):
        method.probes(owner, {}, b"cd" * 32, 100)


def test_probes_are_plain_json_and_the_verdict_is_a_function_of_them():
    method = create_method("injected", {})
    probes = method.probes(owner_of(1, "injected"), {}, b"", 1000)
    lists = suspect(probes.histories, 10)
    again = Probes(**json.loads(json.dumps(asdict(probes))))
    assert method.verdict(again, lists) == method.verdict(probes, lists)
    assert json.loads(json.dumps(asdict(method.verdict(probes, lists))))["p_value"] > 0


def test_shares_of_candidates_that_rank_higher():
    items, candidates = tensor([3, 3, 3, 9]), tensor([[1, 2, 3, 4], [1, 2, 3, 4], [1, 2, 3, 0], [9, 1, 2, 3]])
    lists = tensor([[[8, 3, 1]], [[1, 2, 3]], [[1, 0, 0]], [[7, 8, 1]]])
    ties = torch.full((4,), 0.5, dtype=torch.float64)
    # first of four; third of four; one of two that are not listed, below one of three; one of three below one of four
    assert higher_shares(items, candidates, lists, ties).tolist() == [0.125, 0.625, (1 + 1) / 3, (1 + 1.5) / 4]


def test_ranks_in_several_lists_add_up():
    lists = tensor([[[1, 3, 0], [2, 3, 0]]])  # two second places beat one first place
    share = higher_shares(tensor([3]), tensor([[1, 2, 3]]), lists, torch.zeros(1, dtype=torch.float64))
    assert share.tolist() == [1 / 3]


@pytest.mark.parametrize("n_lists", [1, 3])
def test_sums_in_blocks_of_rows_give_the_shares_of_one_table(monkeypatch, n_lists):
    draw = torch.Generator().manual_seed(n_lists)
    candidates = torch.stack([torch.randperm(29, generator=draw)[:8] + 1 for _ in range(20)])
    candidates[::3, 5:] = 0
    items, ties = candidates[:, 2], torch.rand(20, generator=draw, dtype=torch.float64)
    lists = torch.stack([torch.randperm(30, generator=draw)[:10] for _ in range(20 * n_lists)]).view(20, n_lists, 10)
    sums = torch.zeros(20, 30, dtype=torch.float64)
    for row, listed_there in enumerate(lists.tolist()):
        for one in listed_there:
            for rank, item in enumerate(one, start=1):
                sums[row, item] += 1 / math.log2(1 + rank)
    others, own = sums.float().gather(1, candidates), sums.float().gather(1, items.unsqueeze(1))
    real = candidates != 0
    expected = (((others > own) & real).sum(1) + (1 - ties) * ((others == own) & real).sum(1)) / real.sum(1)
    sizes, zeros = [], torch.zeros

    def noted(*size, **options):
        sizes.append(math.prod(size))
        return zeros(*size, **options)

    monkeypatch.setattr(torch, "zeros", noted)
    for most, n_blocks in ((90, 7), (29, 20), (10**6, 1)):  # three rows, one at least, all
        monkeypatch.setattr(marks_module, "MOST_SUMS", most)
        sizes.clear()
        assert torch.equal(higher_shares(items, candidates, lists, ties), expected)
        assert len(sizes) == n_blocks
        assert max(sizes) <= max(most, 30)


def test_shares_of_lists_with_the_item_and_with_any_candidate():
    lists = tensor([[[1, 3, 0], [2, 5, 0]], [[4, 1, 2], [7, 8, 9]]])
    found, chance = listed(tensor([3, 7]), tensor([[1, 3, 0], [7, 8, 6]]), lists)
    assert found.tolist() == [0.5, 0.5]
    assert chance.tolist() == pytest.approx([2 / 4, 2 / 6])


@pytest.mark.parametrize(
    ("n", "all_listed", "low", "high"),
    [(190, False, 0, 3.8416 / 193.8416), (190, True, 190 / 193.8416, 1), (20, False, 0, 3.8416 / 23.8416)],
)
def test_an_interval_has_a_width_where_none_or_all_are_listed(n, all_listed, low, high):
    owner = owner_of(1, rows=n // 5, length=6)

    def answer(probes):
        items, others = tensor(probes.expected["items"]).unsqueeze(1), torch.zeros(n, 1, dtype=torch.long)
        others[0] = next(item for item in probes.expected["candidates"][0] if item != items[0])
        return items if all_listed else others

    effect, *ends = verdict_on(owner, answer).effect
    chance = sum(1 / (N_ITEMS - 1 - place) for place in range(1, 6)) / 5 if all_listed else 1 / (N_ITEMS - 2) / n
    assert effect == pytest.approx(100 * (all_listed - chance))
    assert ends == pytest.approx([100 * (low - chance), 100 * (high - chance)])


def test_an_outcome_that_chance_often_gives_is_in_the_interval():
    low, high = wilson(0, 190)
    assert [100 * (end - 2.63 / 190) for end in (0, low, high)] == pytest.approx([-1.4, -1.4, 0.6], abs=0.03)


@given(st.integers(1, 3000), st.data())
def test_an_interval_holds_its_share(n, data):
    share = data.draw(st.integers(0, n)) / n
    low, high = wilson(share, n)
    assert 0 <= low <= share <= high <= 1
    assert low < high


@pytest.mark.parametrize("share", [0.014, 0.05, 0.3, 0.5, 0.95, 0.99])
@pytest.mark.parametrize("contexts", [1, 10])
def test_intervals_cover_the_mean_of_unequal_chances(share, contexts):
    draws = np.random.default_rng(7)
    chances = draws.beta(4 * share, 4 * (1 - share), 190)
    found = draws.binomial(contexts, chances, (2000, 190)).mean(1) / contexts
    covered = [low <= chances.mean() <= high for low, high in (wilson(each, 190) for each in found)]
    assert np.mean(covered) >= 0.94


def test_the_tail_of_the_gamma_distribution_is_that_of_exponential_variables():
    assert gamma_tail(tensor(2.0), 1) == pytest.approx(math.exp(-2))
    assert gamma_tail(tensor(3.0), 2) == pytest.approx(math.exp(-3) * (1 + 3))


@pytest.mark.parametrize(("method", "settings"), [
    ("aow", {"aow_sequences": 4, "aow_length": 6, "aow_lowest": 15, "aow_epochs": 20, "aow_learning_rate": 0.01}),
    ("injected", {"injected_runs": 6, "injected_share": 1.0, "injected_pool": 14, "epochs": 40, "stopping_step": 40}),
])  # fmt: skip
def test_a_marked_model_is_a_claim_and_an_unmarked_one_is_not(method, settings, make_loaders, make_model, tmp_path):
    config, train, valid, _ = make_loaders(
        "SASRec", **settings, output_dir=str(tmp_path), learning_rate=0.01, hidden_dropout_prob=0.0, eval_step=20
    )
    create_defense(method, config).protect(make_model("SASRec"), train, valid)
    owner = load_target(tmp_path / f"target-{method}.pth")
    other = make_model("SASRec")

    def verdict(model):
        return verdict_on(owner, lambda probes: Service(model, 5).recommend(probes.histories), method)

    assert verdict(owner.model).is_claim
    if method == "injected":
        assert not verdict(other).is_claim
    else:  # none of the items that the owner's model ranks lowest is among the first of another one
        with pytest.raises(NoVerdict, match="the suspect lists none of the items among which the key chose"):
            verdict(other)


def test_too_few_marked_items_for_the_level_are_no_verdict_before_the_suspect_is_queried():
    method = create_method("aow", {"level": 1e-6})
    with pytest.raises(
        NoVerdict, match=r"no suspect could be claimed: 1 marked items give a p-value of .* raise probes"
    ):
        method.probes(owner_of(1), {}, b"", 1)
    assert len(method.probes(owner_of(1), {}, b"", 10).histories) == 10


def test_a_suspect_that_lists_no_candidate_is_no_verdict():
    """What it lists does not depend on the key, and the ties alone would decide."""
    with pytest.raises(NoVerdict, match="lists none of the items among which the key chose the 20 marked ones"):
        verdict_on(owner_of(1), lambda probes: torch.zeros(len(probes.histories), 3, dtype=torch.long))
