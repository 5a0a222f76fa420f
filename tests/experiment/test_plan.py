"""Which cells an experiment has, and what is said about one that cannot be run."""

import pytest

from recbole_gro import UserError
from recbole_gro.experiment.plan import known_experiments, read_experiment

OWN = """
title: Mine
figure: gro_epochs
vary: {gro_epochs: [1, 2], defense: [none, gro]}
seeds: [4]
fixed: {model: NARM, gro_lambda: 0.5}
"""


@pytest.fixture
def own(tmp_path):
    """Write an experiment file, with one part replaced: `own(OWN.replace("Mine", "Yours"))`."""

    def write(text=OWN):
        file = tmp_path / "own.yaml"
        file.write_text(text)
        return str(file)

    return write


def test_the_papers_experiments_are_there_with_the_papers_values():
    assert {"defenses", "architectures", "lambda", "queries"} <= set(known_experiments())
    assert read_experiment("defenses").vary == {"defense": ["none", "random", "reverse", "gro"]}
    assert read_experiment("architectures").vary["surrogate_model"] == ["BERT4Rec", "NARM"]
    assert read_experiment("lambda").vary["gro_lambda"] == [0.001, 0.01, 0.1, 1.0]
    assert read_experiment("queries").vary["query_sequences"] == [1000, 3000, 5000]


@pytest.mark.parametrize("name", ["defenses", "architectures", "lambda", "queries"])
def test_each_of_them_can_be_run(name):
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


def test_a_file_of_ones_own(own):
    experiment = read_experiment(own())
    assert experiment.name == "own"
    config = experiment.config({"gro_epochs": 2, "defense": "gro"}, 4)
    assert (config["model"], config["gro_lambda"], config["gro_epochs"], config["defense"]) == ("NARM", 0.5, 2, ["gro"])


def test_settings_go_over_the_file(own):
    experiment = read_experiment(own(), {"gro_epochs": 3, "gro_lambda": 0.1, "seeds": 9})
    assert experiment.vary["gro_epochs"] == [3]
    assert experiment.fixed == {"model": "NARM", "gro_lambda": 0.1}
    assert experiment.seeds == [9]


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("defences", "did you mean defenses?"),
        ("nothing", "neither a yaml file nor one of architectures, "),
        ("absent.yaml", "neither a yaml file nor one of"),
    ],
)
def test_an_unknown_experiment_is_told_the_known_ones(name, said):
    with pytest.raises(UserError, match="experiment") as caught:
        read_experiment(name)
    assert said in str(caught.value)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[1", "not valid yaml"),
        ("!!python/object/apply:os.system ['true']", "not valid yaml"),
        ("- 1", "a mapping with title, figure"),
        (OWN.replace("seeds: [4]", "seeds: 4"), "seeds is missing or not a list"),
        (OWN.replace("seeds: [4]", ""), "seeds is missing or not a list"),
        (OWN.replace("seeds: [4]", "seeds: [one]"), "seeds: ['one'] is not a list of whole numbers from 0"),
        (OWN.replace("seeds: [4]", "seeds: []"), "seeds: [] is not a list of whole numbers from 0"),
        (OWN.replace("seeds: [4]", "seeds: [4, 4]"), "seeds has a value twice"),
        (OWN.replace("fixed:", "fixd:"), "unknown part 'fixd'; did you mean fixed?"),
        (OWN.replace("[1, 2]", "[]"), "gro_epochs wants a list of values"),
        (OWN.replace("[1, 2]", "3"), "gro_epochs wants a list of values"),
        (OWN.replace("figure: gro_epochs", "figure: gro_lambda"), "neither k, tradeoff, table1 nor a key that varies"),
    ],
)
def test_a_file_that_is_no_experiment_is_refused_in_one_line(own, text, said):
    with pytest.raises(UserError) as caught:
        read_experiment(own(text))
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_cell_has_one_defense(own):
    experiment = read_experiment(own(OWN.replace("defense: [none, gro]", "gro_decay: [True]")))
    experiment.fixed["defense"] = ["none", "gro"]
    with pytest.raises(UserError, match="defense: a cell has one, not none, gro"):
        experiment.config(*experiment.cells()[0])
