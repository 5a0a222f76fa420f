import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from pipeline import untrained

from recbole_gro import Service
from recbole_gro.data import SequenceDataset
from recbole_gro.evaluator import evaluate_service
from recbole_gro.evaluator.seen_items import without_seen


def reference(items, history):
    """Return the items that are not in the history, padded with 0 to the old length."""
    kept = [item for item in items if item not in history]
    return kept + [0] * (len(items) - len(kept))


@given(
    st.lists(
        st.tuples(st.permutations(range(1, 9)), st.lists(st.integers(0, 9), min_size=4, max_size=4)),
        min_size=1,
        max_size=5,
    ),
    st.integers(1, 8),
)
def test_lists_keep_the_order_of_what_is_left(rows, k):
    lists, histories = (torch.tensor(part) for part in zip(*rows, strict=True))
    expected = [reference(items[:k], history) for items, history in rows]
    assert without_seen(lists[:, :k], histories).tolist() == expected


def test_padding_of_a_list_stays_at_its_end():
    lists = torch.tensor([[5, 3, 0, 0], [3, 5, 4, 0]])
    assert without_seen(lists, torch.tensor([[5, 0], [3, 5]])).tolist() == [[3, 0, 0, 0], [4, 0, 0, 0]]


def test_metrics_and_agreement_are_those_of_unseen_items(make_loaders):
    config, *loaders = make_loaders("NARM", served_k=20, exclude_seen=True, MAX_ITEM_LIST_LENGTH=50)
    service = Service(untrained(config, loaders[0]), 20)
    metrics, lists = evaluate_service(config, service, *loaders)
    for part, loader in zip(("valid", "test"), loaders[1:], strict=True):
        histories = torch.cat([batch[0]["item_id_list"] for batch in loader])
        positives = torch.cat([batch[3] for batch in loader])
        rows = [
            reference(items, set(history))
            for items, history in zip(service.recommend(histories).tolist(), histories.tolist(), strict=True)
        ]
        assert lists[part].tolist() == rows
        found = [positive in row[:5] for row, positive in zip(rows, positives.tolist(), strict=True)]
        assert metrics[part]["hit@5"] == round(sum(found) / len(found), 6)
    again, _ = evaluate_service(config, service, *loaders, reference=lists)
    assert again["test"]["agreement@10"] == 1


@pytest.mark.parametrize("split", [{"LS": "valid_and_test"}, {"RS": [0.8, 0.1, 0.1]}])
def test_items_that_the_model_no_longer_reads_are_seen_too(make_loaders, split):
    args = {"split": split, "order": "TO", "group_by": "user", "mode": "full"}
    shared = {"eval_args": args, "eval_batch_size": 7}  # several batches: the rows of each follow those before
    config, *loaders = make_loaders("NARM", served_k=12, exclude_seen=True, MAX_ITEM_LIST_LENGTH=2, **shared)
    _, *long = make_loaders("NARM", MAX_ITEM_LIST_LENGTH=50, **shared)
    service = Service(untrained(config, loaders[0]), 12)
    _, lists = evaluate_service(config, service, *loaders)
    for part, loader, complete in zip(("valid", "test"), loaders[1:], long[1:], strict=True):
        sent = torch.cat([batch[0]["item_id_list"] for batch in loader])
        histories = torch.cat([batch[0]["item_id_list"] for batch in complete])
        assert int((histories != 0).sum(1).max()) > 2
        served = service.recommend(sent).tolist()
        assert len(loader) > 1
        expected = [reference(items, set(history)) for items, history in zip(served, histories.tolist(), strict=True)]
        assert lists[part].tolist() == expected


def test_rows_of_recboles_own_datasets_have_what_the_model_reads(make_loaders, monkeypatch):
    config, *loaders = make_loaders("NARM", served_k=12, exclude_seen=True, MAX_ITEM_LIST_LENGTH=2)
    monkeypatch.delattr(SequenceDataset, "complete_histories")
    service = Service(untrained(config, loaders[0]), 12)
    _, lists = evaluate_service(config, service, *loaders)
    sent = torch.cat([batch[0]["item_id_list"] for batch in loaders[2]])
    served = service.recommend(sent).tolist()
    expected = [reference(items, set(history)) for items, history in zip(served, sent.tolist(), strict=True)]
    assert lists["test"].tolist() == expected
