import pytest
import torch
from defense.cases import CombinedCases, DefenseCases
from pipeline import TINY_RUN, untrained

from recbole_gro import UserError, create_defense, load_target, run_recbole_gro
from recbole_gro.defense.defense_key import defense_key
from recbole_gro.defense.marks.aow import autoregressive_marks
from recbole_gro.defense.marks.marks import Marks
from recbole_gro.defense.marks.settings import AOWSettings
from recbole_gro.scoring import create_scorer

SMALL = {"aow_sequences": 2, "aow_length": 4, "aow_lowest": 10, "aow_epochs": 1}
KEY = b"k" * 32


class SmallMarks:
    """Marks that fit the tiny catalogue."""

    name = "aow"

    @pytest.fixture(autouse=True)
    def _small(self, _tiny_target):
        for name, value in SMALL.items():
            self.config[name] = value


class TestAOW(SmallMarks, DefenseCases):
    pass


class TestAOWOfACausalModel(SmallMarks, DefenseCases):
    target = "SASRec"


class TestWithATail(SmallMarks, CombinedCases):
    name = "aow+tail_decoy"


def marks_of(model, key=KEY, **settings):
    return autoregressive_marks(model, key, AOWSettings.of(SMALL | settings))


@pytest.mark.parametrize("model", ["BERT4Rec", "SASRec", "NARM"])
def test_each_next_item_is_one_that_the_model_ranks_lowest_after_those_before(make_model, model):
    model = make_model(model)
    marks = marks_of(model)
    assert marks.sequences.shape == (2, 4)
    scorer = create_scorer(model)
    for items in marks.sequences.tolist():
        assert len(set(items)) == 4
        for place in range(1, 4):
            scores = scorer.next_item_scores(torch.tensor([items[:place]]), torch.tensor([place]))[0]
            lower = {item for item in range(1, 31) if scores[item] < scores[items[place]]} - set(items[:place])
            assert len(lower) < 10


def test_candidates_are_different_items_that_are_not_in_the_sequence_before(make_model):
    marks = marks_of(make_model("NARM"))
    for items, rows in zip(marks.sequences.tolist(), marks.candidates.tolist(), strict=True):
        for place, row in enumerate(rows, start=1):
            assert len(set(row)) == 10
            assert not {0, *items[:place]} & set(row)


def test_another_key_is_another_sequence_and_the_same_key_the_same(make_model):
    model = make_model("NARM")
    one = marks_of(model)
    assert torch.equal(one.sequences, marks_of(model).sequences)
    assert not torch.equal(one.sequences, marks_of(model, b"x" * 32).sequences)


def test_a_small_catalogue_leaves_fewer_candidates_and_a_smaller_one_is_refused(make_model):
    model = make_model("NARM")
    assert marks_of(model, aow_length=20, aow_lowest=200).candidates.shape == (2, 19, 11)
    for settings in ({"aow_length": 30}, {"aow_sequences": 31}):
        with pytest.raises(UserError, match="too much for a catalogue of 30 items"):
            marks_of(model, **settings)


def test_a_trained_target_ranks_the_marks_high_and_its_checkpoint_holds_them(make_loaders, tmp_path):
    config, train, valid, _ = make_loaders(
        "SASRec",
        **SMALL | {"aow_epochs": 20},
        output_dir=str(tmp_path),
        hidden_dropout_prob=0.0,
        learning_rate=0.01,
        aow_learning_rate=0.01,
    )
    target = untrained(config, train).eval()
    protected = create_defense("aow", config).protect(target, train, valid).eval()
    saved = load_target(tmp_path / "target-aow.pth")
    planted, lengths = saved.marks["sequences"].long(), torch.tensor([[1, 2, 3]] * 2)
    marks = Marks("aow", planted, saved.marks["candidates"].long())
    assert torch.equal(marks.sequences, marks_of(target, defense_key(config)).sequences)
    assert marks.fit_key(defense_key(config))
    assert not marks.fit_key(KEY)

    def mean_rank(model):
        scores = create_scorer(model).prefix_scores(planted[:, :-1], lengths)
        return (scores > scores.gather(1, planted[:, 1:].reshape(-1, 1))).sum(1).float().mean()

    assert mean_rank(target) > 20
    assert mean_rank(protected) == mean_rank(saved.model) < 3


def test_marks_that_do_not_fit_the_catalogue_are_refused_before_a_target_is_trained(tiny_data_path, tmp_path):
    folders = {"data_path": str(tiny_data_path), "output_dir": str(tmp_path / "out")}
    with pytest.raises(UserError, match="aow_length: 40, or aow_sequences=10, is too much for a catalogue of"):
        run_recbole_gro("BERT4Rec", "tiny", config_dict={**TINY_RUN, **folders, "defense": "aow", "aow_length": 40})
    assert not list(tmp_path.glob("**/target*.pth"))
