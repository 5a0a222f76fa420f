"""The stages of a comparison."""

import shutil
import time
from concurrent.futures import ThreadPoolExecutor
from typing import ClassVar

import pytest
import torch
from pipeline import TINY_RUN, same_weights

from recbole_gro import (
    Defense,
    GROTrainer,
    QueryLog,
    Service,
    Settings,
    UserError,
    key,
    load_target,
    register_defense,
    run_recbole_gro,
)
from recbole_gro.attack import attacker
from recbole_gro.attack.attacker import Attacker
from recbole_gro.config.models import copied_model
from recbole_gro.defense.gro import callback
from recbole_gro.defense.gro.defense import GRODefense
from recbole_gro.quick_start import run_checkpoint
from recbole_gro.quick_start.stage_cache import StageCache
from recbole_gro.quick_start.stage_fingerprints import Fingerprints
from recbole_gro.quick_start.stages import Stages


@pytest.fixture
def make_stages(make_loaders, tmp_path):
    """Make the stages of a tiny comparison: `make_stages("gro", gro_start="untrained")`; one cache per test."""

    def make(name="none", output_dir=None, **settings):
        config, *loaders = make_loaders(**{**TINY_RUN, "defense": [name], **settings})
        return Stages(config, loaders, StageCache(tmp_path / "stages"), Fingerprints(config, name), output_dir)

    return make


def test_a_defense_of_lists_serves_the_target(make_stages):
    stages = make_stages("reverse")
    served, effective = stages.defended()
    assert effective == {}
    assert same_weights(served.state_dict(), stages.target().state_dict())
    assert not served.training


def test_the_undefended_target_is_that_of_no_defense_whatever_the_stages_are_of(make_stages):
    reverse = make_stages("reverse")
    _, undefended = reverse.undefended()
    _, served = reverse.evaluation(Service(reverse.target(), TINY_RUN["served_k"], reverse.defense.answer))
    assert undefended["test"].flip(1).equal(served["test"])
    assert make_stages().undefended()[1]["test"].equal(undefended["test"])


@pytest.mark.parametrize(("start", "trained"), [("converged", {"target", "defended"}), ("untrained", {"defended"})])
def test_the_target_is_trained_only_where_the_defense_starts_from_it(make_stages, start, trained):
    stages = make_stages("gro", gro_start=start)
    stages.defended()
    assert set(stages.seconds) == trained
    assert (stages.target_still_improving is None) is (start == "untrained")


def test_the_last_epoch_of_the_target_is_of_the_same_training(make_stages, tmp_path):
    best = make_stages(epochs=3, eval_step=1).target()
    last = make_stages(epochs=3, eval_step=1, target_epoch="last", output_dir=tmp_path)
    weights = last.target().state_dict()
    assert [*(tmp_path / "stages").glob("target-*.pth")] == [last.cache.file("target", last.prints.training)]
    plain = make_stages(epochs=3, eval_step=4)  # no evaluation, so its only checkpoint is that of the last epoch
    assert same_weights(weights, plain.target().state_dict())
    assert not same_weights(weights, best.state_dict())
    assert same_weights(weights, torch.load(tmp_path / "target.pth", weights_only=True)["state_dict"])


def test_checkpoints_are_in_the_output_folder_also_where_the_cache_had_them(make_stages, tmp_path):
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        make_stages(output_dir=tmp_path / name).target()
    one, two = (torch.load(tmp_path / name / "target.pth", weights_only=True)["state_dict"] for name in ("one", "two"))
    assert same_weights(one, two)


def test_the_state_of_a_defense_after_a_cached_evaluation_is_the_one_after_a_computed_one(make_stages):
    states = []
    for _ in range(2):
        stages = make_stages("random")
        defense = stages.defense
        stages.evaluation(Service(stages.target(), TINY_RUN["served_k"], defense.answer))
        states.append(defense.state_dict()["generator"])
    assert states[0].equal(states[1])
    assert not states[0].equal(make_stages("random").defense.state_dict()["generator"])


@pytest.mark.parametrize(("attacker", "n_auxiliary"), [("standard", 0), ("few_shot", 4)])
def test_the_facts_of_a_query_log_are_those_of_the_attack(make_stages, attacker, n_auxiliary):
    stages = make_stages(attacker=attacker, attacker_known_share=0.1)
    defense = stages.defense
    log, facts = stages.queries(Service(stages.target(), TINY_RUN["served_k"], defense.answer), "none")
    assert log.lists.shape == (8, 4, 12)
    assert facts == {
        "query_strategy": "autoregressive",
        "query_sequences": 8,
        "auxiliary_sequences": n_auxiliary,
        "repeats": 1,
        "lists_returned": 32,
    }


def test_an_access_log_of_queries_from_the_cache_is_reported_missing(make_stages, tmp_path, caplog):
    for folder, given, named in (("one", {}, False), ("two", {"access_log": True}, True)):
        (tmp_path / folder).mkdir()
        stages = make_stages(output_dir=tmp_path / folder, **given)
        defense = stages.defense
        stages.queries(Service(stages.target(), TINY_RUN["served_k"], defense.answer), "none")
        stage = stages.cache.file("queries", stages.prints.queries)
        line = f"access_log: without effect on none, whose queries were sent before and are read from {stage}; "
        assert any(message.startswith(line) for message in caplog.messages) == named


@pytest.mark.parametrize("ensemble", [1, 2])
def test_a_surrogate_from_the_cache_is_the_trained_one(make_stages, ensemble):
    surrogates = []
    for _ in range(2):
        stages = make_stages(surrogate_ensemble=ensemble)
        defense = stages.defense
        log, _ = stages.queries(Service(stages.target(), TINY_RUN["served_k"], defense.answer), "none")
        surrogates.append(stages.surrogate(log, "none"))
    (one, facts), (two, cached_facts) = surrogates
    assert same_weights(one.state_dict(), two.state_dict())
    assert facts == cached_facts
    assert len(getattr(one, "members", [one])) == ensemble


def test_auxiliary_data_are_as_long_as_the_sequences_of_the_attack(make_stages):
    stages = make_stages(attacker_known_share=0.5).attacked_by("few_shot+2")
    defense = stages.defense
    log, facts = stages.queries(Service(stages.target(), TINY_RUN["served_k"], defense.answer), "none")
    assert log.sequences.shape == (16, 2)
    assert (facts["query_sequences"], facts["lists_returned"]) == (16, 32)


def test_a_defense_that_writes_no_checkpoint_leaves_one_that_serves(tiny_data_path, tmp_path, own_parts):
    @register_defense("negated")
    class NegatedDefense(Defense):
        training_settings, output_settings = (), ()

        def protect(self, target, train_data, valid_data, show_progress=False):
            model = copied_model(target)
            model.output_bias.data.neg_()
            return model

    settings = {**TINY_RUN, "data_path": str(tiny_data_path), "defense": ["negated"], "attack": False}
    run_recbole_gro("BERT4Rec", "tiny", config_dict={**settings, "output_dir": str(tmp_path / "run")})
    served = load_target(tmp_path / "run" / "target-negated.pth").model
    target = load_target(tmp_path / "run" / "target.pth").model
    assert torch.equal(served.output_bias, -target.output_bias)


class HalfTrainer(GROTrainer):
    """Trains with another lambda, and keeps the stage of the trainer that it derives from."""

    overrides: ClassVar = {"gro_lambda": 0.5}


class HalfGRODefense(GRODefense):
    """GRO with half of the swap loss; `changed` changes the model that its trainer saved."""

    trainer = HalfTrainer
    changed = False

    def protect(self, target, train_data, valid_data, show_progress=False):
        model = super().protect(target, train_data, valid_data, show_progress)
        if self.changed:
            model.output_bias.data.fill_(7)
        return model


def run_with(tiny_data_path, folder, **given):
    settings = {**TINY_RUN, "data_path": str(tiny_data_path), "attack": False, "references": [], **given}
    results = run_recbole_gro("BERT4Rec", "tiny", config_dict={**settings, "output_dir": str(folder)})
    return {row["defense"]: row["target"] for row in results["defenses"]}


def weights(folder, name):
    return load_target(folder / f"target-{name}.pth").model.state_dict()


@pytest.mark.parametrize("model", ["GRU4RecF", "SASRecF", "FDSA"])
def test_a_model_of_item_features_is_defended(tiny_data_path, tmp_path, model):
    shutil.copytree(tiny_data_path, tmp_path / "data")
    rows = "".join(f"i{item}\tkind{item % 4} all\n" for item in range(30))
    (tmp_path / "data" / "tiny" / "tiny.item").write_text(f"item_id:token\tclass:token_seq\n{rows}")
    widths = {"hidden_size", "inner_size", "n_layers", "n_heads", "embedding_size"}
    given = {key: value for key, value in TINY_RUN.items() if key not in widths} | {
        "data_path": str(tmp_path / "data"),
        "load_col": {"inter": ["user_id", "item_id", "timestamp"], "item": ["item_id", "class"]},
        "selected_features": ["class"],
        "attack": False,
        "references": [],
        "defense": ["none", "gro", "injected"],
        "injected_pool": 10,
        "injected_runs": 3,
        "output_dir": str(tmp_path / "run"),
    }
    results = run_recbole_gro(model, "tiny", config_dict=given)
    assert [row["defense"] for row in results["defenses"]] == ["none", "gro", "injected"]
    for name in ("gro", "injected"):
        assert load_target(tmp_path / "run" / f"target-{name}.pth").recommend([[1, 2]], 3).shape == (1, 3)


def test_a_trainer_that_names_no_stage_writes_the_checkpoint_of_its_defense(tiny_data_path, tmp_path, own_parts):
    register_defense("gro_half")(HalfGRODefense)
    alone = run_with(tiny_data_path, tmp_path / "alone", defense=["gro"])
    both = run_with(tiny_data_path, tmp_path / "both", defense=["gro", "gro_half"], gro_lambda=4.0)
    strong = run_with(tiny_data_path, tmp_path / "strong", defense=["gro"], gro_lambda=4.0)
    assert both["gro"] == strong["gro"]
    assert same_weights(weights(tmp_path / "both", "gro"), weights(tmp_path / "strong", "gro"))
    assert not same_weights(weights(tmp_path / "both", "gro"), weights(tmp_path / "both", "gro_half"))
    assert alone["gro"] != both["gro"]


def test_the_model_that_a_defense_returns_is_served_and_saved(tiny_data_path, tmp_path, own_parts, monkeypatch):
    changed = {}
    for name, changes in (("as_trained", False), ("changed", True)):
        with monkeypatch.context() as patched:
            patched.setattr(HalfGRODefense, "changed", changes)
            register_defense(f"gro_{name}")(HalfGRODefense)
            run_with(tiny_data_path, tmp_path / name, defense=[f"gro_{name}"])
        changed[name] = bool((weights(tmp_path / name, f"gro_{name}")["output_bias"] == 7).all())
    assert changed == {"as_trained": False, "changed": True}


@pytest.mark.parametrize(
    ("protect", "reason"),
    [
        (lambda *_: None, "protect returned NoneType; the model to serve is expected, a BERT4Rec$"),
        (lambda *_: torch.nn.Linear(1, 1), "protect returned Linear; the model to serve"),
        (
            lambda _, target, *__: target.load_state_dict({n: v * torch.nan if v.is_floating_point() else v
                                                           for n, v in target.state_dict().items()}) and target,
            "the weights of its model are NaN; its training diverged$",
        ),
    ],
)  # fmt: skip
def test_a_defense_that_returns_no_model_is_named(tiny_data_path, tmp_path, own_parts, protect, reason):
    given = {"protect": protect, "training_settings": (), "output_settings": ()}
    register_defense("faulty")(type("Faulty", (Defense,), given))
    with pytest.raises(UserError, match=f"^defense: faulty: {reason}"):
        run_with(tiny_data_path, tmp_path / "run", defense=["faulty"])


def test_draws_from_the_global_generator_do_not_depend_on_what_ran_before(tiny_data_path, tmp_path, own_parts):
    @register_defense("shuffled")
    class Shuffled(Defense):
        training_settings, output_settings = (), ()

        def shown(self, ranked):
            return ranked.gather(1, torch.rand(ranked.shape).argsort(1))

    alone = run_with(tiny_data_path, tmp_path / "alone", defense=["shuffled"])
    after = run_with(tiny_data_path, tmp_path / "after", defense=["none", "gro", "shuffled"])
    assert alone["shuffled"] == after["shuffled"]


def test_an_untrained_model_that_a_defense_starts_from_does_not_depend_on_what_ran_before(
    tiny_data_path, tmp_path, own_parts
):
    @register_defense("from_nothing")
    class FromNothing(Defense):
        training_settings, output_settings, needs_target = (), (), False

        def protect(self, target, train_data, valid_data, show_progress=False):
            return target

    alone = run_with(tiny_data_path, tmp_path / "alone", defense=["from_nothing"])
    torch.rand(5)
    after = run_with(tiny_data_path, tmp_path / "after", defense=["none", "from_nothing"])
    assert alone["from_nothing"] == after["from_nothing"]


def test_a_surrogate_has_no_interactions_of_the_target(make_stages, monkeypatch):
    given = []

    def train_surrogate(self, log, n_items, items, *args, **options):
        given.append(items)
        raise UserError("seen")

    monkeypatch.setattr(Attacker, "train_surrogate", train_surrogate)
    stages = make_stages()
    log, _ = stages.queries(Service(stages.target(), TINY_RUN["served_k"], stages.defense.answer), "none")
    with pytest.raises(UserError, match="seen"):
        stages.surrogate(log, "none")
    assert given == [None]


def test_a_setting_of_a_users_variant_of_gro_counts(make_config, make_model, own_parts, monkeypatch):
    monkeypatch.setattr(callback._callbacks, "_entries", dict(callback._callbacks._entries))

    class FreezeSettings(Settings):
        gro_freeze: bool = key(False, "bool", "whether item embeddings stay")

    @callback.register_callback("gro_freeze")
    class Freeze(callback.GROCallback):
        settings, off = (FreezeSettings,), False

    off, on = (Fingerprints(make_config(gro_freeze=value), "gro") for value in (False, True))
    assert off.target == on.target
    assert off.defended != on.defended
    trainer = GROTrainer(make_config(gro_freeze=True), make_model("BERT4Rec"))
    assert [type(each) for each in trainer.callbacks] == [Freeze]


def test_a_surrogate_is_loaded_as_its_own_architecture_by_whatever_name(make_stages, tmp_path, monkeypatch):
    (tmp_path / "models_of_a_user.py").write_text(
        "from recbole.model.sequential_recommender import NARM\n\n\nclass Own(NARM):\n    pass\n"
    )
    (tmp_path / "models_again.py").write_text("from models_of_a_user import Own\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setattr(
        attacker, "held_out_agreement", lambda candidates, log: {name: name != "BERT4Rec" for name in candidates}
    )
    stages = make_stages(surrogate_model=["BERT4Rec", "models_again:Own"])
    defense = stages.defense
    log, _ = stages.queries(Service(stages.target(), TINY_RUN["served_k"], defense.answer), "none")
    surrogate, facts = stages.surrogate(log, "none")
    assert facts["surrogate_model"] == "models_of_a_user:Own"
    assert type(surrogate).__name__ == "Own"


def test_a_checkpoint_of_an_interrupted_training_is_replaced_by_that_of_the_stage(make_stages, tmp_path):
    kept = make_stages(output_dir=tmp_path / "one").target().state_dict()
    folder = tmp_path / "other"
    folder.mkdir()
    file = folder / "target.pth"
    interrupted = torch.load(tmp_path / "one" / "target.pth")
    for weights in interrupted["state_dict"].values():
        weights.zero_()
    for content in (interrupted, {"damaged": 1}):
        torch.save(content, file)
        make_stages(output_dir=folder).target()
        assert same_weights(torch.load(file)["state_dict"], kept)
    before = file.stat().st_mtime_ns
    make_stages(output_dir=folder).target()
    assert file.stat().st_mtime_ns == before


def test_workers_that_read_a_shared_stage_write_its_checkpoint_one_at_a_time(make_stages, tmp_path, monkeypatch):
    make_stages().target()  # into the cache
    (tmp_path / "out").mkdir()
    workers, writing, most = [make_stages(output_dir=tmp_path / "out") for _ in range(3)], [], []
    write = run_checkpoint.save_state

    def slow(*arguments):
        writing.append(1)
        most.append(len(writing))
        time.sleep(0.2)
        write(*arguments)
        writing.pop()

    monkeypatch.setattr(run_checkpoint, "save_state", slow)
    with ThreadPoolExecutor(3) as pool:
        list(pool.map(lambda stages: stages.target(), workers))
    assert most == [1]  # the others find it written
    assert load_target(tmp_path / "out" / "target.pth")


def repeated(attack, black_box, generator, auxiliary=None, show_progress=False):
    log = attacker.StandardAttacker(attack.config).query(black_box, generator)
    return QueryLog(log.sequences.repeat(3, 1), log.lists.repeat(3, 1, 1))


def invented(attack, black_box, generator, auxiliary=None, show_progress=False):
    return QueryLog(torch.ones(5, 4, dtype=torch.long), torch.arange(1, black_box.k + 1).expand(5, 4, -1))


@pytest.mark.parametrize(
    ("query", "n_lists", "returned"), [(repeated, 3 * 20 * 4, 20 * 4), (invented, 20, 0)], ids=["repeated", "invented"]
)
def test_a_query_log_with_lists_that_nobody_returned_is_refused(make_stages, monkeypatch, query, n_lists, returned):
    monkeypatch.setattr(attacker, "_attackers", type(attacker._attackers)("attacker"))
    attacker._attackers.register("own")(type("Own", (attacker.Attacker,), {"settings": (), "query": query}))
    stages = make_stages(attacker="own", query_sequences=20).attacked_by("own")
    service = Service(stages.target(), stages.config["served_k"])
    line = f"^attacker: own: its query log has {n_lists} lists, and the black box returned {returned}; it holds a list"
    with pytest.raises(UserError, match=line):
        stages.queries(service, "none own")
