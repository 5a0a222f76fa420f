"""The expected duration of cells."""

import pytest
import torch
from experiment.grid import tiny
from experiment.synthetic import cell

from recbole_gro.data import build_dataset, build_loaders
from recbole_gro.defense import create_defense
from recbole_gro.experiment.estimate import estimated_seconds, stage_seconds, unit_seconds
from recbole_gro.quick_start.stage_fingerprints import Fingerprints

UNIT = {
    "set-up": 7.0, "steps per epoch": 10, "users": 100, "target step": 0.5, "defense step": 2.0, "user": 0.01,
    "list": 0.001, "surrogate list": 0.003,
}  # fmt: skip


@pytest.fixture
def seconds(make_config):
    """Seconds of each stage with the durations of UNIT; an evaluation takes 1 s."""

    def of(defense="none", stops_early=True, **settings):
        settings = {
            "epochs": 20,
            "eval_step": 5,
            "gro_epochs": 4,
            "query_sequences": 50,
            "query_length": 10,
            "surrogate_epochs": 30,
            **settings,
        }
        config = make_config(**settings)
        return stage_seconds(Fingerprints(config, defense), UNIT, stops_early)

    return of


def test_stages_count_their_steps_lists_and_evaluations(seconds):
    assert seconds() == pytest.approx(
        {"target": 20 * 10 * 0.5 + 4, "defended": 80, "queries": 0.5, "surrogate": 30 * 500 * 0.003, "evaluation": 11}
    )


@pytest.mark.parametrize(
    ("defense", "given", "epochs"),
    [("gro", {}, 4), ("gro", {"gro_steps": 61}, 7), ("gro_decoys", {}, 152), ("gro_decoys", {"gro_steps": 20}, 4)],
)
def test_the_minimum_of_gro_steps_counts(seconds, defense, given, epochs):
    settings = {"served_k": 10, "gro_head_k": 4, "eval_step": 1000}
    assert seconds(defense, **settings, **given)["defended"] == pytest.approx(epochs * 10 * 2.0)


@pytest.mark.parametrize(("attacker", "times"), [("standard", 1), ("repeat", 1 / 4), ("head", 4)])
def test_the_number_of_surrogates_and_repeats_counts(seconds, attacker, times):
    found = seconds(attacker=attacker, served_k=100)
    assert found["surrogate"] == pytest.approx(times * 30 * 500 * 0.003)
    assert found["queries"] == pytest.approx(0.5)


@pytest.mark.parametrize(("epochs", "averaging", "passes"), [(30, 0.999, 30), (200, None, 60), (200, 0.999, 120)])
def test_surrogates_stop_early_averaged_ones_later(seconds, epochs, averaging, passes):
    given = {"surrogate_epochs": epochs, "surrogate_averaging": averaging}
    assert seconds(**given)["surrogate"] == pytest.approx(passes * 500 * 0.003)
    assert seconds(**given, stops_early=False)["surrogate"] == pytest.approx(epochs * 500 * 0.003)


def test_the_surrogates_of_rounds_count(seconds):
    """After each of four of five rounds one is trained: on 1, 2, 3 and 4 fifths of the log."""
    found = seconds(attacker="rounds", attacker_rounds=5)
    assert found["queries"] == pytest.approx(0.5 + 2 * 30 * 500 * 0.003)
    assert found["surrogate"] == pytest.approx(30 * 500 * 0.003)


@pytest.mark.parametrize(
    ("model", "rows"), [("BERT4Rec", "windows"), ("BERT4Rec", "prefixes"), ("GRU4Rec", "prefixes")]
)
def test_every_unit_is_timed_and_leaves_no_file_or_state(make_config, tmp_path, monkeypatch, model, rows):
    monkeypatch.chdir(tmp_path)
    config = make_config(model, train_rows=rows)
    torch.manual_seed(3)
    state = torch.get_rng_state()
    unit = unit_seconds(config, create_defense("gro", config))
    assert set(unit) == set(UNIT)
    assert all(value > 0 for value in unit.values())
    assert unit["defense step"] != unit["target step"]
    loaders = build_loaders(config, build_dataset(config))
    assert (unit["steps per epoch"], unit["users"]) == (len(loaders[0]), len(loaders[1]._dataset))
    assert torch.equal(torch.get_rng_state(), state)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("key", "values", "timed"),
    [
        ("n_layers", [1, 2], 4),
        ("inner_size", [8, 16], 4),
        ("loss_type", ["CE", "BPR"], 4),
        (
            "eval_args",
            [{"order": "TO", "split": {"LS": "valid_and_test"}}, {"order": "TO", "split": {"RS": [8, 1, 1]}}],
            4,
        ),
        ("user_inter_num_interval", ["[3,inf)", "[4,inf)"], 4),
        ("surrogate_ensemble", [1, 2], 4),
        ("gro_contexts", ["training", "mixed"], 3),  # which the undefended target does not read
        ("seed", None, 2),
        ("learning_rate", [0.1, 0.2], 2),
        ("gro_lambda", [0.1, 0.2], 2),
        ("epochs", [1, 2], 2),
        ("surrogate_epochs", [1, 2], 2),
        ("head_k", [2, 3], 2),
    ],
)
def test_steps_are_timed_once_per_settings_that_they_depend_on(
    tiny_data_path, tmp_path, monkeypatch, key, values, timed
):
    calls = []

    def counted(config, defense):
        calls.append(config)
        return UNIT

    monkeypatch.setattr("recbole_gro.experiment.estimate.unit_seconds", counted)
    experiment = tiny(tiny_data_path, "defenses", defense=["none", "gro"], seeds=[1] if values else [1, 2])
    experiment.fixed.pop(key, None)
    experiment.vary |= {key: values} if values else {}
    estimated_seconds(experiment, [], experiment.cells(), tmp_path)
    assert len(calls) == timed


def expected(*args):
    return [of_cell.expected for of_cell in estimated_seconds(*args)]


def test_shared_stages_count_once_and_finished_ones_with_their_own_time(tiny_data_path, tmp_path, monkeypatch):
    monkeypatch.setattr("recbole_gro.experiment.estimate.unit_seconds", lambda *_: UNIT)
    experiment = tiny(tiny_data_path, gro_lambda=[1.0], seeds=[1, 2])
    cells = experiment.cells()
    assert [values["defense"] for values, _ in cells] == ["none", "none", "gro", "gro"]
    none, _, gro, _ = expected(experiment, [], cells, tmp_path)
    target, served = 1 * 10 * 0.5, 1 * 10 * 2.0
    assert none - gro == pytest.approx(target - served)
    independent = tiny(tiny_data_path, gro_lambda=[1.0], seeds=[1, 2], references=["independent"])
    first, second, *others = expected(independent, [], independent.cells(), tmp_path)
    assert first == pytest.approx(none + target)  # of seed 2, which the second cell has then; it needs that of seed 3
    assert second == pytest.approx(none)
    assert others == pytest.approx([gro, gro])
    arms = tiny(tiny_data_path, "paper", seeds=[1])
    best, _, last, _, control, _, gro, _ = expected(arms, [], arms.cells(), tmp_path)
    assert best - last == pytest.approx(target)  # which both share
    assert control == gro == pytest.approx(last + served)
    done = cell(cells[0][0], 1)
    done.facts["seconds"] = {"target": 1000.0, "queries": 100.0, "surrogate": 10.0}
    evaluation = UNIT["set-up"] + 4 * UNIT["users"] * UNIT["user"]
    assert estimated_seconds(experiment, [done], cells[1:2], tmp_path) == [pytest.approx([1110 + evaluation] * 2)]
