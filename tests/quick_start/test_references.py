"""References: lists that say what the numbers of a surrogate are worth."""

import re

import pytest
import torch
from conftest import WIDTHS
from pipeline import TINY_RUN

from recbole_gro import UserError, create_surrogate, run_recbole_gro
from recbole_gro.data import build_dataset, build_loaders
from recbole_gro.evaluator.agreement import agreement
from recbole_gro.quick_start.comparison import measure_references
from recbole_gro.quick_start.references import Reference, _references, create_references, register_reference
from recbole_gro.quick_start.seeding import start_stage
from recbole_gro.quick_start.stage_cache import StageCache
from recbole_gro.quick_start.stage_fingerprints import Fingerprints
from recbole_gro.quick_start.stages import Stages
from recbole_gro.serving.service import Service

TINY = {key: value for key, value in TINY_RUN.items() if key not in WIDTHS["BERT4Rec"]}  # for any model
ALL = ["independent", "untrained", "own_history", "popularity"]


@pytest.fixture
def measured(make_loaders, tmp_path):
    """Measure references on tiny data, with one cache for all calls of a test: `measured("none", seed=8)`."""

    def make(*defenses, model="BERT4Rec", **settings):
        config, *loaders = make_loaders(model, **{**TINY, "references": ALL, "defense": list(defenses), **settings})
        found, target = measure_references(config, loaders, StageCache(tmp_path / "stages"))
        return {one.row["defense"]: one for one in found}, target

    return make


@pytest.mark.parametrize("model", ["BERT4Rec", "NARM"])
def test_the_independent_model_is_the_target_of_the_next_seed(measured, make_config, tmp_path, model):
    found, target = measured("none", model=model, epochs=2, references=["independent"])
    names = {file.name for file in (tmp_path / "stages").iterdir()}
    config = make_config(model, **{**TINY, "epochs": 2, "seed": 8})
    loaders = build_loaders(config, build_dataset(config))
    prints = Fingerprints(config, "none")
    assert {f"target-{prints.target}.pth", f"evaluation-{prints.evaluation}.pth"} <= names
    metrics, lists = Stages(config, loaders, StageCache(tmp_path / "anew"), prints, None).undefended()
    for split in ("valid", "test"):
        assert found["independent"].lists[split].equal(lists[split])
        own = found["independent"].row["surrogate"][split]
        assert metrics[split].items() <= own.items()
        share = agreement(lists[split], target[split], [10])[10]
        assert own["agreement@10"] == pytest.approx(share, abs=1e-4)
    assert not lists["test"].equal(target["test"])


def test_an_untrained_surrogate_is_of_the_architecture_that_the_attack_selected(make_loaders, tmp_path):
    both = {**TINY, "references": ["untrained", "own_history"], "surrogate_model": ["NARM", "SASRec"]}
    config, *loaders = make_loaders(**both)
    cache = StageCache(tmp_path / "stages")

    def rows(*names):
        return [{"selected_hyperparameters": {"surrogate_model": name}} for name in names]

    alone = {}
    for name in ("NARM", "SASRec"):
        single, *_ = make_loaders(**{**both, "surrogate_model": name})
        alone[name] = measure_references(single, loaders, cache)[0][0].row["surrogate"]
        [untrained, _], _ = measure_references(config, loaders, cache, rows(name, name))
        assert (untrained.row["defense"], untrained.architecture) == ("untrained", name)
        assert untrained.row["surrogate"] == alone[name]
    assert alone["NARM"] != alone["SASRec"]
    found, _ = measure_references(config, loaders, cache, rows("SASRec", "NARM", "SASRec"))
    assert [one.row["defense"] for one in found] == ["untrained SASRec", "untrained NARM", "own_history"]
    assert [one.row["surrogate"] for one in found[:2]] == [alone["SASRec"], alone["NARM"]]


@pytest.mark.parametrize("surrogate_model", [None, "NARM", ["NARM", "SASRec"]])
def test_the_untrained_surrogate_is_the_first_one_before_its_first_epoch(measured, make_loaders, surrogate_model):
    found, _ = measured("none", references=["untrained"], surrogate_model=surrogate_model)
    config, *loaders = make_loaders(**{**TINY, "surrogate_model": surrogate_model})
    start_stage(config, "surrogate")
    model, _ = create_surrogate(config, loaders[0]._dataset.item_num, loaders[0]._dataset)
    assert type(model).__name__ == ("NARM" if surrogate_model else "BERT4Rec")
    service = Service(model, TINY["served_k"])
    rows = next(iter(loaders[2]))[0]
    assert found["untrained"].lists["test"].equal(service.recommend(rows["item_id_list"]))


def test_own_history_finds_the_test_item_where_it_was_the_latest(measured, write_dataset):
    histories = {f"u{n}": [f"i{n}", f"i{n + 1}", *[f"i{n}"] * 4] for n in range(20)}
    found, target = measured("none", data_path=str(write_dataset(histories)), references=["own_history"])
    row, lists = found["own_history"].row, found["own_history"].lists["test"]
    for split in ("valid", "test"):
        assert row["surrogate"][split]["ndcg@10"] == row["surrogate"][split]["hit@5"] == 1
    assert (lists[:, :2] != 0).all()
    assert not lists[:, 2:].any()
    share = agreement(lists, target["test"], [10])[10]
    assert row["surrogate"]["test"]["agreement@10"] == pytest.approx(share, abs=1e-4)
    assert 0 < share <= 0.2  # it has two items


def test_nothing_is_trained_for_agreement_alone(measured, tmp_path):
    without, target = measured("gro", gro_start="untrained")
    assert list(without) == ["untrained", "own_history", "popularity"]
    assert target is None
    assert "agreement@10" not in without["untrained"].row["surrogate"]["test"]
    assert {file.name.partition("-")[0] for file in (tmp_path / "stages").iterdir() if file.suffix == ".pth"} == {
        "reference"
    }
    for defenses in (["gro"], ["reverse"]):
        found, _ = measured(*defenses)
        assert list(found) == ALL
        assert "agreement@10" in found["untrained"].row["surrogate"]["test"]


def test_without_an_attack_references_stand_beside_targets(measured, tmp_path):
    found, _ = measured("none", attack=False)
    assert list(found) == ["own_history", "popularity"]
    assert all(set(one.row["target"]["test"]) == {"hit@5", "hit@10", "ndcg@5", "ndcg@10"} for one in found.values())
    assert not list((tmp_path / "stages").glob("target-*"))


def test_popularity_is_a_service_without_agreement(measured):
    found, _ = measured("none", references=["popularity"])
    row, lists = found["popularity"].row, found["popularity"].lists["test"]
    assert set(row) == {"defense", "meaning", "target"}
    assert "agreement@10" not in row["target"]["test"]
    assert (lists == lists[0]).all()


def test_a_measured_reference_is_not_measured_again(measured, tmp_path):
    first, _ = measured("none")
    before = {file: file.stat().st_mtime_ns for file in (tmp_path / "stages").glob("*.pth")}
    again, _ = measured("none", "reverse")
    assert [one.row for one in first.values()] == [one.row for one in again.values()]
    assert {file: file.stat().st_mtime_ns for file in (tmp_path / "stages").glob("*.pth")} == before


def test_no_references(measured):
    assert measured("none", references=[]) == ({}, None)


def test_an_unknown_reference_is_refused():
    with pytest.raises(UserError, match=r"unknown reference 'untrain'\. Did you mean 'untrained'"):
        create_references({"references": ["untrain"]})


@pytest.fixture
def own_reference(monkeypatch):
    """Register a reference of a user's own with these members: `own_reference(service=lambda self, stages: None)`."""
    monkeypatch.setattr(_references, "_entries", dict(_references._entries))

    def register(**members):
        register_reference("own")(type("Own", (Reference,), {"meaning": "own lists", "settings": (), **members}))

    return register


def served(k=TINY["served_k"], output=lambda ranked, query: ranked.flip(1)):
    return lambda self, stages: Service(stages.new_model(), k, output)


def both(lists):
    return lambda self, stages: ({"valid": {}, "test": {}}, {"valid": lists, "test": lists})


@pytest.mark.parametrize(
    ("members", "message"),
    [
        ({"service": lambda self, stages: None}, "service returned NoneType; a Service of lists of 12 is expected"),
        ({"service": lambda self, stages: lambda rows: [[1]]}, "service returned function; a Service of lists of 12"),
        ({"service": served(5)}, "its lists have 5 items; 12, as those of the targets"),
        (
            {"service": served(output=lambda ranked, query: ranked[:, :1].expand_as(ranked))},
            "its lists have an item twice",
        ),
        ({"service": served(output=lambda ranked, query: None)}, "its lists are NoneType; int64 "),
        ({"evaluation": lambda self, stages: None}, "evaluation returns no metrics and lists"),
        ({"evaluation": lambda self, stages: ({}, {})}, "evaluation returns no metrics and lists"),
        (
            {"evaluation": lambda self, stages: ({"valid": {}, "test": {}}, {"valid": None, "test": None})},
            "its valid lists are no tensor of 34 x 12 item ids",
        ),
        ({"evaluation": both(torch.ones(34, 12) > 0)}, "its valid lists are no tensor of 34 x 12 item ids"),
        ({"evaluation": both(torch.ones(34, 12, dtype=torch.long))}, "its valid lists have an item twice"),
        ({"evaluation": both(torch.arange(12).expand(34, -1))}, "its valid lists have 0 before an item"),
        ({"evaluation": both(20 + torch.arange(12).expand(34, -1))}, "its valid lists have ids from 20 to 31; items"),
        ({"meaning": None}, "its class has no meaning"),
    ],
)
def test_what_is_no_reference_is_named_before_the_attacks(
    own_reference, make_config, tmp_path, monkeypatch, members, message
):
    monkeypatch.chdir(tmp_path)
    own_reference(**members)
    given = {**make_config(**TINY | {"references": ["own"]}).external_config_dict, "output_dir": "out"}
    with pytest.raises(UserError, match=rf"^references: own: {re.escape(message)}"):
        run_recbole_gro("BERT4Rec", "tiny", config_dict=given)
    assert not list(tmp_path.rglob("queries-*"))


def test_a_reference_of_ones_own_does_not_depend_on_what_ran_before(own_reference, measured, tmp_path):
    own_reference(service=served())
    first = measured("none", references=["own"])[0]["own"].lists
    for file in (tmp_path / "stages").glob("reference-*.pth"):
        file.unlink()
    torch.rand(7)
    again = measured("none", references=["untrained", "own"])[0]["own"].lists
    assert all(first[split].equal(again[split]) for split in first)
