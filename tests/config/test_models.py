"""Names of models, and the messages about those that cannot be used."""

import sys

import pytest
from recbole.model.abstract_recommender import SequentialRecommender
from recbole.model.general_recommender import BPR
from recbole.model.sequential_recommender import NARM, BERT4Rec

from recbole_gro import UserError
from recbole_gro.config.models import CANNOT_SERVE, reference_to, sequential_model, sequential_models


def test_models_are_recboles_sequential_ones():
    known = sequential_models()
    assert known["BERT4Rec"] is BERT4Rec
    assert {"NARM", "GRU4Rec", "SASRec", "SINE", "FPMC"} <= set(known)
    assert "SequentialRecommender" not in known
    assert all(issubclass(model, SequentialRecommender) for model in known.values())
    assert all(name == model.__name__ for name, model in known.items())


def test_a_class_of_ones_own_is_taken_as_it_is():
    class Custom(NARM):
        pass

    assert sequential_model(Custom) is Custom
    assert sequential_model("NARM") is NARM


@pytest.mark.parametrize("model", [BPR, object, int])
def test_a_class_that_reads_no_sequences_is_refused(model):
    with pytest.raises(UserError, match=f"model: {model.__name__} is not a sequential model"):
        sequential_model(model)


@pytest.mark.parametrize(
    ("name", "meant"), [("BERT4rec", "BERT4Rec"), ("bert4rec", "BERT4Rec"), ("Bert4Rek", "BERT4Rec"), ("NARN", "NARM")]
)
def test_a_misspelt_model_gets_the_nearest_name(name, meant):
    with pytest.raises(UserError, match=rf"^unknown model '{name}'\. Did you mean '{meant}'\? Known: BERT4Rec, "):
        sequential_model(name)


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("BPR", "general"),
        ("LightGCN", "general"),
        ("DeepFM", "context-aware"),
        ("KGAT", "knowledge-aware"),
        ("lightgbm", "external-library"),
        ("LightGBM", "external-library"),
        ("xgboost", "external-library"),
        ("XGBoost", "external-library"),
    ],
)
def test_models_of_another_kind_are_named_as_such(name, kind):
    with pytest.raises(UserError, match=f"^model: {name} is an? {kind} model; queries are item sequences") as caught:
        sequential_model(name)
    assert "BERT4Rec" in str(caught.value)


@pytest.mark.parametrize("name", ["", "nothing like it", "__init__", "../abstract_recommender"])
def test_any_other_text_is_an_unknown_model(name):
    with pytest.raises(UserError, match="model"):
        sequential_model(name)


def test_a_bare_name_is_reported_with_the_form_of_custom_models():
    with pytest.raises(UserError, match=r"a custom model is named module:Class, such as my_module:Zzyzx\.") as caught:
        sequential_model("Zzyzx")
    assert "BERT4Rec" in str(caught.value)
    assert "S3Rec" not in str(caught.value)


@pytest.mark.parametrize("name", sorted(CANNOT_SERVE))
def test_a_model_that_cannot_rank_all_items_is_refused_with_the_reason(name):
    with pytest.raises(UserError, match=f"^model: {name} cannot serve lists: it"):
        sequential_model(name)
    with pytest.raises(UserError, match=f"^model: {name} cannot serve lists: it"):
        sequential_model(sequential_models()[name])


class TestModuleAndClass:
    """`module:Class` of a file in the working folder."""

    @pytest.fixture(autouse=True)
    def own_module(self, tmp_path, monkeypatch):
        monkeypatch.chdir(tmp_path)
        monkeypatch.setattr(sys, "path", list(sys.path))
        (tmp_path / "own_models.py").write_text(
            "from recbole.model.sequential_recommender import NARM\nclass Custom(NARM): ...\nclass Other: ...\n"
        )
        (tmp_path / "broken_models.py").write_text("1 / 0\n")
        yield
        for name in ("own_models", "broken_models"):
            sys.modules.pop(name, None)

    def test_is_imported(self):
        model = sequential_model("own_models:Custom")
        assert model.__name__ == "Custom"
        assert issubclass(model, NARM)
        assert reference_to(model) == "own_models:Custom"

    def test_leaves_no_trace_in_the_search_path(self):
        before = list(sys.path)
        sequential_model("own_models:Custom")
        assert sys.path == before

    @pytest.mark.parametrize(
        ("reference", "reason"),
        [
            ("own_models:Min", "own_models has no class 'Min'; its sequential models are Custom"),
            ("own_models:", "own_models has no class ''; its sequential models are Custom"),
            ("own_models:Other", "Other is not a sequential model"),
            ("no_models:Custom", "no_models:Custom: No module named 'no_models'; modules are looked up in"),
            (":Custom", ":Custom is not of the form module:Class"),
            ("broken_models:Custom", "importing broken_models failed: ZeroDivisionError"),
        ],
    )
    def test_that_cannot_be_imported_is_reported(self, reference, reason):
        with pytest.raises(UserError) as caught:
            sequential_model(reference)
        assert reason in str(caught.value)
        assert "\n" not in str(caught.value)


def test_recboles_own_models_are_named_as_recbole_names_them():
    assert reference_to(NARM) == "NARM"
    assert reference_to(type("NARM", (NARM,), {})) == f"{__name__}:NARM"
