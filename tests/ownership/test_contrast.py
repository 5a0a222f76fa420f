import re

import numpy as np
import pytest
import torch
from ownership.runs import trained
from scipy import stats

from recbole_gro.ownership import contrast
from recbole_gro.ownership.contrast import Contrast, draw_windows
from recbole_gro.ownership.method import NoVerdict, Probes
from recbole_gro.serving.saved_target import load_target
from recbole_gro.utils.errors import UserError

KEY = b"0123456789abcdef"


def judged(generated_hits, user_hits, **settings):
    """The verdict where the suspect lists so many of the owner's 10 items, per probe of each kind; None: no list."""
    hits = [count for pair in zip(generated_hits, user_hits, strict=True) for count in pair]
    own = [list(range(1, 11)) for _ in hits]
    lists = torch.tensor(
        [[0] * 10 if count is None else [*range(1, count + 1), *range(20, 30 - count)] for count in hits]
    )
    probes = Probes([[1]] * len(hits), {"lists": own, "generated": [number % 2 == 0 for number in range(len(hits))]})
    return Contrast({"permutations": 999, **settings}).verdict(probes, lists)


def test_more_agreement_on_generated_histories_is_claimed():
    verdict = judged([8, 7, 9, 8] * 10, [4, 5, 3, 4] * 10)
    assert verdict.p_value == 0.001
    assert verdict.effect[0] == pytest.approx(0.4)
    assert not judged([4, 5, 3, 4] * 10, [8, 7, 9, 8] * 10).is_claim


def test_an_excess_within_the_margin_is_not_claimed():
    generated, users = [8, 7, 9, 8] * 10, [7, 6, 8, 7] * 10
    assert judged(generated, users, margin=0).is_claim
    assert not judged(generated, users, margin=0.1).is_claim


@pytest.mark.parametrize("margin", [0.0, 0.1])
def test_the_turning_point_is_the_margin_and_what_chance_gives_at_the_level(margin):
    generated, users = [8, 7, 9, 8] * 10, [4, 5, 3, 4] * 10
    error = ((0.5 / 39 * 40 + 0.5 / 39 * 40) / 100 / 40) ** 0.5  # both have a variance of 0.5 of 10 items
    needed = margin + stats.norm.isf(0.01) * error
    verdict = judged(generated, users, margin=margin, level=0.01)
    expected = f"a difference of about {needed:.3f}, in place of 0.400, is where a claim begins"
    assert verdict.turning_point == expected


def test_p_values_are_uniform_where_both_kinds_are_alike():
    draw = np.random.default_rng(1)
    p_values = [judged(*draw.integers(0, 11, (2, 30)).tolist(), margin=0, permutations=199).p_value for _ in range(150)]
    assert stats.kstest(p_values, "uniform").pvalue > 0.05


def test_probes_without_a_list_are_left_out_and_counted_per_kind():
    generated, users = [5, 4, 6, 5] * 25, [4, 5, 5, 6] * 25
    verdict = judged([*generated[:97], *[None] * 3], [*users[:94], *[None] * 6])
    assert not verdict.is_claim
    assert (verdict.facts["without a list generated"], verdict.facts["without a list users"]) == (3, 6)
    assert verdict.facts["agreement@10 generated"] == pytest.approx(np.mean(generated[:97]) / 10)
    assert verdict.facts["agreement@10 users"] == pytest.approx(np.mean(users[:94]) / 10)


@pytest.mark.parametrize("more", ["generated", "users"])
def test_where_one_kind_is_refused_more_often_there_is_no_verdict(more):
    answered, refused = [5, 4, 6, 5] * 25, [5, 4, 6, 5] * 23 + [None] * 8
    reason = {
        "generated": "gave no list for 8 of 100 generated histories, and for 0 of 100 users' histories, which is no",
        "users": "gave no list for 0 of 100 generated histories, and for 8 of 100 users' histories, which is no chance",
    }
    with pytest.raises(NoVerdict, match=reason[more]):
        judged(*((refused, answered) if more == "generated" else (answered, refused)))


def test_without_lists_of_both_kinds_there_is_no_verdict():
    with pytest.raises(NoVerdict, match="too few probes: the permutation test needs two of each kind with a list"):
        judged([None] * 20, [None] * 20)


def test_probes_alternate_between_generated_and_users_histories(make_loaders, tiny_data_path, tmp_path):
    owner = load_target(trained(make_loaders, tmp_path), data_path=str(tiny_data_path))
    method = Contrast({})
    try:
        probes = method.probes(owner, {}, KEY, 21)
    except NoVerdict as reason:
        pytest.fail(f"the tiny data have long histories: {reason}")
    assert probes == method.probes(owner, {}, KEY, 21)
    assert len(probes.histories) == len(probes.expected["generated"]) == 21
    assert [len(row) for row in probes.histories[0:20:2]] == [len(row) for row in probes.histories[1:20:2]]
    frame = owner.dataset.inter_feat.sort_values("timestamp", kind="stable")
    users = [",".join(map(str, items)) for items in frame.groupby("user_id")["item_id"].agg(list)]
    for row in probes.histories[1::2]:
        assert any(",".join(map(str, row)) in user for user in users)


def numbered(n_users, n_items=12):
    """Histories of items that tell the user and the place: item 100 * user + place."""
    return [[100 * user + place for place in range(n_items)] for user in range(1, n_users + 1)]


def test_each_user_gives_one_window_before_any_gives_a_second():
    windows = draw_windows(numbered(30), [4] * 60, torch.Generator().manual_seed(1))
    users = [window[0] // 100 for window in windows]
    assert sorted(users[:30]) == sorted(users[30:]) == list(range(1, 31))
    assert users[:30] != sorted(users[:30])


def test_windows_of_a_user_do_not_overlap_and_are_of_the_wanted_lengths():
    users = numbered(5, 99)
    lengths = [3, 10, 7, 4, 9, 6, 8] * 5
    windows = draw_windows(users, lengths, torch.Generator().manual_seed(1))
    assert [len(window) for window in windows] == lengths
    items = [item for window in windows for item in window]
    assert len(items) == len({*items})
    assert all(window == list(range(window[0], window[0] + len(window))) for window in windows)
    assert windows == draw_windows(users, lengths, torch.Generator().manual_seed(1))


def test_where_histories_hold_fewer_different_windows_there_is_no_verdict():
    draw = torch.Generator().manual_seed(1)
    assert len(draw_windows(numbered(3), [4] * 3, draw)) == 3
    reason = "too few users' histories: 3 users of 10 items or more gave 3 different windows, and the probes take 4"
    with pytest.raises(NoVerdict, match=reason):
        draw_windows(numbered(3, 10), [8] * 4, draw)
    with pytest.raises(NoVerdict, match="2 users of 10 items or more gave 1 different windows, and the probes take 2"):
        draw_windows([[1] * 10] * 2, [10] * 2, draw)  # equal ones of two users are one


def test_no_history_comes_twice(make_loaders, tiny_data_path, tmp_path):
    owner = load_target(trained(make_loaders, tmp_path), data_path=str(tiny_data_path))
    rows = [tuple(row) for row in Contrast({}).probes(owner, {}, KEY, 60).histories]
    for kind in (rows[::2], rows[1::2]):
        assert len({*kind}) == len(kind) == 30
    with pytest.raises(NoVerdict, match=r"too few users' histories: .* and the probes take 2,500; lower probes"):
        Contrast({}).probes(owner, {}, KEY, 5000)


def test_generated_histories_that_a_small_catalogue_repeats_are_no_verdict(monkeypatch):
    monkeypatch.setattr(contrast, "draw_windows", lambda users, lengths, draw: [[1]] * len(lengths))
    monkeypatch.setattr(contrast, "_histories", lambda owner: [])
    monkeypatch.setattr(contrast, "generate_histories", lambda _, lengths, draw: torch.ones(len(lengths), 10).long())
    with pytest.raises(
        NoVerdict, match=r"too few items: \d different histories could be generated, and the probes take"
    ):
        Contrast({}).probes(None, {}, KEY, 100)


def test_without_histories_data_path_is_named(make_loaders, tmp_path):
    owner = load_target(trained(make_loaders, tmp_path))
    with pytest.raises(UserError, match=r"data_path: not set; the method contrast reads .* that holds tiny/$"):
        Contrast({}).probes(owner, {}, KEY, 10)


def test_histories_of_other_data_than_those_of_the_training_are_refused(make_loaders, tmp_path, other_data):
    owner = load_target(trained(make_loaders, tmp_path), data_path=str(other_data))
    message = f"data_path: tiny in {other_data / 'tiny'} is not the data that the owner's model was trained on, by the "
    with pytest.raises(UserError, match=re.escape(message)):
        Contrast({}).check_owner(owner)


def test_without_whole_histories_there_is_no_verdict(make_loaders, tmp_path, tiny_data_path):
    owner = load_target(trained(make_loaders, tmp_path), data_path=str(tiny_data_path))
    owner.dataset.config["benchmark_filename"] = ["train", "valid", "test"]
    with pytest.raises(NoVerdict, match="needs whole histories"):
        Contrast({}).probes(owner, {}, KEY, 10)


def test_the_interval_of_shares_that_do_not_vary_has_a_width_that_falls_with_probes():
    verdicts = [judged([5] * n, [5] * n) for n in (20, 200)]
    assert [verdict.effect[0] for verdict in verdicts] == [0, 0]
    few, many = (verdict.effect[2] for verdict in verdicts)
    assert few == pytest.approx(2**0.5 * (1 - 0.025 ** (1 / 20)))
    assert 0 < many < few / 5


@pytest.mark.parametrize(
    ("generated", "users", "settings", "reason"),
    [
        ([10] * 20, [10] * 20, {}, "its lists agree with the owner's in 100 % of the items on users' histories"),
        ([10] * 20, [9] * 20, {"margin": 0.2}, "its lists agree with the owner's in 90 % of the items on users'"),
        (
            [9] * 20,
            [1] * 20,
            {"permutations": 99, "level": 0.001},
            "the lowest possible p-value is 0.01, and the level",
        ),
        ([9] * 3, [1] * 3, {}, "the lowest possible p-value is 0.05, and the level 0.01; raise probes or permutations"),
        ([0] * 20, [0] * 20, {}, "the suspect lists no item of the owner's lists"),
    ],
)
def test_where_no_suspect_could_be_claimed_there_is_no_verdict(generated, users, settings, reason):
    with pytest.raises(NoVerdict, match=reason):
        judged(generated, users, **settings)
