from collections import Counter

import pytest
import torch
from pipeline import TINY_RUN

from recbole_gro import Service, load_target, run_recbole_gro
from recbole_gro.defense.marks.marks import Marks, grow_marks, keyed_choice, keyed_order, keyed_word
from recbole_gro.ownership.method import create_method

KEY = b"k" * 32


def test_words_are_spread_over_the_range_and_differ_by_key_and_description():
    words = [keyed_word(KEY, "purpose", number) for number in range(4000)]
    assert len(set(words)) == 4000
    tenths = Counter(10 * word // 2**64 for word in words)
    assert sorted(tenths) == list(range(10))
    assert max(abs(count - 400) for count in tenths.values()) < 80  # four deviations
    assert keyed_word(KEY, "purpose", 1) == words[1]
    assert words[1] not in (keyed_word(b"x" * 32, "purpose", 1), keyed_word(KEY, "another", 1))


def test_each_candidate_is_chosen_as_often():
    counts = Counter(keyed_choice(KEY, "aow", [number], [5, 6, 7, 8]) for number in range(4000))
    assert set(counts) == {5, 6, 7, 8}
    assert max(abs(count - 1000) for count in counts.values()) < 110


def test_an_order_holds_all_items_once():
    assert sorted(keyed_order(KEY, "order", list(range(50)))) == list(range(50))
    assert keyed_order(KEY, "order", list(range(50))) != keyed_order(b"x" * 32, "order", list(range(50)))


def test_candidates_of_different_number_are_padded_and_the_key_fits_none_but_its_own_marks():
    widths = []

    def fewer(sequences):
        widths.append(9 - sequences.shape[1])
        return torch.arange(10, 10 + widths[-1]).expand(len(sequences), -1)

    marks = grow_marks(KEY, "aow", [1, 2], 4, fewer)
    assert marks.sequences.shape == (2, 4)
    assert (marks.candidates != 0).sum(2).tolist() == [widths, widths] == [[8, 7, 6]] * 2
    assert marks.fit_key(KEY)
    assert not marks.fit_key(b"x" * 32)
    other = marks.sequences.clone()
    other[1, 3] = next(item for item in marks.candidates[1, 2].tolist() if item not in (0, int(other[1, 3])))
    assert not Marks("aow", other, marks.candidates).fit_key(KEY)


@pytest.mark.parametrize("model", ["BERT4Rec", "SASRec"])
def test_a_run_trains_attacks_and_leaves_checkpoints_that_can_be_verified(tiny_data_path, tmp_path, model):
    def run(folder):
        config = TINY_RUN | {"data_path": str(tiny_data_path), "output_dir": str(folder), "aow_epochs": 1, "head_k": 5}
        config |= {"stages_dir": str(tmp_path / "stages"), "defense": ["none", "aow+tail_decoy", "injected"]}
        return run_recbole_gro(model, "tiny", config_dict=config)

    first, again = run(tmp_path / "first"), run(tmp_path / "again")
    for name, method in (("aow+tail_decoy", "aow"), ("injected", "injected")):
        rows = [next(row for row in results["defenses"] if row["defense"] == name) for results in (first, again)]
        assert rows[0]["target"] == rows[1]["target"]
        for folder in ("first", "again"):  # trained, and from the stage cache
            owner = load_target(tmp_path / folder / f"target-{method}.pth")
            verification = create_method(method, {})
            probes = verification.probes(owner, {}, b"", 500)
            lists = Service(owner.model, 10).recommend(probes.histories)
            assert 0 < verification.verdict(probes, lists).p_value <= 1
    assert load_target(tmp_path / "first" / "target.pth").marks is None
