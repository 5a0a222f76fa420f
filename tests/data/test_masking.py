"""Masks of whole batches: how often, where never, and in fields that RecBole's own loss reads."""

import pytest
import torch
from recbole.data.interaction import Interaction
from recbole.data.transform import construct_transform

from recbole_gro import create_scorer
from recbole_gro.data import WindowMask
from recbole_gro.utils.errors import UserError

N_ITEMS = 30


class Items:
    """As much of a dataset as a mask asks for."""

    iid_field = "item_id"

    def num(self, field):
        assert field == "item_id"
        return N_ITEMS


def batch_of(lengths, width=8, seed=0):
    items = torch.randint(1, N_ITEMS, (len(lengths), width), generator=torch.Generator().manual_seed(seed))
    lengths = torch.tensor(lengths)
    return Interaction({"item_id_list": items * (torch.arange(width) < lengths.unsqueeze(1)), "item_length": lengths})


@pytest.fixture
def mask_rows(make_config):
    """Mask rows of given lengths: the batch, and [B, L] flags of the masked places."""

    def mask(lengths, width=8, mask=None, **settings):
        mask = mask or new_mask(**settings)
        batch = mask(Items(), batch_of(lengths, width))
        return batch, batch["Mask_item_id_list"] == N_ITEMS

    def new_mask(**settings):
        config = make_config(**settings)
        construct_transform(config)  # leaves the names of the fields in the config
        return WindowMask(config)

    mask.new = new_mask
    return mask


@pytest.mark.parametrize(("mask_ratio", "mask_last"), [(0.2, 0.5), (0.4, 0.0), (0.1, 1.0)])
def test_items_are_masked_at_the_set_rates(mask_rows, mask_ratio, mask_last):
    _, masked = mask_rows([8] * 20_000, mask_ratio=mask_ratio, mask_last=mask_last)
    rate = masked.float().mean(0)
    assert rate[0] == 0
    assert torch.allclose(rate[1:7], torch.full((6,), mask_ratio), atol=0.015)
    by_chance = mask_ratio + (1 - mask_ratio) * mask_last
    rescued = (1 - mask_ratio) ** 6 * (1 - by_chance)  # rows that drew no mask at all get one there
    assert rate[7].item() == pytest.approx(by_chance + rescued, abs=0.015)


def test_without_any_chance_only_the_last_item_is_masked(mask_rows):
    lengths = [2, 5, 8] * 10
    _, masked = mask_rows(lengths, mask_ratio=0.0, mask_last=0.0)
    assert masked.nonzero()[:, 1].tolist() == [length - 1 for length in lengths]


def test_every_row_has_a_mask_and_neither_its_first_place_nor_padding_does(mask_rows):
    lengths = torch.tensor([2, 3, 4, 5, 6, 7, 8] * 300)
    _, masked = mask_rows(lengths.tolist(), mask_ratio=0.1, mask_last=0.1)
    assert masked.any(1).all()
    assert not masked[:, 0].any()
    assert not (masked & (torch.arange(8) >= lengths.unsqueeze(1))).any()


def test_the_number_of_masks_per_row_is_unlimited(mask_rows):
    batch, masked = mask_rows([8] * 10, mask_ratio=1.0)
    assert (masked.sum(1) == 7).all()
    assert batch["MASK_INDEX"].shape == (10, 7)


def test_a_row_of_one_item_stays_without_a_mask(mask_rows):
    batch, masked = mask_rows([1, 4], mask_ratio=0.5)
    assert not masked[0].any()
    assert batch["MASK_INDEX"][0].sum() == 0
    assert batch["Pos_item_id"][0].sum() == 0


def test_masked_items_are_the_positives_at_their_places(mask_rows):
    batch, masked = mask_rows([2, 5, 8, 7] * 50, mask_ratio=0.4)
    index, positives = batch["MASK_INDEX"], batch["Pos_item_id"]
    assert index.shape == positives.shape == batch["Neg_item_id"].shape
    for row in range(len(index)):
        places = masked[row].nonzero().flatten().tolist()
        assert index[row].tolist() == places + [0] * (index.shape[1] - len(places))
        items = batch["item_id_list"][row][places].tolist()
        assert positives[row].tolist() == items + [0] * (index.shape[1] - len(places))
    assert torch.equal(batch["Mask_item_id_list"][~masked], batch["item_id_list"][~masked])


def test_one_seed_draws_the_same_masks_twice(mask_rows):
    first, again = mask_rows.new(seed=5), mask_rows.new(seed=5)
    other = mask_rows.new(seed=6)
    lengths = [8] * 50
    _, masked = mask_rows(lengths, mask=first)
    assert torch.equal(masked, mask_rows(lengths, mask=again)[1])
    assert not torch.equal(masked, mask_rows(lengths, mask=other)[1])
    assert not torch.equal(masked, mask_rows(lengths, mask=first)[1])  # the next epoch draws anew


def test_masks_do_not_touch_torchs_own_generator(mask_rows):
    mask = mask_rows.new(loss_type="BPR")
    state = torch.get_rng_state()
    mask_rows([8] * 10, mask=mask)
    assert torch.equal(state, torch.get_rng_state())


def test_bpr_negatives_are_items_outside_the_row(mask_rows):
    batch, _ = mask_rows([3, 8] * 300, mask_ratio=0.4, loss_type="BPR")
    negatives, asked = batch["Neg_item_id"], batch["MASK_INDEX"] > 0
    assert not negatives[~asked].any()
    assert negatives[asked].min() >= 1
    assert not (negatives.unsqueeze(2) == batch["item_id_list"].unsqueeze(1))[asked].any()
    drawn = torch.bincount(negatives[asked], minlength=N_ITEMS)[1:]
    assert drawn.min() > 0  # the whole catalogue comes up


def test_a_window_of_all_items_leaves_no_negative(mask_rows):
    width = N_ITEMS - 1
    batch = Interaction({"item_id_list": torch.arange(1, N_ITEMS).unsqueeze(0), "item_length": torch.tensor([width])})
    with pytest.raises(UserError, match=r"loss_type: BPR .* one holds all 29 items .* lower MAX_ITEM_LIST_LENGTH"):
        mask_rows.new(loss_type="BPR")(Items(), batch)
    assert "Mask_item_id_list" in mask_rows.new(loss_type="CE")(Items(), batch)


def test_no_negatives_are_drawn_where_the_loss_reads_none(mask_rows):
    batch, _ = mask_rows([8] * 10, loss_type="CE")
    assert not batch["Neg_item_id"].any()


@pytest.mark.parametrize("loss_type", ["CE", "BPR"])
def test_recboles_own_loss_reads_the_masks(mask_rows, make_model, loss_type):
    model = make_model("BERT4Rec", loss_type=loss_type)
    assert model.n_items == N_ITEMS + 1
    batch, masked = mask_rows([2, 3, 8, 5] * 4, loss_type=loss_type, mask_ratio=0.3)
    by_hand = []
    hidden = model(batch["Mask_item_id_list"])
    for row, place in masked.nonzero().tolist():
        scores = hidden[row, place] @ model.item_embedding.weight[: model.n_items].T + model.output_bias
        item = batch["item_id_list"][row, place]
        if loss_type == "CE":
            by_hand.append(-torch.log_softmax(scores, 0)[item])
        else:
            slot = batch["MASK_INDEX"][row].tolist().index(place)
            by_hand.append(-torch.nn.functional.logsigmoid(scores[item] - scores[batch["Neg_item_id"][row, slot]]))
    expected = torch.stack(by_hand).mean()
    assert torch.allclose(model.calculate_loss(batch), expected, rtol=1e-4)
    assert torch.allclose(create_scorer(model).loss(batch), expected, rtol=1e-4)


def test_a_loader_of_windows_masks_its_batches(make_loaders):
    _, train, _, _ = make_loaders("BERT4Rec")
    assert isinstance(train.transform, WindowMask)
    for batch in train:
        assert (batch["MASK_INDEX"] > 0).any(1).all()
