import pytest
import torch
from recbole.data.interaction import Interaction

from recbole_gro.data import SequenceDataset
from recbole_gro.data.dataset import PREDICTED
from recbole_gro.data.whole_sequences import predict_every_position
from recbole_gro.scoring.causal import NEXT_ITEMS, SLOTS


@pytest.mark.parametrize("batch_size", [1, 32, 100, 10_000])
def test_a_step_on_sequences_has_as_many_targets_as_one_on_prefixes(make_loaders, batch_size):
    _, train, *_ = make_loaders("GRU4Rec", train_batch_size=batch_size)
    _, prefixes, *_ = make_loaders("GRU4Rec", train_batch_size=batch_size, train_rows="prefixes")
    targets = [batch[NEXT_ITEMS] for batch in train]
    assert sum(map(len, targets)) == len(prefixes._dataset)
    longest = 8  # of a run
    assert max(map(len, targets)) <= max(batch_size * 2, longest)
    assert len(train) == len(targets)
    if longest <= batch_size < len(prefixes._dataset):
        assert 0.8 < len(train) / len(prefixes) < 1.3


def test_sequences_come_in_a_new_order_each_epoch_that_the_seed_determines(make_loaders):
    (_, train, *_), (_, again, *_) = make_loaders("NARM"), make_loaders("NARM")

    def epoch(loader):
        return torch.cat([batch[NEXT_ITEMS] for batch in loader])

    first, second = epoch(train), epoch(train)
    assert not torch.equal(first, second)
    assert torch.equal(first.sort().values, second.sort().values)
    assert torch.equal(epoch(again), first)


def test_the_places_of_a_batch_that_predict_are_the_last_of_each_sequence(make_config):
    train = SequenceDataset(make_config("GRU4Rec")).build()[0]
    sequences = torch.tensor([[1, 2, 3, 0], [4, 0, 0, 0], [5, 6, 7, 8]])
    batch = {"item_id_list": sequences, "item_length": [3, 1, 4], "item_id": [11, 12, 13], PREDICTED: [2, 1, 4]}
    batch = Interaction({name: torch.as_tensor(values) for name, values in batch.items()})
    found = predict_every_position(train, batch)
    # the items 2, 3 | 4 | 5, 6, 7, 8, at places of the flattened batch
    assert found[SLOTS].tolist() == [1, 2, 4, 8, 9, 10, 11]
    assert found[NEXT_ITEMS].tolist() == [3, 11, 12, 6, 7, 8, 13]
    assert torch.equal(found["item_id_list"], sequences)
    assert PREDICTED not in found
