"""Every model takes a step of each of its trainers and a query before anything is trained."""

import pytest
import torch
from conftest import read_by
from pipeline import files_below
from recbole.model.sequential_recommender import GRU4Rec

from recbole_gro import Settings, SwapRule, UserError, key, register_scorer, register_swap_rule, run_recbole_gro
from recbole_gro.attack import ExtractionTrainer
from recbole_gro.attack.attacker import StandardAttacker
from recbole_gro.config.models import sequential_models
from recbole_gro.data import build_dataset, build_loaders
from recbole_gro.defense import create_defense
from recbole_gro.quick_start.preflight import ROWS, preflight
from recbole_gro.scoring.recurrent import GRU4RecScorer
from recbole_gro.utils import own_code
from recbole_gro.utils.random_state import generators_of, random_state

HEAD = {"gro_head_k": 2}


class Failing(GRU4Rec):
    """Fails at one place: building, loss or scores."""

    fails = "nowhere"

    def __init__(self, config, dataset):
        super().__init__(config, dataset)
        self.fail("building")

    def fail(self, here):
        if self.fails == here:
            raise LookupError(f"{here} has a bug")

    def calculate_loss(self, interaction):
        assert len(interaction[self.ITEM_SEQ]) <= ROWS
        self.fail("loss")
        return super().calculate_loss(interaction)

    def full_sort_predict(self, interaction):
        self.fail("scores")
        return super().full_sort_predict(interaction)


@register_scorer("ReadsAhead")
class ReadsAheadScorer(GRU4RecScorer):
    """A scorer that takes ReadsAhead for causal."""


class ReadsAhead(GRU4Rec):
    """A bidirectional GRU: the item after a position is part of its scores there."""

    def __init__(self, config, dataset):
        super().__init__(config, dataset)
        sizes = self.embedding_size, self.hidden_size // 2
        self.gru_layers = torch.nn.GRU(*sizes, bias=False, batch_first=True, bidirectional=True)


@pytest.fixture
def checked(make_config, tmp_path, monkeypatch):
    """Check the models of a run: `checked("NARM", defense="gro")` returns the config and the training loader."""
    monkeypatch.chdir(tmp_path)

    def check(model="GRU4Rec", defense="gro", **settings):
        config = make_config(model, **{**HEAD, **read_by(model, embedding_size=16, hidden_size=16), **settings})
        data = build_dataset(config)
        train, *_ = build_loaders(config, data)
        preflight(config, data, {defense: create_defense(defense, config)}, train)
        return config, train

    return check


@pytest.mark.parametrize(
    ("model", "defense", "settings"),
    [
        ("GRU4Rec", "gro", {"loss_type": "BPR"}),
        ("FPMC", "gro", {"train_neg_sample_args": {"distribution": "uniform", "dynamic": True, "candidate_num": 2}}),
        ("BERT4Rec", "gro_decoys+tail_decoy", {"n_heads": 2, "n_layers": 1, "head_k": 2}),
        ("NARM", "gro", {"gro_start": "untrained", "surrogate_model": "GRU4Rec", "student_model": "FPMC"}),
        ("NARM", "gro", {"gro_min_quality": 0.9, "log_wandb": False}),
        ("NARM", "none", {"attack": False}),
    ],
    ids=str,
)
def test_a_model_that_works_passes_and_leaves_nothing(checked, tmp_path, model, defense, settings):
    checked(model, defense, **settings)
    assert files_below(tmp_path) == []


@pytest.mark.parametrize("role", ["model", "student_model", "surrogate_model"])
@pytest.mark.parametrize("where", ["building", "scores"])
def test_an_exception_of_a_model_is_reported_with_its_role_and_name(checked, monkeypatch, role, where):
    monkeypatch.setattr(Failing, "fails", where)
    line = f"^{role.removesuffix('_model')}: cannot work with these settings: Failing: LookupError {where} has a bug "
    line += r"\(given: embedding_size=16, hidden_size=16\)$"
    with pytest.raises(UserError, match=line) as caught:
        checked(**{"model": "NARM", role: Failing})
    assert isinstance(caught.value.__cause__, LookupError)


def test_a_loss_that_fails_is_reported(checked, monkeypatch):
    monkeypatch.setattr(Failing, "fails", "loss")
    with pytest.raises(UserError, match=r"^model: .*: Failing: LookupError loss has a bug "):
        checked(Failing, "none", attack=False)


def test_the_loss_of_an_attack_takes_a_step(checked, monkeypatch):
    class Own(ExtractionTrainer):
        def list_loss(self, scores, served, lengths, generator):
            return scores

    monkeypatch.setattr(StandardAttacker, "trainer", Own)
    with pytest.raises(UserError, match=r"^attacker: list_loss of Own returned float32 \[2, 31\]"):
        checked("NARM", "none")


def test_a_lack_of_memory_is_not_blamed_on_the_model(checked, monkeypatch):
    def fail(model, interaction):
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(Failing, "calculate_loss", fail)
    with pytest.raises(UserError, match=r"^memory: there is not enough \(OutOfMemoryError CUDA out of memory\); "):
        checked(Failing, "none", attack=False)


def test_a_model_that_reads_ahead_does_not_train_on_whole_sequences(checked):
    with pytest.raises(UserError, match=r"^train_rows: ReadsAhead is not causal: .*, or set train_rows=prefixes$"):
        checked(ReadsAhead, "none", attack=False)
    checked(ReadsAhead, "none", attack=False, train_rows="prefixes")


@pytest.mark.parametrize("unused", [{"defense": "none", "surrogate_model": "NARM"}, {"attack": False}])
def test_only_models_of_the_run_are_checked(checked, monkeypatch, unused):
    monkeypatch.setattr(Failing, "fails", "building")
    role = "student_model" if "defense" in unused else "surrogate_model"
    checked("NARM", **{**unused, role: Failing})


def test_random_state_and_settings_are_restored(checked, make_config):
    config = make_config("BERT4Rec", **HEAD, n_layers=1)
    data = build_dataset(config)
    train, *_ = build_loaders(config, data)
    generators = generators_of(train)
    assert len(generators) == 3
    before, states = random_state(), {name: generator.get_state() for name, generator in generators.items()}
    settings = dict(config.final_config_dict)
    preflight(config, data, {"gro": create_defense("gro", config)}, train)
    after = random_state()
    assert before["python"] == after["python"]
    assert before["numpy"] == after["numpy"]
    assert torch.equal(before["torch"], after["torch"])
    assert all(torch.equal(states[name], generator.get_state()) for name, generator in generators.items())
    assert config.final_config_dict == settings


@pytest.mark.skipif("SASRecCPR" not in sequential_models(), reason="RecBole 1.2.0 has no CPR models")
@pytest.mark.parametrize("model", ["GRU4RecCPR", "SASRecCPR"])
def test_a_model_that_ends_the_process_is_an_error(make_config, model):
    given = make_config(model, loss_type="BPR").external_config_dict
    with pytest.raises(
        UserError, match=f"model: cannot work with these settings: {model}: it ends the process .*'BPR'"
    ):
        run_recbole_gro(model, "tiny", config_dict={**given, "attack": False})


class Unset(GRU4Rec):
    """Reads a setting of its own."""

    def __init__(self, config, dataset):
        super().__init__(config, dataset)
        self.own = torch.nn.Linear(config["my_width"], 2)


def test_a_setting_that_is_not_set_is_named(checked):
    with pytest.raises(UserError, match=r"Unset: TypeError: my_width is not set; give --my_width="):
        checked(Unset)
    checked(Unset, my_width=3)


def test_a_fault_of_a_swap_rule_names_it_and_its_setting_is_an_effective_one(checked, own_parts, monkeypatch):
    class MarginSettings(Settings):
        own_margin: float = key(0.5, "float", "of a test")

    class OwnRule(SwapRule):
        settings = (MarginSettings,)

        def term(self, target_scores, served, student_scores, gradient):
            return target_scores.sum() * MarginSettings.of(self.config).own_margin

    class FaultyRule(OwnRule):
        def term(self, *_):
            return self.lacking

    monkeypatch.setattr(own_code, "_packages", {__name__.partition(".")[0]})
    register_swap_rule("own_rule")(OwnRule)
    register_swap_rule("faulty_rule")(FaultyRule)
    config, _ = checked(gro_swap="own_rule", own_margin=0.25)
    assert create_defense("gro", config).effective["own_margin"] == 0.25
    message = (
        r"^gro_swap faulty_rule: AttributeError: 'FaultyRule' object has no attribute 'lacking' \(.*, line \d+, in"
    )
    with pytest.raises(UserError, match=message):
        checked(gro_swap="faulty_rule")
