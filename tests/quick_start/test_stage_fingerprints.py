"""A fingerprint covers exactly the settings, data and code that a stage depends on."""

import copy
import importlib
import sys

import pytest
from conftest import synthetic_histories, write_inter
from pipeline import TINY_RUN
from recbole.config import Config as RecBoleConfig
from recbole.evaluator.register import metric_information, metric_types, metrics_dict
from recbole.model.sequential_recommender import NARM, BERT4Rec

from recbole_gro import (
    Attacker,
    Config,
    Defense,
    QueryStrategy,
    Service,
    SwapRule,
    create_attacker,
    create_defense,
    register_defense,
    register_query_strategy,
    register_swap_rule,
)
from recbole_gro.attack.attacker import _attackers
from recbole_gro.attack.query_strategies import _strategies
from recbole_gro.config import own_modules
from recbole_gro.config.plugins import sources_of
from recbole_gro.config.settings import Settings, fingerprint_inputs, key, plugin_keys
from recbole_gro.data.digests import data_fingerprint
from recbole_gro.defense.base import defenses
from recbole_gro.defense.gro.decoys import DecoyGRODefense
from recbole_gro.defense.gro.defense import GRODefense
from recbole_gro.defense.gro.swap_rules import _rules
from recbole_gro.quick_start.stage_cache import StageCache
from recbole_gro.quick_start.stage_fingerprints import WITHOUT_EFFECT, Fingerprints, code_of_run
from recbole_gro.quick_start.stages import Stages
from recbole_gro.serving.settings import AccessLogSettings

pytestmark = pytest.mark.no_cover  # other tests run these lines too (CONTRIBUTING.md)

STAGES = ("target", "defended", "service", "evaluation", "queries", "surrogate")


@pytest.fixture(autouse=True)
def parts_outside_the_package(own_parts):
    """A defense that declares an output-side setting, and one that declares nothing."""

    class NoiseSettings(Settings):
        noise_of_lists: float = key(0.1, "float >= 0", "scale of the noise")
        noise_scale: float = key(0.1, "float >= 0", "a name that one of RecBole's models has for a setting too")

    @register_defense("fingerprint_noise")
    class NoiseDefense(Defense):
        training_settings = ()
        output_settings = (NoiseSettings,)

        def shown(self, ranked):
            return ranked.flip(1)

    @register_defense("fingerprint_undeclared")
    class UndeclaredDefense(Defense):
        def shown(self, ranked):
            return ranked.flip(1)


@pytest.fixture
def prints(make_config):
    """Make {stage: fingerprint}: `prints("gro", gro_lambda=2.0)`."""

    def make(defense="gro", **settings):
        found = Fingerprints(make_config(**settings, defense=[defense]), defense)
        return {stage: getattr(found, stage) for stage in STAGES}

    return make


def changed(one, other):
    return {stage for stage in STAGES if one[stage] != other[stage]}


AFTER = {stage: set(STAGES[place:]) for place, stage in enumerate(STAGES)}
ATTACK = {"queries", "surrogate"}


@pytest.mark.parametrize(
    ("defense", "settings", "stages"),
    [
        ("gro", {"learning_rate": 0.01}, AFTER["target"]),
        ("gro", {"window_shift": 0.1}, AFTER["target"]),
        ("gro", {"seed": 8}, AFTER["target"]),
        ("gro", {"hidden_size": 32}, AFTER["target"]),
        ("gro", {"target_epoch": "last"}, AFTER["target"]),
        ("gro", {"gro_lambda": 2.0}, AFTER["defended"]),
        ("gro", {"gro_steps": 7}, AFTER["defended"]),
        ("gro", {"margin_rank": 0.1}, AFTER["defended"]),
        ("gro", {"gro_swap": "assigned", "margin_swap": 0.1}, AFTER["defended"]),
        ("gro", {"gro_swap": "assigned", "gro_rows": "tail"}, set()),
        ("gro", {"gro_swap": "decoys", "margin_swap": 0.1}, set()),
        ("gro", {"gro_rows": "tail"}, AFTER["defended"]),
        ("gro_decoys", {"gro_lambda": 2.0}, set()),
        ("gro_decoys", {"gro_start": "untrained"}, set()),
        ("gro_decoys", {"gro_swap": "paper"}, set()),
        ("gro_decoys", {"gro_target_loss": "own"}, set()),
        ("gro_decoys", {"gro_decay": False}, set()),
        ("gro_decoys", {"gro_rows": "tail"}, set()),
        ("gro_decoys", {"swap_candidates": "outside_head"}, set()),
        ("gro_decoys", {"margin_swap": 0.1}, set()),
        ("gro_decoys", {"gro_head_k": 2}, AFTER["defended"]),
        ("gro_decoys", {"gro_epochs": 3}, AFTER["defended"]),
        ("gro_decoys", {"gro_steps": 7}, AFTER["defended"]),
        ("gro_decoys", {"gro_learning_rate": 0.1}, AFTER["defended"]),
        ("gro_decoys", {"gro_min_quality": 0.5}, AFTER["defended"]),
        ("gro_decoys", {"margin_rank": 0.1}, AFTER["defended"]),
        ("gro_decoys", {"student_model": "NARM"}, AFTER["defended"]),
        ("gro", {"gro_contexts": "training"}, set()),
        ("gro", {"gro_contexts": "mixed"}, AFTER["defended"]),
        ("gro", {"gro_contexts": "mixed", "query_random_share": 0.1}, AFTER["defended"]),
        ("gro", {"gro_contexts": "training", "query_random_share": 0.1}, set()),
        ("none", {"gro_lambda": 2.0}, set()),
        ("none", {"margin_rank": 0.1}, {"surrogate"}),
        ("none", {"head_k": 2}, set()),
        ("none", {"served_k": 6}, AFTER["service"]),
        ("tail_decoy", {"head_k": 2}, AFTER["service"]),
        ("gro", {"metrics": ["Recall", "NDCG"]}, {"evaluation"}),
        ("gro", {"query_sequences": 4}, ATTACK),
        ("gro", {"query_strategy": "random"}, ATTACK),
        ("none", {"query_length": 5, "surrogate_model": "NARM"}, {"surrogate"}),
        ("gro", {"attacker": "filtered"}, ATTACK),
        ("gro", {"surrogate_model": "NARM"}, {"surrogate"}),
        ("gro", {"surrogate_epochs": 3}, {"surrogate"}),
        ("gro", {"surrogate_ensemble": 2}, {"surrogate"}),
        ("gro", {"surrogate_averaging": 0.9}, {"surrogate"}),
        ("gro", {"show_progress": True, "state": "DEBUG", "access_log": True}, set()),
        ("fingerprint_noise", {"noise_of_lists": 0.2}, AFTER["service"]),
        ("none", {"noise_of_lists": 0.2}, set()),
        ("fingerprint_undeclared", {"noise_of_lists": 0.2}, AFTER["defended"] - {"defended"}),
        ("none", {"noise_scale": 0.2}, AFTER["target"]),
        ("gro", {"surrogate_model": "GRU4Rec", "num_layers": 2}, {"surrogate"}),
        ("gro", {"surrogate_model": ["NARM", "GRU4Rec"], "dropout_prob": 0.1}, {"surrogate"}),
        ("gro", {"surrogate_model": "GRU4Rec", "attacker": "rounds", "num_layers": 2}, ATTACK),
        ("gro", {"surrogate_model": "SASRec", "hidden_size": 32}, AFTER["target"]),
        ("gro", {"student_model": "GRU4Rec", "num_layers": 2}, AFTER["defended"]),
        ("none", {"student_model": "GRU4Rec", "num_layers": 2}, set()),
        ("gro", {"surrogate_model": "GRU4Rec", "student_model": "GRU4Rec", "num_layers": 2}, AFTER["defended"]),
    ],
)
def test_a_setting_changes_the_stages_that_depend_on_it(prints, defense, settings, stages):
    small = {"head_k": 3} if defense == "tail_decoy" else {}
    if defense == "gro_decoys" or "gro_swap" in settings or "gro_rows" in settings:
        small = {"gro_head_k": 3, "gro_epochs": 2}
    if len(settings) > 1 and "show_progress" not in settings:  # only the last one changes
        *before, _ = settings
        small |= {name: settings[name] for name in before}
    assert changed(prints(defense, **small), prints(defense, **{**small, **settings})) == stages


def test_what_starts_from_untrained_weights_does_not_depend_on_the_epoch_of_the_target(prints):
    one, other = (prints(gro_start="untrained", target_epoch=epoch) for epoch in ("best", "last"))
    assert changed(one, other) == {"target"}


def test_a_key_that_was_added_counts_where_it_is_not_the_default(make_config):
    names = ["surrogate_ensemble", "surrogate_patience"]
    assert fingerprint_inputs(make_config(), names) == {"surrogate_patience": 3}
    assert fingerprint_inputs(make_config(surrogate_ensemble=2), names) == {
        "surrogate_ensemble": 2,
        "surrogate_patience": 3,
    }
    undeclared = Fingerprints(make_config(), "fingerprint_undeclared")
    assert "surrogate_ensemble" not in undeclared._read(None)


def test_an_attack_with_a_length_of_its_own_is_that_of_a_run_with_its_settings(make_config):
    named = Fingerprints(make_config(query_sequences=6, query_length=4), "none", "standard+mixed+3")
    spelled_out = make_config(query_sequences=8, query_length=3, query_strategy="mixed")
    assert named.surrogate == Fingerprints(spelled_out, "none", "standard").surrogate
    assert named.surrogate != Fingerprints(spelled_out, "none", "standard+mixed+4").surrogate


def test_an_explicit_default_changes_nothing(prints):
    assert changed(prints(), prints(gro_lambda=1.0, window_shift=0.5, learning_rate=0.001)) == set()


@pytest.mark.parametrize(
    ("name", "stages"), [("student_config", AFTER["defended"]), ("surrogate_config", {"surrogate"})]
)
def test_the_contents_of_a_file_count(prints, tmp_path, name, stages):
    file = tmp_path / "small.yaml"
    file.write_text("hidden_size: 8\n")
    before = prints(**{name: str(file)})
    file.write_text("hidden_size: 4\n")
    assert changed(before, prints(**{name: str(file)})) == stages
    moved = tmp_path / "moved.yaml"
    moved.write_text("hidden_size: 8\n")
    assert changed(before, prints(**{name: str(moved)})) == set()


def test_the_data_count_and_not_where_they_are(prints, make_config, tmp_path):
    histories = synthetic_histories()
    here, there = (write_inter(tmp_path / name, histories) for name in ("here", "there"))
    before = prints(data_path=str(here))
    assert changed(before, prints(data_path=str(there))) == set()
    file = there / "tiny" / "tiny.inter"
    file.write_text(file.read_text().replace("i1\t2", "i2\t2", 1))
    assert changed(before, prints(data_path=str(there))) == set(STAGES)
    (here / "tiny" / "tiny.item").write_text("item_id:token\ni1\n")
    assert set(data_fingerprint(make_config(data_path=str(here)))) == {"tiny.inter", "tiny.item"}


@pytest.mark.parametrize("module", ["recbole_gro.quick_start.stage_fingerprints", "recbole", "torch"])
def test_versions_count(prints, monkeypatch, module):
    before = prints()
    monkeypatch.setattr(f"{module}.__version__", "0.0.0")
    assert changed(before, prints()) == set(STAGES)


def test_the_build_of_torch_does_not_count(prints, monkeypatch):
    monkeypatch.setattr("torch.__version__", "2.0.0+cpu")
    before = prints()
    monkeypatch.setattr("torch.__version__", "2.0.0+cu121")
    assert changed(before, prints()) == set()


def test_references_count_for_the_comparison_alone(make_config):
    def comparison(**settings):
        return Fingerprints(make_config(**settings), "gro").comparison

    one = comparison(references=["untrained"])
    assert one == comparison(references="untrained")
    assert len({one, comparison(references=[]), comparison(references=["untrained", "popularity"])}) == 3
    found, other, wider = (
        Fingerprints(make_config(**settings), "none").references
        for settings in ({}, {"surrogate_model": "NARM"}, {"served_k": 6})
    )
    assert {name for name in found if found[name] != other[name]} == {"untrained"}
    assert {name for name in found if found[name] != wider[name]} == set(found)
    shorter = Fingerprints(make_config(query_length=4), "none").references
    assert {name for name in found if found[name] != shorter[name]} == {"untrained"}
    of_gro = Fingerprints(make_config(gro_lambda=3.0), "gro").references
    assert found == of_gro


def test_the_next_seed_is_that_of_its_own_run(make_config):
    here, there = (Fingerprints(make_config(seed=seed), "none") for seed in (7, 8))
    assert here.with_next_seed().target == there.target
    assert here.with_next_seed().evaluation == there.evaluation
    assert here.target != there.target


@pytest.mark.parametrize(
    ("stage", "later"),
    [("training", {"training", *AFTER["target"]}), ("queries", ATTACK)],
)
def test_a_variant_of_a_stage_changes_it_and_later_ones(make_config, stage, later):
    config = make_config(defense=["gro"])
    plain, varied = Fingerprints(config, "gro"), Fingerprints(config, "gro", variant={stage: "other"})
    assert getattr(varied, stage) == "other"
    assert {name for name in ("training", *STAGES) if getattr(plain, name) != getattr(varied, name)} == later
    assert varied.with_next_seed().surrogate == plain.with_next_seed().surrogate


def test_gro_from_scratch_needs_no_target(make_config):
    def stages(**settings):
        return list(Fingerprints(make_config(defense=["gro"], **settings), "gro").stages())

    assert stages() == ["target", "defended", "queries", "surrogate"]
    assert stages(gro_start="untrained") == ["defended", "queries", "surrogate"]
    assert stages(gro_start="untrained", attack=False) == ["defended"]


@pytest.fixture
def read_keys(monkeypatch):
    """A set that collects the keys read from any config, except those that a new config reads to check itself."""
    read, getitem, construct = set(), RecBoleConfig.__getitem__, Config.__init__

    def recorded(config, name):
        read.add(name)
        return getitem(config, name)

    def unrecorded(config, *args, **kwargs):
        before = set(read)
        construct(config, *args, **kwargs)
        read.intersection_update(before)

    monkeypatch.setattr(RecBoleConfig, "__getitem__", recorded)
    monkeypatch.setattr(Config, "__init__", unrecorded)
    return read


@pytest.fixture
def undeclared(make_loaders, read_keys, tmp_path):
    """Run all stages; return {stage: keys that it reads and its fingerprint does not cover}."""

    another = tmp_path / "another.yaml"  # a value of any type, and a file
    another.write_text("hidden_size: 2\n")

    def run(name="none", **settings):
        config, *loaders = make_loaders(**{**TINY_RUN, "head_k": 5, "gro_head_k": 5, "defense": [name], **settings})
        prints = Fingerprints(config, name)
        for stage in STAGES:
            getattr(prints, stage)
        defense, stages = prints.defense, Stages(config, loaders, StageCache(tmp_path / "stages"), prints, None)
        service = Service(stages.target(), config["served_k"], defense.answer)
        log, _ = stages.queries(service, name)
        (tmp_path / "stages" / f"queries-{prints.queries}.pth").unlink()
        (tmp_path / "stages" / f"target-{prints.target}.pth").unlink()
        steps = [
            ("target", lambda: stages.target()),
            ("service", lambda: create_defense(name, config)),
            ("defended", lambda: stages.defended()),
            ("evaluation", lambda: stages.evaluation(service)),
            ("queries", lambda: create_attacker(config["attacker"], config)),
            ("queries", lambda: stages.queries(service, name)),
            ("surrogate", lambda: stages.surrogate(log, name)),
        ]
        without_effect = {*WITHOUT_EFFECT, *AccessLogSettings.names, "stages_dir"}
        found = {}
        for stage, step in steps:
            read_keys.clear()
            step()
            read = sorted(read_keys & plugin_keys().keys() - without_effect - defense.fixed.keys())
            found[stage] = [key for key in read if not covers(config, name, stage, key, str(another))] + found.get(
                stage, []
            )
        return {stage: keys for stage, keys in found.items() if keys}

    return run


def covers(config, defense, stage, key, value):
    """Whether another value of a key gives another fingerprint of a stage."""
    changed = copy.copy(config)
    changed.final_config_dict = dict(config.final_config_dict)
    names = {"attacker": ("standard", "filtered"), "query_strategy": ("random", "mixed")}
    names |= {role: ("NARM", "GRU4Rec") for role in ("surrogate_model", "student_model")}
    names |= {"query_length": (3, 4)}  # a number that the length of a surrogate is worked out from
    if key in names:
        changed.final_config_dict[key] = value = next(name for name in names[key] if name != config[key])
    one, other = Fingerprints(config, defense), Fingerprints(changed, defense)
    _ = other.attacker  # created, as the defense is, before the value, which may be invalid, is set
    changed.final_config_dict[key] = "os:getcwd" if plugin_keys()[key].type.startswith("function") else value
    return getattr(one, stage) != getattr(other, stage)


PARTS = [
    *({"name": name} for name in defenses if not name.startswith("fingerprint_")),
    {"name": "random", "random_keyed": True},
    {"name": "gro", "student_model": "NARM"},
    {"name": "gro", "gro_rows": "tail", "swap_candidates": "outside_head"},
    {"name": "gro", "gro_contexts": "mixed"},
    {"name": "gro", "gro_target_loss": "hold", "gro_decay": True, "gro_min_quality": 0.5, "gro_epochs": 2},
    *({"name": "gro", "gro_swap": rule, "gro_epochs": 2} for rule in ("assigned", "assigned_tail", "decoys")),
    *({"attacker": name} for name in _attackers),
    *({"query_strategy": name} for name in _strategies),
    {"surrogate_model": "NARM", "surrogate_knows_features": True},
]


@pytest.mark.parametrize("part", PARTS, ids=lambda part: "-".join(map(str, part.values())))
def test_every_setting_that_a_part_reads_is_declared(undeclared, part, monkeypatch):
    monkeypatch.setenv("RECBOLE_GRO_DEFENSE_KEY", "k" * 16)
    small = {"gro_epochs": 2} if part.get("name") == "gro_decoys" else {}
    assert undeclared(**{**small, **part}) == {}


def test_a_setting_that_is_not_declared_is_found(undeclared, monkeypatch):
    name = "_".join(("attacker", "head", "k"))  # not in the source, which would count
    monkeypatch.setattr(
        defenses["fingerprint_noise"], "shown", lambda self, ranked: ranked.roll(self.config[name] or 0, 1)
    )
    assert undeclared("fingerprint_noise") == {"evaluation": [name], "queries": [name]}


def test_the_order_of_combined_defenses_counts(prints):
    one, other = prints("reverse+tail_decoy", head_k=2), prints("tail_decoy+reverse", head_k=2)
    assert changed(one, other) == AFTER["service"]


def test_a_users_class_of_the_same_name_is_another_target(make_config):
    own = type("BERT4Rec", (BERT4Rec,), {"__module__": "my_module"})
    one, other = (Fingerprints(make_config(model=model), "none") for model in ("BERT4Rec", own))
    assert one.target != other.target


OWN = """
from recbole.model.sequential_recommender import BERT4Rec
from recbole_gro import Attacker, Defense
from recbole_gro.attack import QueryStrategy
from recbole_gro.attack.surrogate_trainer import ExtractionTrainer
from recbole_gro.defense.gro.swap_rules import SwapRule


class Model(BERT4Rec): ...


class Part(Defense):
    training_settings = output_settings = ()

    def shown(self, ranked):
        return ranked.flip(1)


class Adversary(Attacker):
    settings = ()


class Trainer(ExtractionTrainer): ...


class Strategy(QueryStrategy):
    settings = ()


class Rule(SwapRule):
    def term(self, target_scores, served, student_scores, gradient): ...
"""


@pytest.fixture
def own_module(tmp_path, monkeypatch):
    """A user's module, and a call that edits it, or the module that it imports, as a new process sees it."""
    file, helper = tmp_path / "own_parts_of_a_user.py", tmp_path / "own_helper_of_a_user.py"
    file.write_text(OWN + "\n\nimport own_helper_of_a_user\n")
    helper.write_text("LAYERS = 2\n")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(own_modules, "_sources", {})
    module = importlib.import_module(file.stem)

    def edit(edited):
        own_modules._sources.clear()
        with (file if edited == "part" else helper).open("a") as opened:
            opened.write("LAYERS = 3\n")

    yield module, edit
    del sys.modules[file.stem], sys.modules[helper.stem]


@pytest.mark.parametrize("edited", ["part", "imported"])
@pytest.mark.parametrize(
    ("settings", "stages"),
    [
        ({"model": "own_parts_of_a_user:Model"}, AFTER["target"]),
        ({"defense": "own_part"}, AFTER["service"]),
        ({"defense": "gro", "gro_swap": "own_rule"}, AFTER["defended"]),
        ({"defense": "gro", "student_model": "own_parts_of_a_user:Model"}, AFTER["defended"]),
        ({"attacker": "own_adversary"}, ATTACK),
        ({"attacker": "own_trainer"}, ATTACK),
        ({"query_strategy": "own_strategy"}, ATTACK),
        ({"surrogate_model": ["NARM", "own_parts_of_a_user:Model"]}, {"surrogate"}),
        ({}, set()),
    ],
)
def test_the_code_of_a_users_classes_counts_for_the_stages_that_run_it(
    prints, own_module, monkeypatch, settings, stages, edited
):
    module, edit = own_module
    with_trainer = type("WithTrainer", (Attacker,), {"settings": (), "trainer": module.Trainer})
    for registry, name, part in (
        (defenses, "own_part", module.Part),
        (_rules, "own_rule", module.Rule),
        (_attackers, "own_adversary", module.Adversary),
        (_attackers, "own_trainer", with_trainer),
        (_strategies, "own_strategy", module.Strategy),
    ):
        monkeypatch.setitem(registry._entries, name, part)
    settings = {"defense": "none", **settings}
    before = prints(**settings)
    edit(edited)
    assert changed(before, prints(**settings)) == stages


def test_the_class_stands_for_a_script_that_is_run(monkeypatch):
    own = type("Own", (BERT4Rec,), {"__module__": "__main__"})
    assert list(sources_of(own, BERT4Rec, Fingerprints)) == ["__main__:Own"]


def test_a_key_of_this_plugin_counts_for_a_users_model_that_reads_it(make_config):
    one, other = (Fingerprints(make_config(model=ReadsHead, head_k=k), "none").target for k in (2, 3))
    assert one != other


class ReadsHead(BERT4Rec):
    """A model with a setting that a defense has too."""

    def __init__(self, config, dataset):
        super().__init__(config, dataset)
        self.head = config["head_k"]


def test_a_secret_key_counts_for_keyed_defenses_alone(prints, monkeypatch):
    def keyed(defense, key):
        monkeypatch.setenv("RECBOLE_GRO_DEFENSE_KEY", key * 16)
        return prints(defense, head_k=2, defense_key="secret")

    assert changed(keyed("tail_shuffle", "a"), keyed("tail_shuffle", "b")) == AFTER["service"]
    assert changed(keyed("tail_shuffle", "a"), keyed("tail_shuffle", "a")) == set()
    assert changed(keyed("none", "a"), keyed("none", "b")) == set()
    assert changed(keyed("aow", "a"), keyed("aow", "b")) == AFTER["defended"]
    assert changed(keyed("gro", "a"), keyed("gro", "b")) == set()
    for drawless in ("truncate", "tail_decoy", "random", "reverse"):
        assert changed(keyed(drawless, "a"), keyed(drawless, "b")) == set()
    monkeypatch.delenv("RECBOLE_GRO_DEFENSE_KEY")
    assert prints("truncate", head_k=2, defense_key="secret")  # where a keyed defense has no place for a key


def test_a_secret_key_counts_for_a_training_that_may_read_it(prints, monkeypatch):
    @register_defense("undeclared_training")
    class Undeclared(Defense):
        output_settings = ()

        def protect(self, target, train_data, valid_data, show_progress=False):
            return target

    def keyed(key):
        monkeypatch.setenv("RECBOLE_GRO_DEFENSE_KEY", key * 16)
        return prints("undeclared_training", defense_key="secret")

    assert changed(keyed("a"), keyed("b")) == AFTER["defended"]


def test_parts_that_declare_nothing_may_read_any_key(prints):
    class UndeclaredSettings(Settings):
        undeclared_by_it: int = key(1, "int >= 1", "read, not declared")

    @register_query_strategy("undeclared_strategy")
    class Undeclared(QueryStrategy):
        pass

    @register_swap_rule("undeclared_rule")
    class UndeclaredRule(SwapRule):
        def term(self, target_scores, served, student_scores, gradient): ...

    def one(value, **settings):
        return prints("gro", undeclared_by_it=value, **settings)

    own = {"query_strategy": "undeclared_strategy"}
    assert changed(one(1, **own), one(2, **own)) == AFTER["queries"]
    own = {"gro_swap": "undeclared_rule"}
    assert changed(one(1, **own), one(2, **own)) == AFTER["defended"]


FORGETFUL = """
import copy
import sys

from recbole_gro import Defense, QueryStrategy, Settings, key, register_defense, register_query_strategy


class ForgottenSettings(Settings):
    forgotten_by_it: int = key(1, "int >= 1", "read, and missing in what the part declares")


@register_defense("forgetful")
class Forgetful(Defense):
    training_settings = output_settings = ()

    def shown(self, ranked):
        return ranked.roll(ForgottenSettings.of(self.config).forgotten_by_it, 1)


@register_defense("forgetful_training")
class ForgetfulTraining(Defense):
    training_settings = output_settings = ()

    def protect(self, target, train_data, valid_data, show_progress=False):
        return target if self.config["forgotten_by_it"] == 1 else copy.deepcopy(target)


class DeclaredSettings(Settings):
    declared_by_another: int = key(1, "int >= 1", "of another part of the module")


@register_defense("declaring")
class Declaring(Defense):
    training_settings = ()
    output_settings = (DeclaredSettings,)

    def shown(self, ranked):
        return ranked.roll(DeclaredSettings.of(self.config).declared_by_another, 1)


NAME = "forgotten_by_it"


def shift(config):
    return config["forgotten_by_it"]


@register_defense("forgetful_helper")
class ForgetfulHelper(Defense):
    training_settings = output_settings = ()

    def shown(self, ranked):
        return ranked.roll(shift(self.config), 1)


@register_defense("forgetful_constant")
class ForgetfulConstant(Defense):
    training_settings = output_settings = ()

    def shown(self, ranked):
        return ranked.roll(self.config[NAME], 1)


@register_defense("forgetful_attribute")
class ForgetfulAttribute(Defense):
    training_settings = output_settings = ()

    def shown(self, ranked):
        return ranked.roll(sys.modules[__name__].ForgottenSettings.of(self.config).forgotten_by_it, 1)


@register_query_strategy("forgetful_strategy")
class ForgetfulStrategy(QueryStrategy):
    settings = ()

    def prefixes(self, *given):
        return super().prefixes(*given) * ForgottenSettings.of(self.config).forgotten_by_it
"""


def test_settings_that_a_users_part_reads_and_does_not_declare_count(prints, own_parts, tmp_path, monkeypatch):
    (tmp_path / "forgetful_parts.py").write_text(FORGETFUL)
    monkeypatch.syspath_prepend(str(tmp_path))
    importlib.import_module("forgetful_parts")
    try:
        for expected, name, own in (
            (set(), "none", {}),
            *((AFTER["service"], f"forgetful{how}", {}) for how in ("", "_helper", "_constant", "_attribute")),
            (AFTER["defended"], "forgetful_training", {}),
            (AFTER["queries"], "none", {"query_strategy": "forgetful_strategy"}),
        ):
            before, after = (prints(name, **own, forgotten_by_it=value) for value in (1, 2))
            assert changed(before, after) == expected
        for expected, name in ((set(), "forgetful"), (AFTER["service"], "declaring")):
            before, after = (prints(name, declared_by_another=value) for value in (1, 2))
            assert changed(before, after) == expected
    finally:
        del sys.modules["forgetful_parts"]


HELPED = """
from recbole.evaluator.base_metric import TopkMetric
from recbole.model.sequential_recommender.gru4rec import GRU4Rec
from recbole_gro import Settings, key, register_metric, register_scorer
from recbole_gro.scoring import NextItemScorer


class HelpedSettings(Settings):
    helped_by_it: int = key(1, "int >= 1", "read by a function of the module")


def factor(config):
    return HelpedSettings.of(config).helped_by_it


class HelpedModel(GRU4Rec):
    def __init__(self, config, dataset):
        super().__init__(config, dataset)
        self.factor = factor(config)


class HelpedByScorer(GRU4Rec):
    pass


@register_scorer("HelpedByScorer")
class HelpedScorer(NextItemScorer):
    def next_item_scores(self, sequences, lengths):
        return super().next_item_scores(sequences, lengths) * factor(self.model.config)


class Helped(TopkMetric):
    def __init__(self, config):
        super().__init__(config)
        self.factor = factor(config)


register_metric("Helped", Helped, percent=False)
"""


def test_settings_that_a_helper_reads_for_a_model_scorer_or_metric_count(prints, own_parts, tmp_path, monkeypatch):
    (tmp_path / "helped_parts.py").write_text(HELPED)
    monkeypatch.syspath_prepend(str(tmp_path))
    importlib.import_module("helped_parts")
    for table in (metrics_dict, metric_types, metric_information):
        monkeypatch.setitem(table, "helped", table.pop("helped"))  # other tests read them
    for expected, own in (
        (set(), {}),
        (AFTER["target"], {"model": "helped_parts:HelpedModel"}),
        (AFTER["target"], {"model": "helped_parts:HelpedByScorer"}),
        (AFTER["surrogate"], {"surrogate_model": "helped_parts:HelpedModel"}),
        (AFTER["surrogate"], {"surrogate_model": "helped_parts:HelpedByScorer"}),
        ({"evaluation"}, {"metrics": ["NDCG", "Helped"]}),
    ):
        before, after = (prints("none", **own, helped_by_it=value) for value in (1, 2))
        assert changed(before, after) == expected


def test_settings_that_a_subclass_of_gro_declares_count(prints):
    class StrengthSettings(Settings):
        strength_of_it: float = key(1.0, "float >= 0", "a setting of its own")

    @register_defense("own_gro")
    class OwnGRODefense(GRODefense):
        training_settings = (StrengthSettings,)

    assert changed(prints("own_gro"), prints("own_gro", strength_of_it=2.0)) == AFTER["defended"]


def test_a_users_code_may_read_what_gro_decoys_fixes(prints, own_parts):
    @register_defense("own_decoys")
    class OwnDecoysDefense(DecoyGRODefense):
        def protect(self, target, train_data, valid_data, show_progress=False):
            return super().protect(target, train_data, valid_data, self.config["gro_lambda"] > 1)

    small = {"gro_head_k": 3, "gro_epochs": 2}
    for given in ({"defense": "own_decoys"}, {"defense": "gro_decoys", "student_model": ReadsLambda}):
        before, after = (prints(**small, **given, gro_lambda=value) for value in (1.0, 2.0))
        assert changed(before, after) == AFTER["defended"]


class ReadsLambda(NARM):
    """A student that reads a setting of GRO's."""

    def __init__(self, config, dataset):
        super().__init__(config, dataset)
        self.width = config["gro_lambda"]


def test_features_of_further_files_count(prints, make_config, tmp_path):
    path = write_inter(tmp_path, synthetic_histories())
    extra = path / "tiny" / "tiny.useremb"
    extra.write_text("uid:token\n1\n")
    given = {"data_path": str(path), "additional_feat_suffix": ["useremb"]}
    before = prints(**given)
    extra.write_text("uid:token\n2\n")
    assert changed(before, prints(**given)) == set(STAGES)


def test_data_that_change_while_a_run_goes_on_keep_the_fingerprint_of_what_was_read(make_config, tmp_path):
    path = write_inter(tmp_path, synthetic_histories())
    config = make_config(data_path=str(path))
    config.data_digests = data_fingerprint(config)
    before = Fingerprints(config, "none").target
    file = path / "tiny" / "tiny.inter"
    file.write_text(file.read_text() + "u1\ti1\t99\n")
    assert Fingerprints(config, "none").target == before
    assert Fingerprints(make_config(data_path=str(path)), "none").target != before


@pytest.mark.parametrize(("role", "stages"), [("surrogate_model", {"surrogate"}), ("student_model", AFTER["defended"])])
def test_a_key_of_a_plugin_counts_for_a_users_surrogate_or_student_that_reads_it(prints, own_parts, role, stages):
    class WidthSettings(Settings):
        own_width_of_heads: int = key(2, "int >= 1", "width")

    given = {"defense": "gro", role: ReadsWidth}
    assert changed(prints(**given), prints(**given, own_width_of_heads=3)) == stages
    assert changed(prints(defense="gro"), prints(defense="gro", own_width_of_heads=3)) == set()


class ReadsWidth(NARM):
    """A model with a setting that a plugin declares."""

    def __init__(self, config, dataset):
        super().__init__(config, dataset)
        self.width = config["own_width_of_heads"]


def test_the_contents_of_a_file_count_for_a_users_target_that_reads_it(prints, own_parts, tmp_path):
    class TableSettings(Settings):
        own_table_of_items: str | None = key(None, "file or None", "a table")

    file = tmp_path / "table.yaml"
    file.write_text("first: 1\n")
    given = {"model": ReadsTable, "own_table_of_items": str(file)}
    before = prints(**given)
    file.write_text("first: 2\n")
    assert changed(before, prints(**given)) == set(STAGES)


class ReadsTable(NARM):
    """A model with a file that a plugin declares."""

    def __init__(self, config, dataset):
        super().__init__(config, dataset)
        self.table = config["own_table_of_items"]


class OwnMetric(metrics_dict["hit"]):
    """A metric with a setting that a plugin declares."""

    def __init__(self, config):
        super().__init__(config)
        self.power = config["own_power_of_ranks"]


@pytest.fixture
def own_metric(monkeypatch):
    """The metric `own` of a user."""
    for table in (metrics_dict, metric_types, metric_information):
        monkeypatch.setitem(table, "own", OwnMetric if table is metrics_dict else table["hit"])


# a metric that early stopping watches decides which epoch of the target is the best
WATCHED = pytest.mark.parametrize(
    ("valid_metric", "stages"), [("NDCG@5", {"evaluation"}), ("Own@5", {"training", *STAGES})]
)


@WATCHED
def test_the_code_of_a_users_metric_counts(make_config, own_metric, monkeypatch, valid_metric, stages):
    found, codes = [], []
    for source in ("one", "other"):
        monkeypatch.setattr("recbole_gro.config.plugins.source", lambda _, source=source: source)
        config = make_config(metrics=["Hit", "NDCG", "Own"], valid_metric=valid_metric)
        prints = Fingerprints(config, "gro")
        found.append({stage: getattr(prints, stage) for stage in ("training", *STAGES)})
        codes.append(code_of_run(config))
    assert {stage for stage in found[0] if found[0][stage] != found[1][stage]} == stages
    assert codes[0].keys() == codes[1].keys() >= {__name__}
    assert codes[0] != codes[1]


@WATCHED
def test_a_key_of_a_plugin_counts_for_a_users_metric_that_reads_it(prints, own_parts, own_metric, valid_metric, stages):
    class PowerSettings(Settings):
        own_power_of_ranks: float = key(1.0, "float >= 0", "power")

    given = {"metrics": ["Hit", "NDCG", "Own"], "valid_metric": valid_metric}
    assert changed(prints(**given), prints(**given, own_power_of_ranks=2.0)) == stages - {"training"}
    assert changed(prints(), prints(own_power_of_ranks=2.0)) == set()
