"""The query log: saved and loaded, nothing in it executed, every example visited once per epoch."""

import pickle

import numpy as np
import pytest
import torch

from recbole_gro import QueryLog, UserError
from recbole_gro.attack.query_log import LISTED, LISTED_LENGTH, QueryLoader, checked

FIELDS = {"ITEM_ID_FIELD": "item_id", "LIST_SUFFIX": "_list", "ITEM_LIST_LENGTH_FIELD": "item_length"}


def labelled_log(n=7, length=4, k=3, largest=50, dtype=torch.long):
    """Return a log whose lists encode their sequence and prefix: list entries are 100 row + 10 prefix + place + 1."""
    sequences = torch.randint(1, largest, (n, length), generator=torch.Generator().manual_seed(0))
    row, prefix, place = torch.meshgrid(torch.arange(n), torch.arange(length), torch.arange(k), indexing="ij")
    return QueryLog(sequences, (100 * row + 10 * prefix + place + 1).to(dtype))


def ragged_log(lengths, k=3):
    """Return a labelled log whose sequences end at these lengths."""
    log = labelled_log(len(lengths), max(lengths), k)
    past = torch.arange(max(lengths)) >= torch.tensor(lengths).unsqueeze(1)
    return QueryLog(log.sequences.masked_fill(past, 0), log.lists.masked_fill(past.unsqueeze(2), 0))


@pytest.mark.parametrize("shared", [False, True])
@pytest.mark.parametrize("seed", [None, 3])
@pytest.mark.parametrize("lengths", [[4, 2, 6, 2], [3, 1, 2], [5]])
def test_sequences_of_different_lengths_give_each_list_once(lengths, seed, shared):
    log = ragged_log(lengths)
    assert log.n_lists == sum(lengths)
    generator = None if seed is None else torch.Generator().manual_seed(seed)
    loader, seen = QueryLoader(log, FIELDS, 6, generator, shared), []
    batches = list(loader)
    assert len(batches) == len(loader)
    for batch in batches:
        assert LISTED_LENGTH not in batch
        rows = (batch[LISTED][:, 0] - 1) // 100
        prefixes = (batch[LISTED][:, 0] - 1) % 100 // 10
        assert torch.equal(batch["item_length"].flatten(), prefixes + 1)
        seen += list(zip(rows.tolist(), prefixes.tolist(), strict=True))
    assert sorted(seen) == [(row, prefix) for row, length in enumerate(lengths) for prefix in range(length)]


# files


@pytest.mark.parametrize("dtype", [torch.long, torch.int32])
def test_a_saved_log_is_loaded(tmp_path, dtype):
    log = labelled_log(dtype=dtype)
    log.save(tmp_path / "log.npz")
    again = QueryLog.load(tmp_path / "log.npz")
    assert torch.equal(again.sequences, log.sequences)
    assert torch.equal(again.lists, log.lists.long())
    assert again.sequences.dtype == again.lists.dtype == torch.long
    assert again.n_lists == 28
    assert [file.name for file in tmp_path.iterdir()] == ["log.npz"]


@pytest.mark.parametrize(("largest", "width"), [(255, 1), (256, 2), (65_535, 2), (65_536, 4)])
@pytest.mark.parametrize("where", ["sequences", "lists"])
def test_ids_are_stored_in_the_narrowest_type(tmp_path, largest, width, where):
    log = QueryLog(torch.ones(2, 3, dtype=torch.long), torch.ones(2, 3, 4, dtype=torch.long))
    getattr(log, where).view(-1)[-1] = largest
    log.save(tmp_path / "log.npz")
    with np.load(tmp_path / "log.npz", allow_pickle=False) as stored:
        assert {stored[name].itemsize for name in stored.files} == {width}
    assert getattr(QueryLog.load(tmp_path / "log.npz"), where).max() == largest


class Harmful:
    """Write a file when it is unpickled."""

    def __init__(self, trace):
        self.trace = trace

    def __reduce__(self):
        return open, (str(self.trace), "w")


def test_pickled_content_is_refused_and_not_executed(tmp_path):
    trace = tmp_path / "executed"
    loaded = np.array([Harmful(trace)], dtype=object)
    np.savez(tmp_path / "crafted.npz", sequences=loaded, lists=loaded)
    (tmp_path / "bare.npz").write_bytes(pickle.dumps(Harmful(trace)))
    for name in ("crafted.npz", "bare.npz"):
        with pytest.raises(UserError, match=f"query log .*{name}"):
            QueryLog.load(tmp_path / name)
    assert not trace.exists()
    with np.load(tmp_path / "crafted.npz", allow_pickle=True) as stored:
        stored["lists"]
    assert trace.exists()  # the file is harmful indeed


def write_nothing(file, whole):
    pass


def write_half(file, whole):
    file.write_bytes(whole[: len(whole) // 2])


def write_damaged(file, whole):
    file.write_bytes(whole[:60] + bytes(byte ^ 255 for byte in whole[60:120]) + whole[120:])


def write_empty(file, whole):
    file.write_bytes(b"")


def write_text(file, whole):
    file.write_text("user,item\n1,2\n")


def write_folder(file, whole):
    file.mkdir()


def write_other_arrays(file, whole):
    np.savez(file, ratings=np.ones(3))


def write_one_array(file, whole):
    with open(file, "wb") as target:
        np.save(target, np.ones((2, 2), int))


def write_words(file, whole):
    np.savez(file, sequences=np.array([["a"]]), lists=np.array([[["b"]]]))


@pytest.mark.parametrize(
    "write",
    [
        write_nothing,
        write_half,
        write_damaged,
        write_empty,
        write_text,
        write_folder,
        write_other_arrays,
        write_one_array,
        write_words,
    ],
)
def test_another_file_is_refused_in_one_line(tmp_path, write):
    labelled_log().save(tmp_path / "whole.npz")
    write(tmp_path / "log.npz", (tmp_path / "whole.npz").read_bytes())
    with pytest.raises(UserError, match=r"query log .*log.npz") as caught:
        QueryLog.load(tmp_path / "log.npz")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("sequences", "lists"),
    [((3, 4), (2, 4, 5)), ((3, 4), (3, 5, 5)), ((3, 4), (3, 4)), ((3,), (3, 4, 5))],
)
def test_lists_that_do_not_belong_to_the_sequences_are_refused(tmp_path, sequences, lists):
    np.savez(tmp_path / "odd.npz", sequences=np.ones(sequences, int), lists=np.ones(lists, int))
    with pytest.raises(UserError, match="query log"):
        QueryLog.load(tmp_path / "odd.npz")


# held-out share


@pytest.mark.parametrize(("n", "share", "held"), [(10, 0.1, 1), (7, 0.5, 4), (2, 0.1, 1), (3, 0.99, 2), (50, 0.1, 5)])
def test_split_holds_out_a_share_of_the_sequences(n, share, held):
    log = labelled_log(n)
    kept, out = log.split(share, torch.Generator().manual_seed(1))
    assert (len(kept.sequences), len(out.sequences)) == (n - held, held)
    assert kept.n_lists + out.n_lists == log.n_lists
    back = torch.cat([kept.lists, out.lists])
    order = back[:, 0, 0].argsort()
    assert torch.equal(back[order], log.lists)
    assert torch.equal(torch.cat([kept.sequences, out.sequences])[order], log.sequences)


def test_split_depends_on_the_generator_alone():
    log = labelled_log(40)
    held = [log.split(0.2, torch.Generator().manual_seed(seed))[1].lists for seed in (1, 1, 2)]
    assert torch.equal(held[0], held[1])
    assert not torch.equal(held[0], held[2])


# batches


def loader_of(log, batch_size, drawn, shared):
    return QueryLoader(log, FIELDS, batch_size, torch.Generator().manual_seed(2) if drawn else None, shared)


@pytest.mark.parametrize("shared", [True, False])
@pytest.mark.parametrize("drawn", [True, False])
@pytest.mark.parametrize("batch_size", [1, 3, 7, 20, 100, 10_000])
def test_an_epoch_visits_every_example_once(drawn, shared, batch_size):
    log = labelled_log(length=9)
    loader = loader_of(log, batch_size, drawn, shared)
    for _ in range(3):
        batches = list(loader)
        assert len(batches) == len(loader)
        visited = torch.cat([batch[LISTED][:, 0] for batch in batches])
        assert sorted(visited.tolist()) == sorted(log.lists[:, :, 0].flatten().tolist())
        assert max(len(batch[LISTED]) for batch in batches) <= batch_size


@pytest.mark.parametrize("shared", [True, False])
@pytest.mark.parametrize("drawn", [True, False])
@pytest.mark.parametrize("batch_size", [3, 16, 64])
def test_a_batch_has_the_list_of_each_prefix_of_its_sequences(drawn, shared, batch_size):
    log = labelled_log(length=9)
    for batch in loader_of(log, batch_size, drawn, shared):
        sequences, lengths = batch["item_id_list"], batch["item_length"]
        assert sequences.shape[1] == lengths.max()
        served = batch[LISTED].view(*lengths.shape, -1)
        for s, sequence in enumerate(sequences):
            for p, length in enumerate(lengths[s].tolist()):
                row, prefix = (served[s, p, 0].item() - 1) // 100, (served[s, p, 0].item() - 1) % 100 // 10
                assert prefix + 1 == length
                assert torch.equal(served[s, p], log.lists[row, prefix])
                assert torch.equal(sequence, log.sequences[row, : len(sequence)])


@pytest.mark.parametrize(("length", "prefixes"), [(50, 10), (9, 9), (7, 7), (47, 1), (200, 10), (26, 2)])
def test_prefixes_of_a_sequence_share_a_row_where_the_model_reads_it_once(length, prefixes):
    log = QueryLog(torch.ones(90, length, dtype=torch.long), torch.ones(90, length, 1, dtype=torch.long))
    assert next(iter(loader_of(log, 256, True, True)))["item_length"].shape == (256 // prefixes, prefixes)
    assert next(iter(loader_of(log, 256, True, False)))["item_length"].shape == (256, 1)


@pytest.mark.parametrize("shared", [True, False])
def test_a_batch_mixes_lengths(shared):
    log = QueryLog(torch.ones(90, 50, dtype=torch.long), torch.ones(90, 50, 1, dtype=torch.long))
    for batch in loader_of(log, 256, True, shared):
        if len(batch[LISTED]) > 200:
            assert len(batch["item_length"].unique()) > 40


@pytest.mark.parametrize("dtype", [torch.int32, torch.int16])
def test_batches_have_long_ids_for_any_type_of_the_log(dtype):
    log = labelled_log(dtype=dtype)
    batch = next(iter(QueryLoader(QueryLog(log.sequences.to(dtype), log.lists), FIELDS, 3)))
    assert batch[LISTED].dtype == batch["item_id_list"].dtype == torch.long


def padded(log, generator):
    """Return the log with 0 in place of the last items of its lists, and how many each has: 0 to k."""
    lengths = torch.randint(0, log.lists.shape[2] + 1, log.lists.shape[:2], generator=generator)
    return QueryLog(log.sequences, log.lists * (torch.arange(log.lists.shape[2]) < lengths.unsqueeze(2))), lengths


def test_a_log_of_padded_lists_is_loaded(tmp_path):
    log, _ = padded(labelled_log(), torch.Generator().manual_seed(0))
    log.save(tmp_path / "log.npz")
    assert torch.equal(QueryLog.load(tmp_path / "log.npz").lists, log.lists)


@pytest.mark.parametrize("shared", [True, False])
@pytest.mark.parametrize("drawn", [True, False])
def test_batches_have_the_lengths_of_padded_lists(drawn, shared):
    log, lengths = padded(labelled_log(length=9), torch.Generator().manual_seed(0))
    for batch in loader_of(log, 16, drawn, shared):
        assert batch[LISTED_LENGTH].tolist() == (batch[LISTED] != 0).sum(1).tolist()
    assert lengths.min() == 0
    assert LISTED_LENGTH not in next(iter(loader_of(labelled_log(length=9), 16, drawn, shared)))


def test_order_and_batches_differ_per_epoch_and_follow_the_seed():
    def epochs(seed):
        loader = QueryLoader(labelled_log(30), FIELDS, 4, torch.Generator().manual_seed(seed))
        return [[tuple(batch[LISTED][:, 0].tolist()) for batch in loader] for _ in range(2)]

    first, second = epochs(3)
    assert epochs(3) == [first, second]
    assert first != second
    assert set(first) != set(second)  # other batches, not only another order
    assert epochs(4)[0] != first


def test_a_held_out_log_is_read_in_order():
    loader = QueryLoader(labelled_log(), FIELDS, 4)
    assert [batch["item_length"].flatten().tolist() for batch in loader] == [[1, 2, 3, 4]] * 7
    assert all(torch.equal(a[LISTED], b[LISTED]) for a, b in zip(loader, loader, strict=True))


# what an attacker returns


def changed(log, name, change):
    values = getattr(log, name).clone()
    change(values)
    return QueryLog(**{**vars(log), name: values})


def test_a_log_that_a_surrogate_can_be_trained_on_is_returned():
    for log in (labelled_log(largest=9), ragged_log([4, 2, 6, 2])):
        assert checked(log, "attacker: mine", 1000) is log


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda log: (log.sequences, log.lists), "it returned tuple; a QueryLog is expected"),
        (lambda log: QueryLog(log.sequences.tolist(), log.lists), "sequences of its query log are list; a tensor"),
        (lambda log: QueryLog(log.sequences.float(), log.lists), r"sequences .* are float32 \[7, 4\]; int64 \[2 or"),
        (lambda log: QueryLog(log.sequences[0], log.lists[0]), r"sequences .* are int64 \[4\]; int64 \[2 or more, L\]"),
        (lambda log: QueryLog(log.sequences[:1], log.lists[:1]), r"sequences .* are int64 \[1, 4\]"),
        (lambda log: QueryLog(log.sequences, log.lists[:, 0]), r"lists .* are int64 \[7, 3\]; int64 \[S, L, k\]"),
        (lambda log: QueryLog(log.sequences, log.lists[:, :, :0]), r"lists .* are int64 \[7, 4, 0\]"),
        (lambda log: changed(log, "sequences", lambda ids: ids[2].fill_(1000)), "have ids from . to 1000; items are"),
        (lambda log: changed(log, "lists", lambda ids: ids[2].fill_(-1)), "lists .* from -1 to 633; items are 1"),
        (lambda log: changed(log, "lists", lambda ids: ids[2, 3, 1].fill_(0)), "lists .* have 0 before an item"),
        (lambda log: changed(log, "sequences", lambda ids: ids[2, 1].fill_(0)), "sequences .* have 0 before an item"),
        (lambda log: changed(log, "sequences", lambda ids: ids[2].fill_(0)), "a sequence without an item"),
        (lambda log: changed(log, "lists", lambda ids: ids[2, 3, 1:].fill_(7)), "lists of its .* have an item twice"),
    ],
)  # fmt: skip
def test_another_log_is_one_clear_line(make, message):
    with pytest.raises(UserError, match=f"^attacker: mine: .*{message}"):
        checked(make(labelled_log()), "attacker: mine", 1000)


def test_padding_of_a_list_may_repeat():
    log = changed(labelled_log(), "lists", lambda ids: ids[2, 3, 1:].fill_(0))
    assert checked(log, "attacker: mine", 1000) is log


def test_a_log_holds_no_more_lists_than_were_returned():
    log = ragged_log([4, 2])
    assert checked(log, "attacker: mine", 1000, 6) is log
    with pytest.raises(
        UserError, match=r"^attacker: mine: its query log has 6 lists, and the black box returned 5; it"
    ):
        checked(log, "attacker: mine", 1000, 5)
    unanswered = changed(log, "lists", lambda ids: ids[0, 0].fill_(0))
    assert checked(unanswered, "attacker: mine", 1000, 5) is unanswered
