"""Loaders: what training and evaluation batches carry, and data that cannot work said in one line."""

import copy
import os
import pickle
from pathlib import Path
from urllib.error import URLError
from zipfile import BadZipFile

import pytest
import torch
from recbole.config import Config as RecBoleConfig
from recbole.data import create_dataset, data_preparation
from recbole.data.transform import MaskItemSequence
from recbole.utils import init_seed

from recbole_gro.data import SequenceDataset, build_dataset, build_loaders, reseed
from recbole_gro.data.loaders import check_served_k
from recbole_gro.utils import ranking
from recbole_gro.utils.compat import SPLITS_BY_TIME
from recbole_gro.utils.errors import UserError
from recbole_gro.utils.random_state import generators_of

BY_TIME = pytest.mark.skipif(not SPLITS_BY_TIME, reason="RecBole 1.2.0 has no split TS")
MASK_FIELDS = {"Mask_item_id_list", "Pos_item_id", "Neg_item_id", "MASK_INDEX"}


def loaders_of(config):
    return build_loaders(config, build_dataset(config))


@pytest.mark.parametrize("rows", ["windows", "prefixes"])
def test_only_training_batches_carry_masks(make_loaders, rows):
    _, train, valid, test = make_loaders("BERT4Rec", train_rows=rows)
    assert set(next(iter(train)).columns) >= MASK_FIELDS
    for loader in (valid, test):
        batch = next(iter(loader))[0]
        assert MASK_FIELDS.isdisjoint(batch.columns)
        assert {"item_id_list", "item_length", "item_id"} <= set(batch.columns)


def test_prefixes_of_a_masked_model_get_recboles_masks(make_loaders):
    _, train, _, _ = make_loaders("BERT4Rec", train_rows="prefixes")
    assert isinstance(train.transform, MaskItemSequence)


@pytest.mark.parametrize("model", ["NARM", "GRU4Rec", "SASRec"])
def test_prefixes_of_next_item_models_are_recboles_own_batches(make_loaders, model):
    config, train, valid, test = make_loaders(model, train_rows="prefixes")
    theirs = data_preparation(config, create_dataset(config))
    for ours, its in zip((train, valid, test), theirs, strict=True):
        reseed_both(ours, its)
        for mine, batch in zip(ours, its, strict=True):
            if isinstance(batch, tuple):
                mine, batch = mine[0], batch[0]
            assert set(mine.columns) == set(batch.columns)
            assert all(torch.equal(mine[field], batch[field]) for field in batch.columns)


def reseed_both(*loaders):
    for loader in loaders:
        loader.generator.manual_seed(3)


@pytest.mark.parametrize(
    "negatives", [{"distribution": "popularity"}, {"sample_num": 3}, {"dynamic": True, "candidate_num": 3}], ids=str
)
def test_windows_have_one_uniform_negative_per_mask(make_loaders, negatives):
    with pytest.raises(UserError, match=r"^train_neg_sample_args: windows have one negative per mask"):
        make_loaders("BERT4Rec", loss_type="BPR", train_neg_sample_args=negatives)
    make_loaders("BERT4Rec", loss_type="BPR", train_neg_sample_args={"distribution": "uniform"})
    make_loaders("BERT4Rec", loss_type="BPR", train_neg_sample_args=negatives, train_rows="prefixes")


def test_a_dataset_is_split_once(make_config):
    config = make_config("NARM")
    dataset = build_dataset(config)
    build_loaders(config, dataset)
    with pytest.raises(UserError, match=r"^dataset: it is split already; build_dataset"):
        build_loaders(config, dataset)


def test_pairwise_models_get_sampled_negatives(make_loaders):
    _, train, _, _ = make_loaders("GRU4Rec", loss_type="BPR", train_neg_sample_args={"distribution": "uniform"})
    batch = next(iter(train))
    assert (batch["neg_item_id"] != batch["item_id"]).all()
    assert batch["item_id_list"].shape[1] == 8


def test_every_user_with_three_items_is_tested_and_with_four_validated(make_loaders):
    # made-up users have 1, 2, .. 24 items, 1, .. 15 and one has all 30
    _, _, valid, test = make_loaders("BERT4Rec")
    assert len(test._dataset) == 1 + 22 + 13
    assert len(valid._dataset) == 1 + 21 + 12


def test_reseed_repeats_order_and_masks(make_loaders):
    _, train, _, _ = make_loaders("BERT4Rec")

    def epoch():
        return torch.cat([batch["Mask_item_id_list"] for batch in train])

    reseed(train, 5)
    first, second = epoch(), epoch()
    reseed(train, 5)
    assert torch.equal(epoch(), first)
    assert not torch.equal(first, second)
    reseed(train, 6)
    assert not torch.equal(epoch(), first)


def test_lists_longer_than_the_catalogue_are_refused(make_config):
    build = make_config(served_k=29)  # 30 items: one stays outside
    loaders_of(build)
    with pytest.raises(UserError, match="served_k: 30 is too long for a catalogue of 30 items; at most 29"):
        loaders_of(make_config(served_k=30))


def test_check_served_k_counts_padding_out():
    check_served_k(3, n_items=5)
    with pytest.raises(UserError, match="4 is too long for a catalogue of 4 items; at most 3"):
        check_served_k(4, n_items=5)


@pytest.mark.parametrize("rows", ["windows", "prefixes"])
@pytest.mark.parametrize("items", ["abc", "ab"])
def test_a_split_without_users_to_evaluate_is_reported(write_dataset, make_config, rows, items):
    path = write_dataset({user: list(items) for user in ("ann", "bob", "cid")})
    config = make_config(data_path=str(path), train_rows=rows)
    with pytest.raises(UserError, match=r"dataset tiny: no user is left for validation by .* at least 4 interactions"):
        loaders_of(config)


@pytest.mark.parametrize(
    ("split", "users", "part"),
    [
        pytest.param({"split": {"TS": [0.8, 0.1, 0.1]}}, 40, "training", marks=BY_TIME),
        pytest.param({"split": {"TS": [0.1, 0.1, 0.8]}, "group_by": None}, 40, "training", marks=BY_TIME),
        ({"split": {"RS": [0.8, 0.1, 0.1]}, "group_by": "user"}, 40, "validation"),
        ({"split": {"RS": [0.8, 0.1, 0.1]}, "group_by": None}, 1, "validation"),
    ],
    ids=str,
)
@pytest.mark.parametrize("model", ["GRU4Rec", "SASRec", "BERT4Rec"])
def test_a_split_that_leaves_a_part_empty_is_one_line(write_dataset, make_config, model, split, users, part):
    # every user's first item has no row, so two items are one row, which TS gives to validation or test
    events = {f"u{n}": [(f"i{n}", 10 * n), (f"i{n + 1}", 10 * n + 1)] for n in range(users)}
    with pytest.raises(UserError, match=rf"^dataset tiny: no user is left for {part} by the split") as caught:
        loaders_of(make_config(model, data_path=str(write_dataset(events)), eval_args=split))
    assert one_line(caught.value)


def one_line(error):
    return isinstance(error, UserError) and "\n" not in str(error)


def test_a_missing_dataset_is_reported_in_one_line(make_config):
    with pytest.raises(UserError, match="dataset: nowhere is not in") as caught:
        loaders_of(make_config(dataset="nowhere"))
    assert one_line(caught.value)


def test_a_file_without_the_needed_columns_is_reported_in_one_line(tmp_path, make_config):
    (tmp_path / "torn").mkdir()
    (tmp_path / "torn" / "torn.inter").write_text("nothing that RecBole reads\n1 2 3\n")
    with pytest.raises(UserError, match=r"torn\.inter, line 1: column .* is not of the form name:type") as caught:
        loaders_of(make_config(dataset="torn", data_path=str(tmp_path)))
    assert one_line(caught.value)


def test_an_empty_file_is_reported_in_one_line(tmp_path, make_config):
    (tmp_path / "void").mkdir()
    (tmp_path / "void" / "void.inter").write_text("")
    with pytest.raises(UserError, match=r"void\.inter: the file is empty") as caught:
        loaders_of(make_config(dataset="void", data_path=str(tmp_path)))
    assert one_line(caught.value)


def test_a_filter_that_leaves_nothing_is_reported_in_one_line(make_config):
    with pytest.raises(UserError, match="dataset tiny") as caught:
        loaders_of(make_config(user_inter_num_interval="[1000,inf)"))
    assert one_line(caught.value)


@pytest.mark.parametrize(
    ("settings", "reason"),
    [
        ({"load_col": {"inter": ["user_id", "item_id"]}}, "timestamp"),
        ({"eval_args": {"split": {"LS": "valid_and_test"}, "order": "RO", "mode": "full"}}, "TO"),
        ({"eval_args": {"split": {"LS": "all_of_it"}, "order": "TO", "mode": "full"}}, "all_of_it"),
    ],
    ids=["no timestamps", "random order", "unknown split"],
)
@pytest.mark.parametrize("rows", ["windows", "prefixes"])
def test_an_unsupported_split_is_reported_in_one_line(make_config, settings, reason, rows):
    with pytest.raises(UserError, match=reason) as caught:
        loaders_of(make_config(train_rows=rows, **settings))
    assert one_line(caught.value)


def test_loaders_that_plain_recbole_saved_are_not_picked_up(make_config):
    config = make_config("BERT4Rec")
    config["save_dataloaders"] = True
    data_preparation(config, create_dataset(config))  # leaves a pickle in checkpoint_dir
    train, _, _ = loaders_of(make_config("BERT4Rec"))
    assert isinstance(train._dataset, SequenceDataset)


class Harmful:
    """Leaves a folder behind when it is unpickled."""

    def __init__(self, trace):
        self.trace = trace

    def __reduce__(self):
        return os.mkdir, (str(self.trace),)


def test_pickles_that_lie_where_recbole_looks_are_not_executed(make_config, tmp_path):
    config, trace = make_config("NARM"), tmp_path / "executed"
    folder = Path(config["checkpoint_dir"])
    folder.mkdir(exist_ok=True)
    crafted = pickle.dumps(Harmful(trace))
    (folder / "tiny-for-NARM-dataloader.pth").write_bytes(crafted)
    (folder / "tiny-SequenceDataset.pth").write_bytes(crafted)
    loaders_of(config)
    for key in ("dataset_save_path", "dataloaders_save_path"):
        with pytest.raises(UserError, match=f"{key}: not supported"):
            loaders_of(make_config("NARM", **{key: str(folder / "tiny-for-NARM-dataloader.pth")}))
    assert not trace.exists()
    pickle.loads(crafted)
    assert trace.exists()  # it would have


def test_a_huge_catalogue_is_evaluated_in_smaller_batches(make_config, monkeypatch):
    monkeypatch.setattr(ranking, "SCORES_AT_ONCE", 31 * 10)
    config = make_config("NARM")
    _, valid, test = loaders_of(config)
    assert config["eval_batch_size"] == 64  # as given, on any device
    for loader in (valid, test):
        assert max(len(batch[0]) for batch in loader) == 10
        assert sum(len(batch[0]) for batch in loader) == len(loader._dataset)


# draws of worker processes

MASKED, SAMPLED = "Mask_item_id_list", "neg_item_id"
DRAWS = {
    "windows": ("BERT4Rec", MASKED, {"window_shift": 0.5}),
    "cuts of sequences": ("NARM", "item_id_list", {"MAX_ITEM_LIST_LENGTH": 4, "train_batch_size": 24}),
    "windows with sampled negatives": ("BERT4Rec", "Neg_item_id", {"loss_type": "BPR"}),
    "RecBole's masks": ("BERT4Rec", MASKED, {"train_rows": "prefixes"}),
    "RecBole's negatives": (
        "GRU4Rec",
        SAMPLED,
        {"loss_type": "BPR", "train_neg_sample_args": {"distribution": "uniform"}},
    ),
}


@pytest.fixture(params=DRAWS)
def drawing_loader(request, make_loaders):
    """Make a training loader that visits its rows in order, and the field that holds what is drawn."""
    model, field, settings = DRAWS[request.param]

    def make(workers, seed=7):
        init_seed(seed, True)
        given = {"worker": workers, "train_batch_size": 8, "shuffle": False, "seed": seed, **settings}
        return make_loaders(model, **given)[1], field

    return make


def epochs_of(loader, field, n):
    return [[batch[field] for batch in loader] for _ in range(n)]


def same(one, other):
    return len(one) == len(other) and all(torch.equal(a, b) for a, b in zip(one, other, strict=True))


@pytest.mark.parametrize("workers", [0, 1, 2])
def test_draws_differ_between_epochs_and_repeat_for_a_seed(drawing_loader, workers):
    first, second, third = epochs_of(*drawing_loader(workers), 3)
    for one, other in ((first, second), (second, third)):
        # RecBole masks half of its batches at the last item alone, so that some are equal by chance
        assert sum(torch.equal(a, b) for a, b in zip(one, other, strict=True)) < len(one) / 2
    again = epochs_of(*drawing_loader(workers), 2)
    assert same(again[0], first)
    assert same(again[1], second)
    assert not same(epochs_of(*drawing_loader(workers, seed=8), 1)[0], first)


@pytest.mark.parametrize("workers", [1, 2])
def test_an_epoch_follows_from_the_states_of_generators_after_the_one_before(drawing_loader, workers):
    loader, field = drawing_loader(workers)
    epochs_of(loader, field, 1)
    states = {purpose: generator.get_state() for purpose, generator in generators_of(loader).items()}
    (second,) = epochs_of(loader, field, 1)
    resumed, _ = drawing_loader(workers, seed=9)
    for purpose, generator in generators_of(resumed).items():
        generator.set_state(states[purpose])
    assert same(epochs_of(resumed, field, 1)[0], second)


@pytest.mark.parametrize("workers", [1, 2])
def test_no_two_batches_of_equal_rows_get_equal_masks(make_loaders, workers, monkeypatch):
    _, train, *_ = make_loaders("BERT4Rec", worker=workers, train_batch_size=8, window_shift=0.0)
    longest = int(train._dataset.inter_feat["item_length"].argmax())
    rows = train._dataset[torch.full((8,), longest)]
    monkeypatch.setattr(SequenceDataset, "__getitem__", lambda self, index, join=True: copy.deepcopy(rows))
    masks = [tuple((batch[MASKED] == train._dataset.item_num).flatten().tolist()) for _ in range(2) for batch in train]
    assert len(masks) > 10
    assert len(set(masks)) == len(masks)


@pytest.mark.parametrize(
    ("part", "reason"),
    [
        ({"split": {"RS": [0.8, 0.2]}}, r"eval_args: split RS .* takes the shares of training, validation and test"),
        ({"split": {"RS": [0.8, 0, 0.2]}}, "eval_args: split RS .* each above 0"),
        ({"split": {"RS": [1, 0, 0]}}, "eval_args: split RS .* each above 0"),
        ({"split": {"RS": 0.8}}, "eval_args: split RS .* each above 0"),
        (
            {"split": {"LS": "valid_only"}},
            "^eval_args: split LS 'valid_only' leaves no row .* takes valid_and_test$",
        ),
        ({"split": {"LS": "test_only"}}, "^eval_args: split LS 'test_only' leaves no row .* takes valid_and_test$"),
        ({"group_by": "item"}, "eval_args: group_by 'item' is not allowed; it takes user or none"),
        ({"order": "RO"}, "eval_args: order 'RO' is not allowed"),
    ],
)
def test_a_split_of_recboles_config_without_validation_or_test_is_named(make_config, monkeypatch, part, reason):
    monkeypatch.setattr("sys.argv", ["script.py"])
    arguments = {"split": {"LS": "valid_and_test"}, "order": "TO", "mode": "full", "group_by": "user", **part}
    given = make_config("NARM").external_config_dict
    given = {**given, "eval_args": arguments, "train_neg_sample_args": None}
    config = RecBoleConfig("NARM", "tiny", config_dict=given)
    config["served_k"] = 5
    with pytest.raises(UserError, match=reason) as caught:
        loaders_of(make_config("NARM", eval_args=arguments))
    assert one_line(caught.value)


@pytest.mark.parametrize(("ratio", "length"), [(0, 8), (0.1, 9), (0.4, 2)])
def test_prefixes_without_a_place_for_recboles_masks_are_refused(make_config, ratio, length):
    config = make_config("BERT4Rec", train_rows="prefixes", mask_ratio=ratio, MAX_ITEM_LIST_LENGTH=length)
    with pytest.raises(
        UserError, match=f"^mask_ratio: .* here {ratio} x {length}, less than one; .*=windows"
    ) as caught:
        loaders_of(config)
    assert one_line(caught.value)


@pytest.mark.parametrize(
    "settings", [{"mask_ratio": 0.2, "MAX_ITEM_LIST_LENGTH": 5}, {"train_rows": "windows"}], ids=str
)
def test_prefixes_with_one_place_and_windows_take_small_mask_ratios(make_loaders, settings):
    given = {"train_rows": "prefixes", "mask_ratio": 0.1, "MAX_ITEM_LIST_LENGTH": 5, **settings}
    _, train, *_ = make_loaders("BERT4Rec", **given)
    for batch in train:
        assert batch["MASK_INDEX"].shape == batch["Pos_item_id"].shape
        assert batch["MASK_INDEX"].shape[1] >= 1


@pytest.mark.parametrize("error", [URLError("no route to host"), BadZipFile("no zip file"), TimeoutError("too slow")])
def test_a_failed_download_is_reported_in_one_line(make_config, tmp_path, monkeypatch, error):
    def fail(url):
        raise error

    monkeypatch.setattr("recbole.data.dataset.dataset.decide_download", fail)
    with pytest.raises(
        UserError, match=r"dataset ml-1m: not in .*, and RecBole could not download it \((no route|no zip|too slow)"
    ) as caught:
        loaders_of(make_config("NARM", "ml-1m", data_path=str(tmp_path / "new")))
    assert one_line(caught.value)
