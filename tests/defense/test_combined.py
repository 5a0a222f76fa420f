import pytest
import torch
from defense.cases import CombinedCases, synthetic
from pipeline import same_weights, untrained, weights_of

from recbole_gro import Defense, Service, UserError, create_defense, register_defense
from recbole_gro.defense.list_level import RandomDefense

SETTINGS = {"seed": 7, "served_k": 10, "head_k": 4}


class TestTrainAndServe(CombinedCases):
    name = "gro+tail_decoy"


class TestTwoOutputSides(CombinedCases):
    name = "reverse+tail_shuffle"
    keeps_items = True


class TestThree(CombinedCases):
    name = "gro_decoys+tail_random+truncate"
    items = 4


@pytest.mark.parametrize(
    "name", ["reverse+tail_decoy", "tail_decoy+reverse", "tail_random+random+truncate", "none+reverse"]
)
def test_each_part_acts_on_the_list_of_the_one_before(name):
    ranked, query = synthetic(20)
    expected = ranked
    for part in name.split("+"):
        expected = create_defense(part, SETTINGS).answer(expected, query)
    assert torch.equal(create_defense(name, SETTINGS).answer(ranked, query), expected)


def test_the_model_is_that_of_the_part_that_trains(make_loaders, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    models = []
    for name in ("gro", "gro+tail_decoy+truncate"):
        config, train, valid, _ = make_loaders("NARM", served_k=10, head_k=4, gro_epochs=1)
        target = untrained(config, train)
        torch.manual_seed(3)
        defense = create_defense(name, config)
        models.append(defense.protect(target, train, valid))
    assert same_weights(*map(weights_of, models))
    lists = Service(models[1], 10, defense.answer).recommend([[1, 2], [3]])
    assert torch.equal(lists, Service(models[0], 10).recommend([[1, 2], [3]]) * (torch.arange(10) < 4))


def test_it_has_the_effective_settings_of_its_parts(make_loaders, tmp_path):
    config, train, valid, _ = make_loaders("NARM", output_dir=str(tmp_path), head_k=4, gro_min_quality=0.5)
    defense = create_defense("gro+truncate", config)
    assert defense.effective["gro_swap"] == "paper"
    defense.protect(untrained(config, train), train, valid)
    assert defense.effective["gro_lambda"] != 1.0


def test_one_name_is_no_combination():
    assert type(create_defense("random", SETTINGS)) is RandomDefense
    assert create_defense("random", SETTINGS).summary in create_defense("random+truncate", SETTINGS).summary


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("gro+tail_decoi", r"unknown defense 'tail_decoi'\. Did you mean 'tail_decoy'\?"),
        ("gor+tail_decoy", r"unknown defense 'gor'\. Did you mean 'gro'\?"),
        ("gro +tail_decoy", r"unknown defense 'gro '\. Did you mean 'gro'\?"),
        ("gro+", r"'gro\+' lacks a name beside its \+; write it as gro\+tail_decoy"),
        ("+", r"'\+' lacks a name"),
        ("", "'' lacks a name|unknown defense ''"),
        ("random+random", r"'random\+random' names random twice"),
        ("gro+gro_decoys", "trains with gro and gro_decoys; choose one of them"),
        ("tail_decoy+gro", r"gro trains, so it stands first in 'tail_decoy\+gro'; write gro\+tail_decoy"),
        ("random+truncate+gro", r"write gro\+random\+truncate"),
        ("truncate+random", r"truncate cuts the list short, so it stands last in .*; write random\+truncate"),
        ("gro+truncate+tail_decoy", r"write gro\+tail_decoy\+truncate"),
    ],
)
def test_impossible_combinations_are_reported(make_config, name, reason):
    with pytest.raises(UserError, match=reason) as error:
        create_defense(name, make_config(head_k=3, gro_head_k=3))
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("name", ["twice", "reverse+twice", "twice+reverse"])
def test_the_part_whose_lists_are_invalid_is_named(name, make_config, make_model, own_parts):
    @register_defense("twice")
    class Twice(Defense):
        def shown(self, ranked):
            return ranked[:, :1].expand(ranked.shape)

    defense = create_defense(name, make_config("GRU4Rec", head_k=2))
    with pytest.raises(UserError, match=r"^defense: twice: its lists have an item twice"):
        Service(make_model("GRU4Rec"), 5, defense.answer).recommend([[1, 2]])


@pytest.mark.parametrize("name", ["tail_decoy", "tail_random", "tail_shuffle", "random", "truncate"])
@pytest.mark.parametrize("dtype", [torch.int32, torch.int16])
def test_each_part_acts_on_lists_of_other_integers(name, dtype, make_config, make_model, own_parts):
    @register_defense("narrow")
    class Narrow(Defense):
        def shown(self, ranked):
            return ranked.flip(1).to(dtype)

    model, config = make_model("GRU4Rec"), make_config("GRU4Rec", head_k=2)
    narrow, plain = (Service(model, 5, create_defense(f"{of}+{name}", config).answer) for of in ("narrow", "reverse"))
    assert torch.equal(narrow.recommend([[1, 2], [7]]), plain.recommend([[1, 2], [7]]))


@pytest.mark.parametrize("name", ["short", "reverse+short", "short+reverse"])
def test_zeros_of_a_defense_that_does_not_say_that_it_shortens_are_refused(name, make_config, make_model, own_parts):
    @register_defense("short")
    class Short(Defense):
        first = 0

        def shown(self, ranked):
            return ranked * (torch.arange(ranked.shape[1]) < self.first)

    service = Service(make_model("GRU4Rec"), 5, create_defense(name, make_config("GRU4Rec", head_k=2)).answer)
    for Short.first in (0, 3):
        with pytest.raises(UserError, match=r"^defense: short: its lists have 0, .* sets shortens = True$"):
            service.recommend([[1, 2]])
    if name != "short+reverse":
        Short.shortens = True
        service = Service(service.model, 5, create_defense(name, make_config("GRU4Rec", head_k=2)).answer)
        assert (service.recommend([[1, 2]]) != 0).sum() == 3
