import numpy as np
import pytest
from experiment.synthetic import cell

from recbole_gro.experiment.reference_rows import meanings, reference_rows
from recbole_gro.experiment.summary import Setting
from recbole_gro.quick_start.references import create_references


def setting(seeds=(1, 2), **values):
    """Return a setting whose references depend on the seed alone."""
    return Setting(values, [cell(values, seed, users=50) for seed in seeds])


def rows_of(*settings):
    return [(row.name, row.labels, row.setting.seeds) for row in reference_rows(settings)]


def test_settings_share_a_row_named_by_their_common_values_where_the_ranks_are_the_same():
    settings = [setting(model=model, defense=defense) for model in ("NARM", "SASRec") for defense in ("none", "gro")]
    for one in settings[2:]:
        for of_seed in one.cells:
            of_seed.reference_ranks["independent"] = np.zeros_like(of_seed.target_ranks)
    assert rows_of(*settings) == [
        ("untrained", {}, [1, 2]),
        ("independent", {"model": "NARM"}, [1, 2]),
        ("independent", {"model": "SASRec"}, [1, 2]),
        ("popularity", {}, [1, 2]),
    ]
    _, narm, sasrec, _ = reference_rows(settings)
    assert narm.setting.measured("hit", "independent", 10).any()
    assert not sasrec.setting.measured("hit", "independent", 10).any()


@pytest.mark.parametrize("measured", ["none", "gro"])
def test_cells_that_measured_the_agreement_stand_for_the_others(measured):
    settings = [setting(defense="none"), setting(defense="gro")]
    for one in settings:
        for of_seed in one.cells:
            if one.values["defense"] != measured:
                of_seed.reference_agreement.clear()
    for row in reference_rows(settings):
        assert [of_seed.values["defense"] for of_seed in row.setting.cells] == [measured] * 2


def popularity_of(one):
    """Return a setting whose cells have one reference."""
    for of_seed in one.cells:
        of_seed.reference_ranks = {"popularity": of_seed.reference_ranks["popularity"]}
    return one


def test_the_seeds_of_settings_with_the_same_ranks_come_together_in_order():
    late, early = (popularity_of(setting(seeds, defense=str(seeds))) for seeds in ([2, 3], [1, 2]))
    assert rows_of(late, early) == [("popularity", {}, [1, 2, 3])]


def test_settings_that_differ_at_one_seed_or_share_none_have_rows_of_their_own():
    one, other = popularity_of(setting(defense="none")), popularity_of(setting(defense="gro"))
    other.cells[1].reference_ranks["popularity"] = other.cells[1].reference_ranks["popularity"] + 1
    own_rows = [("popularity", {"defense": "none"}, [1, 2]), ("popularity", {"defense": "gro"}, [1, 2])]
    assert rows_of(one, other) == own_rows
    other.cells = [popularity_of(setting([3], defense="gro")).cells[0]]
    assert rows_of(one, other) == [own_rows[0], ("popularity", {"defense": "gro"}, [3])]


def test_a_reference_of_one_setting_has_the_labels_of_that_setting():
    with_both, without = setting(defense="none", gro_lambda=0.1), popularity_of(setting(defense="gro", gro_lambda=0.1))
    del with_both.cells[0].reference_ranks["independent"], with_both.cells[1].reference_ranks["independent"]
    assert rows_of(without, with_both) == [
        ("popularity", {"gro_lambda": "0.1"}, [1, 2]),
        ("untrained", {"gro_lambda": "0.1", "defense": "none"}, [1, 2]),
    ]


def test_meanings_name_each_reference_once():
    found = create_references({"references": ["untrained", "popularity"]})
    text = meanings(["untrained", "popularity", "untrained"])
    assert text == f"untrained: {found['untrained'].meaning}; popularity: {found['popularity'].meaning}"


def test_settings_whose_references_agree_otherwise_with_their_targets_have_rows_of_their_own():
    one, other = popularity_of(setting(model="NARM")), popularity_of(setting(model="SASRec"))
    for of_seed, share in ((of_seed, share) for side, share in ((one, 0.9), (other, 0.1)) for of_seed in side.cells):
        of_seed.reference_agreement = {"popularity": {10: share}}
    assert rows_of(one, other) == [
        ("popularity", {"model": "NARM"}, [1, 2]),
        ("popularity", {"model": "SASRec"}, [1, 2]),
    ]


def selecting(architectures, **values):
    """Return a setting whose attack selects an architecture per seed, on which `untrained` depends."""
    found = setting(range(1, 1 + len(architectures)), **values)
    for of_seed, architecture in zip(found.cells, architectures, strict=True):
        of_seed.facts["selected_hyperparameters"] = {"surrogate_model": architecture}
        if architecture == "NARM":
            of_seed.reference_ranks["untrained"] = np.zeros_like(of_seed.target_ranks)
    return found


def test_an_untrained_surrogate_has_a_row_per_selected_architecture():
    settings = [selecting(["GRU4Rec", "NARM"], defense="none"), selecting(["GRU4Rec", "GRU4Rec"], defense="gro")]
    found = [(row.title, row.labels, row.setting.seeds) for row in reference_rows(settings) if row.name == "untrained"]
    assert found == [("untrained GRU4Rec", {}, [1, 2]), ("untrained NARM", {"defense": "none"}, [2])]
    others = {row.title for row in reference_rows(settings)} - {title for title, *_ in found}
    assert others == {"independent", "popularity"}


def test_an_experiment_that_selects_one_architecture_does_not_name_it():
    settings = [selecting(["NARM", "NARM"], defense=name) for name in ("none", "gro")]
    titles = [row.title for row in reference_rows(settings)]
    assert titles == ["untrained", "independent", "popularity"]
