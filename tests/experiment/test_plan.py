"""Experiment files, their cells, and invalid ones."""

import re
from pathlib import Path

import pytest

from recbole_gro import UserError
from recbole_gro.defense.defense_key import VARIABLE
from recbole_gro.experiment.grid_file import PARTS
from recbole_gro.experiment.plan import in_words, read_experiment
from recbole_gro.experiment.summary import cut_offs
from recbole_gro.quick_start.stage_fingerprints import Fingerprints
from recbole_gro.utils.packaged import known_experiments

OWN = """
title: Own
figure: gro_epochs
vary: {gro_epochs: [1, 2], defense: [none, gro]}
seeds: [4]
fixed: {model: NARM, gro_lambda: 0.5}
"""


@pytest.fixture
def own(tmp_path):
    """Write an experiment file, with a part replaced: `own(OWN.replace("Own", "Another"))`."""

    def write(text=OWN):
        file = tmp_path / "own.yaml"
        file.write_text(text)
        return str(file)

    return write


def test_the_papers_experiments_have_the_papers_values():
    assert {"defenses", "architectures", "lambda", "queries"} <= set(known_experiments())
    assert read_experiment("defenses").vary == {"defense": ["none", "random", "reverse", "gro"]}
    assert read_experiment("architectures").vary["surrogate_model"] == ["BERT4Rec", "NARM"]
    assert read_experiment("lambda").vary["gro_lambda"] == [0.001, 0.01, 0.1, 1.0]
    assert read_experiment("queries").vary["query_sequences"] == [1000, 3000, 5000]


@pytest.mark.parametrize("name", ["defenses", "architectures", "lambda", "queries"])
def test_every_cell_of_the_papers_experiments_has_valid_settings(name):
    experiment = read_experiment(name)
    for values, seed in experiment.cells():
        config = experiment.config(values, seed)
        assert config["seed"] == seed
        assert all(config[key] == value for key, value in values.items() if key != "defense")


def test_cells_are_all_combinations_with_seeds_changing_first(own):
    experiment = read_experiment(own(), {"seeds": [4, 5]})
    assert [(tuple(values.values()), seed) for values, seed in experiment.cells()] == [
        ((1, "none"), 4), ((1, "none"), 5), ((1, "gro"), 4), ((1, "gro"), 5),
        ((2, "none"), 4), ((2, "none"), 5), ((2, "gro"), 4), ((2, "gro"), 5),
    ]  # fmt: skip


def test_a_yaml_file_is_an_experiment(own):
    experiment = read_experiment(own())
    assert experiment.name == "own"
    config = experiment.config({"gro_epochs": 2, "defense": "gro"}, 4)
    assert (config["model"], config["gro_lambda"], config["gro_epochs"], config["defense"]) == ("NARM", 0.5, 2, ["gro"])


COPIES = "copies: [{attacker: standard}], changed: [], avoiding: []"
GROUPS = """
title: Groups
figure: target
vary:
  arm:
    plain: {defense: none, target_epoch: last}
    long: {defense: gro, gro_lambda: 0.0, gro_epochs: 9}
    swapped: {defense: gro}
  served_k: [10, 20]
against: {arm: [plain, long]}
seeds: [4]
fixed: {model: NARM, gro_lambda: 0.5, epochs: 3, topk: 5}
equal: {gro_epochs: epochs}
"""


def test_the_settings_of_a_group_vary_together(own):
    experiment = read_experiment(own(GROUPS))
    assert [tuple(values.values()) for values, _ in experiment.cells()] == [
        ("plain", 10), ("plain", 20), ("long", 10), ("long", 20), ("swapped", 10), ("swapped", 20),
    ]  # fmt: skip
    keys = ("defense", "target_epoch", "gro_lambda", "served_k", "epochs", "gro_epochs")
    configs = [experiment.config(*cell) for cell in experiment.cells()[::2]]
    assert [tuple(config[key] for key in keys) for config in configs] == [
        (["none"], "last", 0.5, 10, 3, 3), (["gro"], "best", 0.0, 10, 3, 9), (["gro"], "best", 0.5, 10, 3, 3),
    ]  # fmt: skip


def test_groups_are_chosen_by_name_and_an_equal_key_follows_the_other(own):
    experiment = read_experiment(own(GROUPS), {"arm": ["swapped", "plain"], "epochs": 7, "gro_lambda": 0.1})
    assert list(experiment.vary["arm"]) == ["swapped", "plain"]
    config = experiment.config(*experiment.cells()[0])
    assert (config["epochs"], config["gro_epochs"], config["gro_lambda"]) == (7, 7, 0.1)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"arm": "swaped"}, "unknown arm 'swaped'. Did you mean 'swapped'?"),
        ({"arm": [["plain"]]}, "unknown arm ['plain']"),
        ({"arm": []}, "arm takes a list of values, or groups"),
        ({"gro_epochs": 5}, "gro_epochs: experiment own sets it to the value of epochs; give epochs alone"),
        ({"defense": "none"}, "defense: each arm of experiment"),
        ({"arm": "plain", "target_epoch": "best"}, "target_epoch: each arm of experiment"),
        ({"target_epoch": "best"}, "target_epoch: arm plain of experiment"),
    ],
)
def test_a_setting_that_groups_leave_without_effect_is_refused(own, given, message):
    with pytest.raises(UserError) as caught:
        read_experiment(own(GROUPS), given)
    assert message in str(caught.value)


@pytest.mark.parametrize("name", ["paper", "paper-finetuning"])
@pytest.mark.parametrize("dataset", ["ml-1m", "amazon-beauty"])
def test_the_arms_of_the_paper_differ_in_the_defense_alone(name, dataset):
    experiment = read_experiment(name, {"dataset": dataset, "epochs": 150, "seeds": 1})
    configs = {tuple(values.values()): experiment.config(values, seed) for values, seed in experiment.cells()}
    lengths = {config["gro_epochs"] for config in configs.values()}
    assert lengths == {150 if name == "paper" else 50}
    assert {config["epochs"] for config in configs.values()} == {150}
    assert {config["stopping_step"] for config in configs.values()} == {150}  # so none stops early
    weights = {arm: config["gro_lambda"] for (arm, _), config in configs.items()}
    assert weights["GRO without the swap loss"] == 0
    assert weights["GRO"] == {"ml-1m": 1.0, "amazon-beauty": 0.001}[dataset]
    trainings = {Fingerprints(config, config["defense"][0]).training for config in configs.values()}
    assert len(trainings) == 1
    surrogates = {adversary: config["surrogate_model"] for (_, adversary), config in configs.items()}
    assert surrogates == {"paper": "BERT4Rec", "mixed": "GRU4Rec"}


def test_settings_take_precedence_over_the_file(own):
    experiment = read_experiment(own(), {"gro_epochs": 3, "gro_lambda": 0.1, "seeds": 9})
    assert experiment.vary["gro_epochs"] == [3]
    assert experiment.fixed == {"model": "NARM", "gro_lambda": 0.1}
    assert experiment.seeds == [9]


@pytest.mark.parametrize("several", [["gro", "none"], ("gro", "none"), "gro,none", "gro, none"])
def test_several_names_are_a_list_or_a_text_with_commas(own, several):
    assert read_experiment(own(), {"defense": several}).vary["defense"] == ["gro", "none"]
    fixed = own(OWN.replace(", defense: [none, gro]", ""))
    with pytest.raises(UserError, match=r"defense: experiment .* does not vary it; give one"):
        read_experiment(fixed, {"defense": several})


@pytest.mark.parametrize(
    ("key", "several"),
    [("model", ["NARM", "SASRec"]), ("dataset", "tiny,ml-100k"), ("gro_lambda", [0.1, 1]), ("served_k", (10, 20))],
)
def test_several_values_of_a_key_that_does_not_vary_are_refused(key, several):
    with pytest.raises(UserError, match=f"^{key}: experiment queries does not vary it; give one, or write a yaml file"):
        read_experiment("queries", {key: several})


def test_a_list_of_one_is_the_value_of_a_key_that_does_not_vary():
    assert read_experiment("queries", {"gro_lambda": [0.1]}).fixed["gro_lambda"] == 0.1


def test_keys_of_lists_take_lists_without_varying():
    assert read_experiment("queries", {"topk": [5, 10]}).fixed["topk"] == [5, 10]


def test_metrics_that_an_experiment_does_not_measure_are_refused(own):
    plan = read_experiment(own(OWN), {"metrics": ["Hit", "NDCG"]})
    assert plan.config(*plan.cells()[0])["metrics"] == ["Hit", "NDCG"]
    for given in (["NDCG", "MRR"], "MRR"):
        plan = read_experiment(own(OWN), {"metrics": given, "valid_metric": "MRR@5"})
        with pytest.raises(
            UserError, match=r"^metrics: an experiment measures Hit and NDCG, not MRR; use recbole-gro run"
        ):
            plan.config(*plan.cells()[0])


def test_names_of_datasets_and_groups_may_have_commas_between(own):
    assert read_experiment("datasets", {"dataset": "ml-1m, steam"}).vary["dataset"] == ["ml-1m", "steam"]
    names = list(read_experiment(own(GROUPS)).vary["arm"])
    assert list(read_experiment(own(GROUPS), {"arm": ", ".join(names)}).vary["arm"]) == names


def test_the_name_of_a_group_may_have_a_comma(own):
    renamed = own(GROUPS.replace("plain:", "'plain, best':").replace("[plain, long]", "[long]"))
    assert list(read_experiment(renamed, {"arm": "plain, best"}).vary["arm"]) == ["plain, best"]


def test_numbers_in_quotes_are_those_that_cells_read(own):
    text = OWN.replace("[1, 2]", "['300', '1000']").replace("gro_lambda: 0.5", "topk: '5,10'")
    experiment = read_experiment(own(text + "against: {gro_epochs: ['300']}\n"))
    assert experiment.vary["gro_epochs"] == [300, 1000]
    assert experiment.against == {"gro_epochs": [300]}
    assert cut_offs(experiment) == [1, 5, 10, 20, 50, 100]
    assert cut_offs(read_experiment(own(), {"topk": "7"})) == [1, 5, 7, 10, 20, 50, 100]
    assert read_experiment(own(), {"gro_epochs": "30,40"}).vary["gro_epochs"] == [30, 40]
    groups = read_experiment(own(OWN.replace("gro_epochs: [1, 2]", "arm: {'1': {gro_epochs: '3'}}").replace(
        "figure: gro_epochs", "figure: arm")), {"arm": "1"})  # fmt: skip
    assert groups.vary["arm"] == {"1": {"gro_epochs": 3}}


def test_cut_offs_are_those_of_fixed_varied_and_grouped_settings(own):
    fixed = OWN.replace("gro_lambda: 0.5", "topk: [7, 3]")
    varied = OWN.replace("gro_epochs: [1, 2]", "topk: [[7], 3]").replace("figure: gro_epochs", "figure: defense")
    grouped = OWN.replace("gro_epochs: [1, 2]", "arm: {a: {topk: 3}, b: {topk: [5, 7]}}").replace(
        "figure: gro_epochs", "figure: arm"
    )
    for text in (fixed, varied, grouped):
        assert cut_offs(read_experiment(own(text))) == [1, 3, 5, 7, 10, 20, 50, 100]


def test_several_numbers_are_a_list_or_a_tuple(own):
    experiment = read_experiment(own(), {"gro_epochs": (5, 6), "seeds": (1, 2)})
    assert (experiment.vary["gro_epochs"], experiment.seeds) == ([5, 6], [1, 2])


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("defences", "Did you mean 'defenses'? Known: alarms, architectures, "),
        ("nothing", "unknown experiment or yaml file 'nothing'. Known: alarms, architectures, "),
        ("absent.yaml", "unknown experiment or yaml file 'absent.yaml'."),
    ],
)
def test_an_unknown_experiment_is_refused_with_the_known_names(name, message):
    with pytest.raises(UserError, match="experiment") as caught:
        read_experiment(name)
    assert message in str(caught.value)


def test_a_folder_in_place_of_a_yaml_file_is_named(tmp_path):
    (tmp_path / "own.yaml").mkdir()
    with pytest.raises(UserError, match=r"own\.yaml: a folder; name a yaml file in it"):
        read_experiment(str(tmp_path / "own.yaml"))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[1", "not valid yaml"),
        ("!!python/object/apply:os.system ['true']", "not valid yaml"),
        ("- 1", "a mapping with title, figure"),
        ("title: \0", "own.yaml: not valid yaml: unacceptable character #x0000"),
        ("[" * 3000, "own.yaml: not valid yaml: it is nested too deeply"),
        ("seeds: [2024-13-01]", "own.yaml: not valid yaml: month must be in 1..12"),
        (OWN.replace("seeds: [4]", "seeds: 4"), "seeds is missing or not a list"),
        (OWN.replace("seeds: [4]", ""), "seeds is missing or not a list"),
        (OWN.replace("seeds: [4]", "seeds: [one]"), "seeds: ['one'] is not a list of whole numbers >= 0"),
        (OWN.replace("seeds: [4]", "seeds: []"), "seeds: [] is not a list of whole numbers >= 0"),
        (OWN.replace("seeds: [4]", "seeds: [4, 4]"), "seeds has duplicate values"),
        (OWN.replace("fixed:", "fixd:"), "own.yaml: unknown key 'fixd'; did you mean 'fixed'?"),
        (OWN + "colour: red", "unknown key 'colour'; the keys are title, figure, "),
        (OWN + "ownership: {reference: [1]}", "ownership: unknown key 'reference'; did you mean 'references'?"),
        (OWN + "ownership: {references: [1]}", "ownership: probes is missing or not a whole number"),
        (OWN.replace("title: Own", ""), "title is missing or not a text"),
        (
            OWN + "differs:\n  - The data: ours",
            "differs: {'The data': 'ours'} is no sentence; put the sentence in quotes",
        ),
        (OWN + "differs: [3]", "differs: 3 is no sentence; put the sentence in quotes"),
        (
            OWN.replace("model: NARM", "model: NARM, workers: 4"),
            "workers: cells do not read it; it is an option of the",
        ),
        (
            OWN.replace("defense: [", "stages_dir: [a, b], defense: ["),
            "stages_dir: cells do not read it; it is an option",
        ),
        (GROUPS.replace("target_epoch: last", "output_dir: out"), "output_dir: cells do not read it; it is an option"),
        (
            OWN + f"ownership: {{references: [1], probes: 9, {COPIES}, small: {{count: 1, model: NARM, workers: 2}}}}",
            "workers: cells do not read it",
        ),
        (
            (OWN + f"ownership: {{references: [1], probes: 9, {COPIES}, small: {{count: 1, model: NARM}}}}").replace(
                "standard}", "standard, output_dir: out}"
            ),
            "output_dir: cells do not read it",
        ),
        (
            OWN + "equal: {workers: gro_lambda}",
            "workers: cells do not read it; it is an option of the command (--workers)",
        ),
        (OWN.replace("vary:", "vari:"), "unknown key 'vari'; did you mean 'vary'?"),
        (OWN.replace("model: NARM", "model: NARM, gro_epochs: 3"), "fixed and vary both set gro_epochs; remove one"),
        (OWN.replace("model: NARM", "model: NARM, seed: 3"), "fixed and seeds both set seed; remove one"),
        (OWN.replace("model: NARM", "model: NARM, model: SASRec"), "key model occurs twice"),
        (GROUPS.replace("model: NARM", "model: NARM, arm: plain"), "fixed and vary both set arm; remove one"),
        (
            GROUPS.replace("{gro_epochs: epochs}", "{gro_epochs: epochs, gro_epochs: topk}"),
            "key gro_epochs occurs twice",
        ),
        (
            GROUPS.replace("epochs: 3,", "epochs: 3, gro_epochs: 4,"),
            "gro_epochs: experiment own sets it to the value of",
        ),
        (OWN.replace("[1, 2]", "[1, 1.0]"), "gro_epochs has duplicate values"),
        (OWN.replace("[1, 2]", "[]"), "gro_epochs takes a list of values"),
        (OWN.replace("[1, 2]", "3"), "gro_epochs takes a list of values"),
        (GROUPS.replace("{defense: none, target_epoch: last}", "none"), "arm plain takes settings, such as {defense"),
        (GROUPS.replace("served_k: [10, 20]", "defense: [none]"), "defense varies twice"),
        (GROUPS.replace("served_k: [10, 20]", "seed: [1]"), "seed varies twice, by groups, by itself or by seeds"),
        (GROUPS.replace("[plain, long]", "[plian]"), "against takes values of a varied key, and ['plian'] are none of"),
        (GROUPS.replace("{arm: [plain, long]}", "{arms: [plain]}"), "and ['plain'] are none of arms"),
        (GROUPS.replace("[plain, long]", "plain"), "against takes values of a varied key"),
        (GROUPS.replace("against: {arm: [plain, long]}", "against: [plain]"), "against is missing or not a mapping"),
        (GROUPS.replace("model: NARM", "model: NARM, defense: gro"), "fixed sets defense, and so does each arm"),
        (GROUPS.replace("epochs: 3, ", ""), "gro_epochs: experiment own sets it to the value of epochs"),
        (
            OWN.replace("figure: gro_epochs", "figure: gro_lambda"),
            "neither k, target, tradeoff, budget, detection, alarms, ownership, marks, table1 nor a varied key",
        ),
    ],
)
def test_an_invalid_file_is_reported_in_one_line(own, text, message):
    with pytest.raises(UserError) as caught:
        read_experiment(own(text))
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_every_file_of_this_repository_is_an_experiment():
    files = [*map(str, Path(__file__).parents[2].glob("results/paper/*.yaml")), *known_experiments()]
    assert len(files) >= 15
    assert all(read_experiment(file).settings() for file in files)


def test_the_page_on_experiments_names_every_packaged_one_and_every_key():
    page = (Path(__file__).parents[2] / "docs" / "how-to" / "experiments.md").read_text()
    assert set(known_experiments()) <= set(re.findall(r"^\| `([\w-]+)` \|", page, flags=re.MULTILINE))
    assert set(PARTS) <= set(re.findall(r"`(\w+)`", page))


def test_a_cell_has_one_defense(own):
    experiment = read_experiment(own(OWN.replace("defense: [none, gro]", "gro_decay: [True]")))
    experiment.fixed["defense"] = ["none", "gro"]
    with pytest.raises(UserError, match="defense: a cell has one, not none, gro"):
        experiment.config(*experiment.cells()[0])


def test_a_secret_key_of_cells_is_in_the_environment(own, monkeypatch):
    experiment = read_experiment(own(OWN.replace("none, gro", "tail_decoy").replace("0.5", "0.5, defense_key: secret")))
    monkeypatch.delenv(VARIABLE, raising=False)
    with pytest.raises(UserError, match=f"^defense_key: .* {VARIABLE} is unset; set it, or give defense_key=seed$"):
        experiment.config(*experiment.cells()[0])
    monkeypatch.setenv(VARIABLE, "0123456789abcdef")
    assert experiment.config(*experiment.cells()[0])["defense_key"] == "secret"


def test_values_in_words():
    assert in_words({"defense": "gro", "seed": 3}) == "defense gro, seed 3"


def test_no_defense_at_all_is_refused(own):
    experiment = read_experiment(own(OWN.replace("defense: [none, gro]", "defense: [null, gro]")))
    with pytest.raises(UserError, match=r"^defense: .*None"):
        experiment.config(*experiment.cells()[0])
