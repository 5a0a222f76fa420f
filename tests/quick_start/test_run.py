import gc
import itertools
import json
import logging
import os
import threading
from pathlib import Path

import jsonschema
import pytest
import torch
from pipeline import TINY_RUN, drop_fields, files_below, same_weights, scalars, tiny_run
from recbole.model.sequential_recommender import STAMP
from recbole.trainer import Trainer

from recbole_gro import (
    BudgetSpent,
    Config,
    Defense,
    ExtractionTrainer,
    QueryLog,
    QueryStrategy,
    Service,
    UserError,
    create_attacker,
    create_defense,
    load_target,
    register_defense,
    register_query_strategy,
    run_recbole_gro,
)
from recbole_gro.attack import query_strategies as queries
from recbole_gro.data import build_loaders
from recbole_gro.defense import base as defense_base
from recbole_gro.defense.defense_key import VARIABLE, defense_key
from recbole_gro.evaluator import evaluate_service
from recbole_gro.report import run_report

FILES = {"results.json", "results.md", "results.png", "run.json", "run.lock", "run.log", "tensorboard", "target.pth"}
SCHEMA = json.loads(Path(run_report.__file__).with_name("results.schema.json").read_text(encoding="utf-8"))
CLOCKS = ("seconds", "peak_memory_mib", "config")

# Real data, cut to what takes a second: short rows of the 50 users with 40 to 42 interactions
REAL = {"user_inter_num_interval": "[40,42]", "train_batch_size": 256}


@pytest.fixture
def run(tiny_data_path, tmp_path, monkeypatch):
    """Run on tiny data, in a folder of its own: `run("none", seed=3)`."""
    monkeypatch.chdir(tmp_path)
    count = iter(range(99))

    def start(*defenses, model="BERT4Rec", dataset="tiny", **settings):
        given = {"data_path": str(tiny_data_path), "output_dir": f"out{next(count)}", **tiny_run(model), **settings}
        results = run_recbole_gro(model, dataset, config_dict={"defense": list(defenses), **given})
        jsonschema.validate(json.loads(json.dumps(results, default=str)), SCHEMA)
        return results

    return start


def test_results_of_a_marked_target_keep_the_schema(run):
    """It is trained from the start, so that no target of which this could be said was needed."""
    small = {"injected_pool": 10, "injected_runs": 3, "injected_share": 0.1}
    results = run("none", "injected", attack=False, model="SASRec", **small)
    assert [type(row["target_still_improving"]) for row in results["defenses"]] == [bool, type(None)]


@pytest.mark.no_cover
@pytest.mark.parametrize("surrogate", ["BERT4Rec", "NARM"])
@pytest.mark.parametrize("target", ["BERT4Rec", "NARM"])
def test_every_pair_runs_on_ml_100k(tmp_path, monkeypatch, target, surrogate):
    monkeypatch.chdir(tmp_path)
    student = surrogate  # the other class too, where target and surrogate differ
    results = run_recbole_gro(
        target,
        config_dict={
            **tiny_run(target),
            **REAL,
            "surrogate_model": surrogate,
            "student_model": student,
            "gro_epochs": 2,
            "gro_head_k": 5,
            "output_dir": "out",
        },
        config_file_list=["gro.yaml"],
        command_line={
            "query_sequences": "8",
            "epochs": "1",
            "surrogate_epochs": "1",
            "attacker_head_k": "5",
            "workers": "1",
        },
    )
    names, attacks = ("none", "gro", "gro_decoys"), ("standard", "standard+mixed", "head+mixed")
    both = list(itertools.product(names, attacks))
    assert [(row["defense"], row["attacker"]) for row in results["defenses"]] == both
    for name in names:
        assert sum(row["strongest"] for row in results["defenses"] if row["defense"] == name) == 1
    for row in results["defenses"]:
        assert row["surrogate_model"] == surrogate
        assert row["lists_returned"] == 8 * 4
        for side in ("target", "surrogate"):
            assert set(row[side]) == {"valid", "test"}
            assert all(0 <= value <= 1 for part in row[side].values() for value in part.values())
        assert {"agreement@1", "agreement@10"} < set(row["surrogate"]["test"])
    written = {name.partition("/")[0] for name in files_below(tmp_path / "out")}
    attacked = {f"{what}-{name}-{attack}" for what in ("surrogate", "queries") for name, attack in both}
    assert written == FILES | {"target-gro.pth", "target-gro_decoys.pth"} | {
        f"{name}.{'pth' if name.startswith('surrogate') else 'npz'}" for name in attacked
    }
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_results_hold_the_effective_settings_of_each_kind_of_gro(run):
    none, gro, ours = run("none", "gro", "gro_decoys", gro_epochs=2, gro_head_k=5, gro_min_quality=0.5)["defenses"]
    assert "effective_settings" not in none
    assert {key: gro["effective_settings"][key] for key in ("gro_swap", "gro_target_loss")} == {
        "gro_swap": "paper",
        "gro_target_loss": "own",
    }
    assert gro["effective_settings"]["gro_lambda"] != 1.0  # moved by gro_min_quality
    assert ours["effective_settings"]["gro_swap"] == "decoys"
    assert ours["effective_settings"]["gro_decay"] is True


def test_files_hold_the_returned_results(run, tmp_path):
    results = run("none", "gro")
    folder = tmp_path / "out0"
    assert json.loads((folder / "results.json").read_text()) == json.loads(json.dumps(results))
    assert {"python", "torch", "recbole", "numpy", "recbole-gro"} <= set(results["versions"])
    assert results["seed"] == 7
    assert results["peak_memory_mib"] > 50
    for row in results["defenses"]:
        assert {"queries", "surrogate", "evaluation"} <= set(row["seconds"])
        log = QueryLog.load(folder / f"queries-{row['defense']}.npz")
        assert log.n_lists == row["lists_returned"]
    assert {"Loss/Train0", "Loss/Train1", "Loss/Train2"} <= set(scalars(folder / "tensorboard" / "target-gro"))
    assert (folder / "results.png").read_bytes().startswith(b"\x89PNG")
    log_text = (folder / "run.log").read_text()
    assert "epoch 0 training" in log_text
    assert "\x1b[" not in log_text


def test_checkpoints_are_plain_data(run, tmp_path):
    run("none", "gro")
    for name in ("target", "target-gro", "surrogate-none", "surrogate-gro"):
        checkpoint = torch.load(tmp_path / "out0" / f"{name}.pth", weights_only=True)
        assert isinstance(checkpoint["config"], dict)
        assert checkpoint["config"]["model"] == "BERT4Rec"
    target = load_target(tmp_path / "out0" / "target-gro.pth")
    assert target.recommend([[1, 2]], k=3).shape == (1, 3)
    before = torch.load(tmp_path / "out0" / "target.pth")["state_dict"]
    assert before.keys() == target.model.state_dict().keys()
    assert not same_weights(before, target.model.state_dict())


@pytest.mark.no_cover
def test_numbers_are_those_of_the_seed(run):
    defenses = {"head_k": 5, "random_keyed": True}
    one, same, other = (run("random", "tail_random", "gro", **defenses, seed=seed) for seed in (7, 7, 8))
    assert drop_fields(one, *CLOCKS) == drop_fields(same, *CLOCKS)
    assert drop_fields(one["defenses"], *CLOCKS) != drop_fields(other["defenses"], *CLOCKS)


@pytest.mark.no_cover
def test_a_row_does_not_depend_on_the_other_defenses(run):
    together = run("random", "none", "reverse", "gro")["defenses"]
    for row in together:
        [alone] = run(row["defense"])["defenses"]
        assert drop_fields(alone, "seconds") == drop_fields(row, "seconds")


@pytest.mark.no_cover
def test_a_defense_that_trains_does_not_change_the_next_row(run, monkeypatch):
    monkeypatch.setattr(defense_base.defenses, "_entries", dict(defense_base.defenses._entries))

    @register_defense("greedy")
    class Greedy(Defense):
        """Reads the training data and draws at random, as a training defense does."""

        def protect(self, target, train_data, valid_data, show_progress=False):
            for _ in train_data:
                torch.rand(1)
            return target

    last = run("greedy", "gro")["defenses"][-1]
    [alone] = run("gro")["defenses"]
    assert drop_fields(alone, "seconds") == drop_fields(last, "seconds")


@pytest.fixture
def first_epoch_is_best(monkeypatch):
    """Validation gets worse with every epoch, so that the best weights of a training are not its last."""
    epochs = iter(range(1, 99))
    monkeypatch.setattr(Trainer, "_valid_epoch", lambda *_, **__: (1 / next(epochs), {}))
    monkeypatch.setattr(ExtractionTrainer, "_valid_epoch", lambda *_, **__: (float(next(epochs)), {}))


@pytest.mark.parametrize("name", ["none", "reverse", "gro", "tail_random", "gro+truncate"])
def test_rows_and_queries_are_those_of_the_saved_models(run, tmp_path, tiny_data_path, first_epoch_is_best, name):
    settings = {"epochs": 3, "gro_epochs": 2, "surrogate_epochs": 3, "eval_step": 1, "learning_rate": 0.01, "head_k": 5}
    [row] = run(name, **settings)["defenses"]
    file = "target-gro.pth" if name.startswith("gro") else "target.pth"
    target = load_target(tmp_path / "out0" / file, data_path=tiny_data_path)
    surrogate = load_target(tmp_path / "out0" / f"surrogate-{name}.pth")
    service = Service(target.model, 12, create_defense(name, target.config).answer)
    loaders = build_loaders(target.config, target.dataset)
    measured, lists = evaluate_service(target.config, service, *loaders)
    assert row["target"] == measured
    surrogate_metrics, _ = evaluate_service(target.config, Service(surrogate.model, 12), *loaders, reference=lists)
    assert row["surrogate"] == surrogate_metrics
    log = QueryLog.load(tmp_path / "out0" / f"queries-{name}.npz")
    assert torch.equal(service.recommend(log.sequences), log.lists[:, -1])


@pytest.mark.parametrize(("settings", "compared"), [({"served_k": 8}, 8), ({"topk": [1, 5]}, 10)])
def test_short_lists_and_early_cut_offs_run_to_the_end(run, tmp_path, settings, compared):
    [row] = run("none", **{"topk": [5], "valid_metric": "NDCG@5", **settings})["defenses"]
    measured = row["surrogate"]["test"]
    assert [name for name in measured if name.startswith("agreement")] == ["agreement@1", f"agreement@{compared}"]
    shown = f"{100 * measured[f'agreement@{compared}']:.2f} |"
    assert shown in (tmp_path / "out0" / "results.md").read_text()


def test_output_defenses_share_one_target(run, tmp_path):
    rows = {row["defense"]: row for row in run("none", "random", "reverse", served_k=10)["defenses"]}
    assert len(list((tmp_path / "out0").glob("target*.pth"))) == 1
    # the order within the ten changes, their items do not
    for name in ("random", "reverse"):
        assert rows[name]["target"]["test"]["hit@10"] == rows["none"]["target"]["test"]["hit@10"]


def test_defenses_that_keep_the_head_keep_its_metrics(run):
    names = ["none", "tail_shuffle", "tail_random", "tail_decoy", "truncate"]
    rows = run(*names, head_k=5, topk=[5, 12], valid_metric="NDCG@5")["defenses"]
    none, shuffled, *_ = rows
    for row in rows:
        assert row["target"]["test"]["hit@5"] == none["target"]["test"]["hit@5"]
        assert row["target"]["test"]["ndcg@5"] == none["target"]["test"]["ndcg@5"]
    assert shuffled["target"]["test"]["hit@12"] == none["target"]["test"]["hit@12"]
    assert rows[-1]["target"]["test"]["hit@12"] == rows[-1]["target"]["test"]["hit@5"]


def test_a_combined_defense_trains_once_and_serves_through_both(run, tmp_path):
    gro, both = run("gro", "gro+tail_decoy", head_k=5, gro_min_quality=0.5)["defenses"]
    [alone] = run("gro+tail_decoy", head_k=5, gro_min_quality=0.5)["defenses"]
    assert drop_fields(alone, "seconds") == drop_fields(both, "seconds")
    assert both["effective_settings"] == gro["effective_settings"]
    assert both["target"]["test"]["hit@5"] == gro["target"]["test"]["hit@5"]
    written = {path.name for path in (tmp_path / "out0").iterdir()}
    assert {"target-gro.pth", "surrogate-gro+tail_decoy.pth", "queries-gro+tail_decoy.npz"} <= written
    logs = [QueryLog.load(tmp_path / "out0" / f"queries-{name}.npz").lists for name in ("gro", "gro+tail_decoy")]
    assert torch.equal(logs[0][:, 0, :5], logs[1][:, 0, :5])
    assert not torch.equal(logs[0][:, 0, 5:], logs[1][:, 0, 5:])
    assert load_target(tmp_path / "out0" / "surrogate-gro+tail_decoy.pth").recommend([[1, 2]], k=3).shape == (1, 3)
    assert scalars(tmp_path / "out0" / "tensorboard" / "surrogate-gro+tail_decoy")


@pytest.mark.parametrize("given", [True, False])
def test_a_secret_key_is_written_nowhere_but_to_its_file(run, tmp_path, monkeypatch, caplog, given):
    secret = "the secret key of the owner"
    if given:
        monkeypatch.setenv(VARIABLE, secret)
    else:
        monkeypatch.delenv(VARIABLE, raising=False)
    settings = {"defense_key": "secret", "random_keyed": True, "head_k": 5, "state": "DEBUG"}
    results = run("tail_random", "random", **settings)
    file = tmp_path / "out0" / "defense.key"
    assert file.exists() != given
    key = defense_key(Config("NARM", "tiny", config_dict={**settings, "output_dir": str(tmp_path / "out0")}))
    for path in (tmp_path / "out0").rglob("*"):
        if path.is_file() and path != file:
            content = path.read_bytes()
            assert not any(text in content for text in (key, key.hex().encode(), secret.encode()))
    for text in (json.dumps(results), caplog.text):
        assert secret not in text
        assert key.hex() not in text
    assert results["config"]["defense_key"] == "secret"
    assert file.exists() != given


def test_a_secret_key_of_a_run_that_is_not_saved_is_not_written(tiny_data_path, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv(VARIABLE, raising=False)
    settings = {**tiny_run("NARM"), "data_path": str(tiny_data_path), "defense": "tail_shuffle", "head_k": 5}
    run_recbole_gro("NARM", "tiny", config_dict={**settings, "defense_key": "secret", "attack": False}, saved=False)
    assert list(tmp_path.iterdir()) == []


def test_surrogate_does_not_start_from_the_targets_weights(run, tmp_path):
    run("none", epochs=1, learning_rate=1e-12, surrogate_learning_rate=1e-12)
    folder = tmp_path / "out0"
    target, surrogate = (torch.load(folder / f"{name}.pth")["state_dict"] for name in ("target", "surrogate-none"))
    assert not torch.allclose(target["item_embedding.weight"], surrogate["item_embedding.weight"], atol=1e-3)


def test_without_attack(run, tmp_path):
    [row] = run("gro", attack=False)["defenses"]
    assert "surrogate" not in row
    assert {name.partition("/")[0] for name in files_below(tmp_path / "out0")} == FILES | {"target-gro.pth"}


def test_saved_false_writes_nothing(tiny_data_path, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    settings = {**tiny_run("NARM"), "data_path": str(tiny_data_path), "defense": ["none", "gro"]}
    results = run_recbole_gro("NARM", "tiny", config_dict=settings, saved=False)
    assert len(results["defenses"]) == 2
    assert list(tmp_path.iterdir()) == []
    assert "writes" not in (printed := capsys.readouterr().out)
    assert "results.json" not in printed


def test_all_files_are_in_one_folder_without_output_dir_too(tiny_data_path, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    settings = {**TINY_RUN, "data_path": str(tiny_data_path), "defense": "gro", "surrogate_model": "NARM"}
    run_recbole_gro("BERT4Rec", "tiny", config_dict=settings)
    assert [path.name for path in tmp_path.iterdir()] == ["runs"]
    [folder] = (tmp_path / "runs").iterdir()
    names = {name.partition("/")[0] for name in files_below(folder)}
    assert names == FILES | {"target-gro.pth", "surrogate-gro.pth", "queries-gro.npz"}


def test_the_most_popular_items_are_a_reference_beside_the_defenses(run, tmp_path, capsys):
    results = run("none", "reverse", learning_rate=1e-12)
    [reference] = results["references"]
    assert reference["defense"] == "popularity"
    assert set(reference) == {"defense", "meaning", "target"}
    assert set(reference["target"]["test"]) == set(results["defenses"][0]["target"]["test"])
    printed = capsys.readouterr().out
    for text in (printed, (tmp_path / "out0" / "results.md").read_text()):
        assert "| popularity " in text
    worse = [row["defense"] for row in results["defenses"] if ndcg(row) < ndcg(reference)]
    assert "none" in worse  # it is untrained
    for name in worse:
        assert f"defense {name}: the service has a worse NDCG@10 than a list of the most popular items" in printed


def test_all_references_stand_below_the_defenses(run, tmp_path, capsys):
    names = ["independent", "untrained", "own_history", "popularity"]
    results = run("none", "reverse", references=names, surrogate_learning_rate=1e-30)
    assert [row["defense"] for row in results["references"]] == names
    assert set(results["seconds"]) == {"dataset", "total", *names}
    for row in results["defenses"]:  # their surrogates are as good as untrained
        assert row["gain"] == {"ndcg@10": 0, "standard_error": 0}
        assert row["surrogate"]["test"]["ndcg@10"] == results["references"][1]["surrogate"]["test"]["ndcg@10"]
    text = (tmp_path / "out0" / "results.md").read_text()
    for shown in (capsys.readouterr().out, text):
        assert "| none (!) (=) " in shown
        assert "(=) This surrogate gained no more than noise" in shown
        rows = [line.split("|")[1].strip() for line in shown.splitlines() if line.startswith("|")]
        assert rows[-4:] == names
    assert all(f"\n- {name}: " in text for name in names)
    assert {name.partition("/")[0] for name in files_below(tmp_path / "out0")} >= {"target.pth", "surrogate-none.pth"}


def ndcg(row):
    return row["target"]["test"]["ndcg@10"]


def test_a_broken_attack_is_marked(run, tmp_path, capsys):
    [row] = run("none", surrogate_learning_rate=1e-30)["defenses"]
    assert row["surrogate_improved"] is False
    assert row["held_out_untrained"] == row["held_out"]["loss"]
    printed = capsys.readouterr().out
    for text in (printed, (tmp_path / "out0" / "results.md").read_text()):
        assert "| none (!) " in text
        assert "(!) The training of this surrogate failed" in text
    assert "attack on none: its loss on held-out queries is no better than before training" in printed


@pytest.mark.parametrize("cut", [True, False])
def test_a_target_that_was_still_improving_is_marked(run, tmp_path, capsys, first_epoch_is_best, cut):
    # validation gets worse from the first epoch on: early stopping after two more
    rows = run("none", "reverse", epochs=3 if cut else 4, eval_step=1, stopping_step=2, attack=False)["defenses"]
    assert [row["target_still_improving"] for row in rows] == [cut, cut]
    printed = capsys.readouterr().out
    for text in (printed, (tmp_path / "out0" / "results.md").read_text()):
        assert ("| none (^) " in text) is cut
        assert ("(^) The undefended target reached its maximum number of epochs" in text) is cut


def test_a_surrogate_that_was_still_improving_is_marked(run, tmp_path, capsys):
    rate = {"surrogate_learning_rate": 0.01, "surrogate_batch_size": 4}
    [row] = run("none", surrogate_epochs=2, surrogate_patience=5, **rate)["defenses"]
    assert (row["surrogate_improved"], row["surrogate_still_improving"]) == (True, True)
    printed = capsys.readouterr().out
    for text in (printed, (tmp_path / "out0" / "results.md").read_text()):
        assert "| none (+) " in text
        assert "(+) This surrogate was still improving" in text
    assert "attack on none: the surrogate was still improving after surrogate_epochs=2" in printed


def test_divergence_is_reported_and_finished_stages_stay(run, tmp_path):
    with pytest.raises(UserError, match=r"^surrogate-none: epoch 0, .*, so it stopped") as caught:
        run("none", surrogate_learning_rate=1e30, surrogate_batch_size=4, surrogate_epochs=3)
    assert "\n" not in str(caught.value)
    assert {"target.pth", "queries-none.npz", "run.log"} <= set(files_below(tmp_path / "out0"))
    assert "results.json" not in files_below(tmp_path / "out0")


def test_random_queries(run):
    [row] = run("none", query_strategy="random")["defenses"]
    assert row["lists_returned"] == 32


def test_only_an_attacker_that_declares_it_gets_data_and_as_a_plain_tensor(run, monkeypatch):
    received = {}
    for name in ("standard", "head", "repeat", "filtered", "few_shot"):
        attacker = type(create_attacker(name, Config("NARM")))

        def spy(self, black_box, generator, auxiliary=None, show_progress=False, name=name, query=attacker.query):
            received.setdefault(name, auxiliary)
            return query(self, black_box, generator, auxiliary, show_progress)

        monkeypatch.setattr(attacker, "query", spy)
        run("none", attacker=name, attacker_known_share=0.1)
    assert [name for name, auxiliary in received.items() if auxiliary is not None] == ["few_shot"]
    assert type(received["few_shot"]) is torch.Tensor
    assert received["few_shot"].shape == (4, 4)  # a tenth of 38 users, query_length items


def test_auxiliary_data_are_the_same_for_every_defense(run, tmp_path):
    run("none", "reverse", attacker="few_shot", attacker_known_share=0.1)
    logs = [QueryLog.load(tmp_path / "out0" / f"queries-{name}.npz") for name in ("none", "reverse")]
    assert torch.equal(logs[0].sequences[:4, 0], logs[1].sequences[:4, 0])


def test_rows_name_the_attacker_and_its_selected_hyperparameters(run, tmp_path):
    [row] = run("none", attacker="head")["defenses"]
    assert row["attacker"] == "head"
    assert row["selected_hyperparameters"]["attacker_head_k"] in (5, 10, 12)
    assert "attack on none: head: trains on the first h items" in (tmp_path / "out0" / "run.log").read_text()
    assert "- head: surrogate BERT4Rec from" in (tmp_path / "out0" / "results.md").read_text()
    assert {path.name for path in (tmp_path / "out0").glob("surrogate*")} == {"surrogate-none.pth"}
    [row] = run("none", attacker="head", attacker_head_k=3)["defenses"]
    assert row["selected_hyperparameters"] == {"attacker_head_k": 3}
    assert QueryLog.load(tmp_path / "out1" / "queries-none.npz").lists.shape == (8, 4, 12)


def test_an_impossible_attacker_is_reported_before_training(run, tmp_path):
    with pytest.raises(UserError, match=r"^attacker_repeats: 5 repeats leave 1 of 8 query sequences"):
        run("none", attacker="repeat", attacker_repeats=5)
    assert list(tmp_path.iterdir()) == []


def test_a_strategy_beyond_the_budget_is_stopped(run, monkeypatch):
    monkeypatch.setattr(queries._strategies, "_entries", dict(queries._strategies._entries))

    @register_query_strategy("greedy")
    class Greedy(QueryStrategy):
        def prefixes(self, n_items, n_sequences, length, generator):
            return super().prefixes(n_items, n_sequences + 1, length, generator)

    with pytest.raises(BudgetSpent, match="of 32 are left"):
        run("none", query_strategy="greedy")


def test_architecture_of_the_surrogate_from_a_file(run, tmp_path):
    (tmp_path / "small.yaml").write_text("hidden_size: 4\nn_heads: 1\n")
    run("none", surrogate_config="small.yaml")
    weights = torch.load(tmp_path / "out0" / "surrogate-none.pth")["state_dict"]
    assert weights["item_embedding.weight"].shape[1] == 4


def test_an_earlier_run_is_not_overwritten(run, tmp_path):
    (tmp_path / "out0").mkdir()
    (tmp_path / "out0" / "results.json").write_text("precious")
    with pytest.raises(UserError, match="is not empty"):
        run("none")
    assert files_below(tmp_path / "out0") == ["results.json"]


def test_agreement_among_the_metrics_is_refused(run, tmp_path):
    with pytest.raises(UserError, match=r"^metrics: a run always measures agreement"):
        run("none", metrics=["NDCG", "Agreement"])
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("settings", "role"),
    [
        ({"n_heads": 3}, "model"),
        ({"student_config": "odd.yaml"}, "student"),
        ({"surrogate_config": "odd.yaml"}, "surrogate"),
    ],
)
def test_a_model_that_cannot_be_built_is_reported_before_training(run, tmp_path, settings, role):
    (tmp_path / "odd.yaml").write_text("n_heads: 3\n")
    with pytest.raises(UserError, match=f"^{role}: cannot work with these settings: .*hidden size"):
        run("gro", **settings)
    assert [path.name for path in tmp_path.iterdir()] == ["odd.yaml"]


def test_a_model_that_divides_by_zero_is_reported_before_training(run, tmp_path):
    with pytest.raises(UserError, match=r"^model: cannot work with these settings: .*zero"):
        run("none", model="FEARec", n_layers=1)
    assert list(tmp_path.iterdir()) == []


def test_results_hold_every_setting(run):
    config = run("none")["config"]
    assert config["defense"] == ["none"]
    assert {"learning_rate", "MAX_ITEM_LIST_LENGTH", "hidden_size", "gro_lambda", "train_batch_size"} <= set(config)


@pytest.mark.parametrize("role", ["model", "student_model", "surrogate_model"])
def test_a_model_that_cannot_serve_is_refused_before_training(run, tmp_path, role):
    settings = {"model": "S3Rec"} if role == "model" else {role: "S3Rec"}
    with pytest.raises(UserError, match=f"^{role}: S3Rec cannot serve lists: it needs a pre-training run"):
        run("gro", **settings)
    assert list(tmp_path.iterdir()) == []


class WithAge(STAMP):
    """Reads a field that queries lack."""

    def full_sort_predict(self, interaction):
        return super().full_sort_predict(interaction) + interaction["age"].unsqueeze(1)


@pytest.mark.parametrize("role", ["student_model", "surrogate_model"])
def test_a_second_model_that_reads_more_than_a_sequence_is_reported_by_its_key(run, tmp_path, role):
    with pytest.raises(UserError, match=f"^{role}: WithAge reads 'age' too"):
        run("gro", **{role: WithAge})
    assert list(tmp_path.iterdir()) == []


def test_a_surrogate_that_reads_features_is_refused_before_training(run, tmp_path):
    with pytest.raises(UserError, match="surrogate_knows_features=True"):
        run("none", surrogate_model="GRU4RecF")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("model", ["FPMC", "SHAN"])
def test_models_with_users_serve_unknown_users(run, model):
    results = run("gro", model=model, train_batch_size=64)
    assert 0 <= results["defenses"][0]["surrogate"]["test"]["hit@5"] <= 1


def test_a_run_interrupted_before_its_report_gets_it_when_repeated(run, tmp_path, monkeypatch):
    def failing(figure):
        raise MemoryError

    with monkeypatch.context() as patch:
        patch.setattr(run_report, "png", failing)
        with pytest.raises(MemoryError):
            run("none", "reverse", output_dir="cut")
    assert not (tmp_path / "cut" / "results.png").exists()
    results = json.loads((tmp_path / "cut" / "results.json").read_text())
    text = (tmp_path / "cut" / "results.md").read_text()
    (tmp_path / "cut" / "results.md").unlink()
    assert run("none", "reverse", output_dir="cut") == results
    assert (tmp_path / "cut" / "results.png").read_bytes().startswith(b"\x89PNG")
    assert (tmp_path / "cut" / "results.md").read_text() == text
    assert not (tmp_path / "cut" / "resume").exists()


@pytest.mark.no_cover
def test_runs_leave_no_thread_file_or_handler_behind(run):
    def left():
        gc.collect()
        files = sorted(os.readlink(f"/proc/self/fd/{name}") for name in os.listdir("/proc/self/fd") if _is_open(name))
        handlers = logging.getLogger().handlers + logging.getLogger("recbole_gro").handlers
        return threading.enumerate(), files, list(handlers)

    before = left()[0]
    run("none", "gro", "gro_decoys", gro_head_k=5, gro_epochs=2, access_log=True)
    once = left()
    assert once[0] == before
    for _ in range(2):
        run("none", "gro", "gro_decoys", gro_head_k=5, gro_epochs=2, access_log=True)
    assert left() == once


def _is_open(name):
    return os.path.lexists(f"/proc/self/fd/{name}")  # the listing itself is closed by now


def test_a_gain_is_over_an_untrained_surrogate_of_the_selected_architecture(run):
    names = ["NARM", "SASRec"]
    results = run("none", surrogate_model=names, attacker=["standard", "standard+mixed"], references=["untrained"])
    beside = {row["defense"]: row["surrogate"]["test"]["ndcg@10"] for row in results["references"]}
    for row in results["defenses"]:
        own = row["selected_hyperparameters"]["surrogate_model"]
        untrained = beside["untrained" if len(beside) == 1 else f"untrained {own}"]
        gain = row["surrogate"]["test"]["ndcg@10"] - untrained
        assert row["gain"]["ndcg@10"] == pytest.approx(gain, abs=2e-4)
