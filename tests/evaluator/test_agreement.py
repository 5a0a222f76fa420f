import pandas as pd
import pytest
import torch
from pipeline import untrained
from recbole.evaluator import register
from recbole.evaluator.base_metric import AbstractMetric
from recbole.trainer import Trainer
from recbole.utils import EvaluatorType

from recbole_gro import UserError, agree_with, register_metric
from recbole_gro.evaluator.agreement import Agreement, agreement
from recbole_gro.utils.ranking import agreement_per_list
from recbole_gro.utils.units import UNITS, with_unit


@pytest.fixture(autouse=True)
def recbole_writes_to_a_temporary_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def top_of(model, test, k):
    """Return the k best items [rows, k] of a model on the rows of a data loader."""
    model.eval()
    with torch.no_grad():
        scores = torch.cat([model.full_sort_predict(batch[0]) for batch in test])
    scores[:, 0] = -torch.inf
    return scores.topk(k).indices


def test_without_a_reference_list_nothing_agrees():
    assert agreement(torch.tensor([[1, 2]]), torch.tensor([[0, 0]]), [1, 2]) == {1: 0.0, 2: 0.0}


def test_rows_without_a_reference_list_do_not_count_and_short_lists_agree_on_what_they_have():
    lists, reference = torch.tensor([[1, 2], [4, 6], [5, 0], [0, 0]]), torch.tensor([[2, 3], [0, 0], [5, 7], [1, 2]])
    assert agreement(lists, reference, [1, 2]) == {1: pytest.approx(1 / 3), 2: pytest.approx(1 / 3)}


@pytest.mark.parametrize("metrics", [["Hit", "Agreement"], ["NDCG", "Agreement@1"]])
def test_agreement_of_two_models_by_hand(make_loaders, metrics):
    config, train, _, test = make_loaders("NARM", topk=[1, 5], metrics=metrics, valid_metric=f"{metrics[0]}@5")
    one, other = untrained(config, train, seed=1), untrained(config, train, seed=2)
    reference = top_of(one, test, 5)
    trainer = Trainer(config, other)
    agree_with(trainer, reference)
    result = trainer.evaluate(test, load_best_model=False)
    lists = top_of(other, test, 5)
    for k in (1, 5) if "Agreement" in metrics else (1,):
        pairs = zip(lists[:, :k].tolist(), reference[:, :k].tolist(), strict=True)
        shares = [len(set(a) & set(b)) / k for a, b in pairs]
        assert result[f"agreement@{k}"] == pytest.approx(sum(shares) / len(shares), abs=1e-6)


def test_agreement_at_one_k_does_not_depend_on_topk(make_loaders):
    settings = {"metrics": ["NDCG", "Agreement@1", "Agreement@10"], "topk": [12], "valid_metric": "NDCG@12"}
    config, train, _, test = make_loaders("NARM", served_k=12, **settings)
    trainer = Trainer(config, untrained(config, train, seed=1))
    reference = top_of(untrained(config, train, seed=2), test, 12)
    agree_with(trainer, reference)
    result = trainer.evaluate(test, load_best_model=False)
    lists = top_of(trainer.model, test, 12)
    assert set(result) == {"ndcg@12", "agreement@1", "agreement@10"}
    for k in (1, 10):
        share = agreement_per_list(lists, reference, k).mean()
        assert result[f"agreement@{k}"] == pytest.approx(float(share), abs=1e-6)


def test_a_model_agrees_with_itself(make_loaders):
    config, train, _, test = make_loaders("NARM", metrics=["NDCG", "Agreement"])
    trainer = Trainer(config, untrained(config, train))
    agree_with(trainer, top_of(trainer.model, test, 5))
    assert trainer.evaluate(test, load_best_model=False)["agreement@5"] == 1


def test_reference_stays_for_the_next_evaluation(make_loaders):
    config, train, _, test = make_loaders("NARM", metrics=["NDCG", "Agreement"])
    trainer = Trainer(config, untrained(config, train))
    agree_with(trainer, top_of(untrained(config, train, seed=9), test, 5))
    first = trainer.evaluate(test, load_best_model=False)
    assert trainer.evaluate(test, load_best_model=False) == first


def test_missing_reference_lists_are_an_error(make_loaders):
    config, train, _, test = make_loaders("NARM", metrics=["NDCG", "Agreement"])
    with pytest.raises(UserError, match=r"no reference lists; call recbole_gro\.agree_with"):
        Trainer(config, untrained(config, train)).evaluate(test, load_best_model=False)


@pytest.mark.parametrize("cut", [(slice(1, None), slice(None)), (slice(None), slice(0, 3))], ids=["rows", "length"])
def test_lists_of_another_shape_are_refused(make_loaders, cut):
    config, train, _, test = make_loaders("NARM", metrics=["NDCG", "Agreement"])
    trainer = Trainer(config, untrained(config, train))
    agree_with(trainer, top_of(trainer.model, test, 5)[cut])
    with pytest.raises(UserError, match="reference lists are"):
        trainer.evaluate(test, load_best_model=False)


@pytest.mark.parametrize(
    ("of", "wrong"),
    [
        (lambda lists: lists[:, 0], r"are int64 \[36\]; a table \[rows, K\] of item ids is expected"),
        (lambda lists: lists / 2, r"are float32 \[36, 5\]; a table"),
        (lambda lists: (lists > 3).numpy(), r"are bool \[36, 5\]; a table"),
        (lambda lists: lists[:0], r"are int64 \[0, 5\]; a table"),
        (lambda lists: [["i1", "i2"]] * 36, "are list; a table"),
        (lambda lists: [[1, 2], [3]], "are list; a table"),
        (lambda lists: None, "are NoneType; a table"),
        (lambda lists: lists + 30, "have ids from 31 to 60; items are 1 to 30"),
        (lambda lists: -lists, "have ids from -30 to -1; items"),
        (lambda lists: lists.index_fill(1, torch.tensor([0]), 0), "have 0 before an item; 0 pads their end"),
        (lambda lists: lists[:, :1].expand(-1, 5), "have an item twice"),
    ],
)
def test_what_are_no_lists_is_refused(make_loaders, of, wrong):
    config, train, _, _ = make_loaders("NARM", metrics=["NDCG", "Agreement"])
    trainer = Trainer(config, untrained(config, train))
    lists = torch.arange(36 * 5).view(36, 5) % 30 + 1
    with pytest.raises(UserError, match=f"^agreement: reference lists {wrong}"):
        agree_with(trainer, of(lists))


@pytest.mark.parametrize(
    "of",
    [
        torch.Tensor.int,
        torch.Tensor.tolist,
        list,
        lambda lists: lists.numpy().astype("uint16"),
        lambda lists: pd.DataFrame(lists.numpy()),
        lambda lists: lists.repeat_interleave(2, 1)[:, ::2],
    ],
    ids=["int32", "lists", "tensors", "uint16", "frame", "strides"],
)
def test_lists_of_any_kind_are_compared(make_loaders, of):
    config, train, _, test = make_loaders("NARM", metrics=["NDCG", "Agreement"])
    trainer = Trainer(config, untrained(config, train))
    agree_with(trainer, of(top_of(trainer.model, test, 5)))
    assert trainer.evaluate(test, load_best_model=False)["agreement@5"] == 1


@pytest.fixture
def unchanged_metrics(monkeypatch):
    """Restore RecBole's tables of metrics after the test."""
    for name in ("metrics_dict", "metric_information", "metric_types"):
        for key in ("blandness", "keenness"):
            monkeypatch.setitem(getattr(register, name), key, None)
            del getattr(register, name)[key]
    smaller, units = list(register.smaller_metrics), dict(UNITS)
    yield
    UNITS.clear()
    UNITS.update(units)
    register.smaller_metrics[:] = smaller


def test_a_registered_metric_is_computed_and_ordered(make_loaders, unchanged_metrics):
    class Blandness(AbstractMetric):
        metric_type = EvaluatorType.RANKING
        metric_need = ["rec.items"]
        smaller = True

        def calculate_metric(self, dataobject):
            return {"blandness@5": len(set(dataobject.get("rec.items")[:, 0].tolist()))}

    class Keenness(Blandness):
        smaller = False

    register_metric("Blandness", Blandness)
    register_metric("Keenness", Keenness, percent=False)
    assert (with_unit("blandness@5", 0.5), with_unit("Keenness@5", 0.5)) == ("50.00 %", "0.5000")
    config, train, _, test = make_loaders("NARM", metrics=["Blandness"], valid_metric="Blandness@5")
    trainer = Trainer(config, untrained(config, train))
    expected = len(set(top_of(trainer.model, test, 1)[:, 0].tolist()))
    assert trainer.evaluate(test, load_best_model=False) == {"blandness@5": expected}
    assert config["valid_metric_bigger"] is False
    assert "keenness" not in register.smaller_metrics


def test_a_metric_name_is_registered_once():
    with pytest.raises(ValueError, match="registered already"):
        register_metric("NDCG", Agreement)
