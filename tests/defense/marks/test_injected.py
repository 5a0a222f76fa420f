from collections import Counter

import pytest
import torch
from defense.cases import DefenseCases

from recbole_gro import UserError, create_defense, load_target
from recbole_gro.data import build_dataset, build_loaders
from recbole_gro.defense.marks.injected import _trained, insert_runs, unpopular_runs
from recbole_gro.defense.marks.settings import InjectedSettings

SMALL = {"injected_runs": 3, "injected_length": 3, "injected_share": 0.1, "injected_pool": 12}
KEY = b"k" * 32


class InjectedCases(DefenseCases):
    name = "injected"

    @pytest.fixture(autouse=True)
    def _small(self, _tiny_target):
        for name, value in SMALL.items():
            self.config[name] = value


class TestInjected(InjectedCases):
    pass


class TestInjectedInSequences(InjectedCases):
    target = "SASRec"


class TestInjectedInPrefixes(InjectedCases):
    target = "NARM"


def runs_of(counts=None, key=KEY, **settings):
    counts = torch.arange(31).flip(0) if counts is None else counts
    return unpopular_runs(counts, key, InjectedSettings.of(SMALL | settings))


def test_runs_hold_different_items_with_the_fewest_interactions():
    runs = runs_of().sequences.tolist()
    assert len({run[0] for run in runs}) == 3
    for run in runs:
        assert len(set(run)) == 3
        assert set(run) <= set(range(19, 31))


def test_candidates_are_the_other_items_of_the_pool():
    marks = runs_of()
    for run, rows in zip(marks.sequences.tolist(), marks.candidates.tolist(), strict=True):
        assert [set(row) - {0} for row in rows] == [set(range(19, 31)) - set(run[:place]) for place in (1, 2)]


@pytest.mark.parametrize("settings", [{"injected_pool": 3}, {"injected_runs": 12}])
def test_a_pool_without_a_choice_is_refused(settings):
    with pytest.raises(UserError, match=r"injected_pool: .* items are too few"):
        runs_of(**settings)


def histories(dataset):
    """Each user's items in the order of the built dataset."""
    built = dataset.build()[0].history
    users, items = built[dataset.uid_field].tolist(), built[dataset.iid_field].tolist()
    return {user: [item for owner, item in zip(users, items, strict=True) if owner == user] for user in set(users)}


def trained_of(plain):
    """Return the training interactions of each user with leave-one-out."""
    return torch.tensor([max(0, len(plain.get(user, [])) - 2) for user in range(max(plain) + 1)])


@pytest.mark.parametrize(
    "split",
    [{"split": {"RS": [0.5, 0.25, 0.25]}}, {"split": {"RS": [0.8, 0.1, 0.1]}, "group_by": "none"},
     {"split": {"TS": [0.8, 0.1, 0.1]}}, {"split": {"RS": [0.34, 0.33, 0.33]}}],
    ids=str,
)  # fmt: skip
def test_every_split_trains_on_all_runs(write_dataset, make_config, split):
    draw = torch.Generator().manual_seed(2)
    rows = {f"u{user}": [(f"i{item}", 40 * user + n) for n, item in enumerate(torch.randint(40, (25,), generator=draw))]
            for user in range(60)}  # fmt: skip
    config = make_config("GRU4Rec", data_path=str(write_dataset(rows)), eval_args=split, served_k=5)
    train, _, _ = build_loaders(config, build_dataset(config))
    marked, marks = build_dataset(config), runs_of(torch.arange(41).flip(0))
    insert_runs(marked, marks, KEY, 0.5, _trained(train._dataset))
    n_inserted = (len(marked.inter_feat) - 60 * 25) // 9
    part = build_loaders(config, marked)[0]._dataset
    _, first, end = part.spans_of_users()
    found = Counter()
    for start, stop in zip(first.tolist(), end.tolist(), strict=True):
        found += without_runs(part.history["item_id"][start:stop].tolist(), marks.sequences.tolist())[1]
    assert n_inserted >= 15
    assert [found[tuple(run)] for run in marks.sequences.tolist()] == [n_inserted] * 3


def without_runs(items, runs):
    """The items less one inserted run at a time, and the runs that were found."""
    found = Counter()
    place = 0
    while place < len(items):
        for run in runs:
            if items[place : place + len(run)] == run:
                items, place = items[:place] + items[place + len(run) :], place - 1
                found[tuple(run)] += 1
                break
        place += 1
    return items, found


@pytest.mark.parametrize("model", ["BERT4Rec", "SASRec", "NARM"])
def test_only_runs_are_added_and_the_last_items_stay(make_config, model):
    config = make_config(model)
    plain, marked, marks = histories(build_dataset(config)), build_dataset(config), runs_of()
    insert_runs(marked, marks, KEY, 0.1, trained_of(plain))
    marked, found = histories(marked), Counter()
    for user, items in marked.items():
        rest, runs = without_runs(items, marks.sequences.tolist())
        assert rest == plain[user]
        assert items[-3:] == plain[user][-3:]
        found += runs
    able = sum(len(items) >= 8 for items in plain.values())
    assert set(found.values()) == {-(-able // 10)}
    assert len(found) == 3


def test_runs_stay_whole_and_before_the_held_out_items_where_all_times_are_equal(write_dataset, make_config):
    folder = write_dataset({f"u{user}": [(f"i{(user + n) % 20}", 5) for n in range(12)] for user in range(20)})
    config = make_config("NARM", data_path=str(folder))
    plain, marked = histories(build_dataset(config)), build_dataset(config)
    marks = runs_of(torch.arange(21).flip(0))
    insert_runs(marked, marks, KEY, 1.0, trained_of(plain))
    for user, items in histories(marked).items():
        assert without_runs(items, marks.sequences.tolist())[0] == plain[user]
        assert items[-3:] == plain[user][-3:]
        assert len(items) == 12 + 9


def test_rows_of_every_kind_train_on_the_runs(make_loaders):
    for model in ("BERT4Rec", "SASRec", "NARM"):
        config, train, *_ = make_loaders(model)
        dataset = build_dataset(config)
        insert_runs(dataset, runs_of(), KEY, 1.0, _trained(train._dataset))
        marked, *_ = build_loaders(config, dataset)
        counter, before = marked._dataset.interaction_counter, train._dataset.interaction_counter
        added = sum(counter.values()) - sum(before.values())
        # histories shorter than 4 have no training part to count
        able = sum(len(items) >= 8 for items in histories(build_dataset(config)).values())
        assert added == 9 * able


def test_users_too_short_for_a_run_are_refused(write_dataset, make_config):
    folder = write_dataset({f"u{user}": [f"i{user + n}" for n in range(5)] for user in range(20)})
    config = make_config("NARM", data_path=str(folder))
    with pytest.raises(UserError, match="no user has 6 training interactions"):
        insert_runs(build_dataset(config), runs_of(), KEY, 0.1, trained_of(histories(build_dataset(config))))


def test_the_checkpoint_holds_the_runs_and_the_best_epoch_is_returned(make_loaders, tmp_path):
    config, train, valid, _ = make_loaders(**SMALL, output_dir=str(tmp_path), epochs=3)
    model = config.model_class(config, train._dataset)
    protected = create_defense("injected", config).protect(model, train, valid)
    saved = load_target(tmp_path / "target-injected.pth")
    assert saved.marks["method"] == "injected"
    assert saved.marks["sequences"].shape == (3, 3)
    assert all(torch.equal(weights, saved.model.state_dict()[name]) for name, weights in protected.state_dict().items())
