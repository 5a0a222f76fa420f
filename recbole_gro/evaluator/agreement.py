"""Agreement@k of two models' lists, as metrics of RecBole's evaluator.

`metrics: [Hit, NDCG, Agreement]` measures agreement at every k of `topk`, `Agreement@1` and `Agreement@10` at that k
alone. `agree_with` gives a trainer the reference lists.
"""

import math
from collections.abc import Iterable
from typing import Any

import numpy as np
import torch
from recbole.evaluator import register
from recbole.evaluator.base_metric import AbstractMetric
from recbole.evaluator.collector import DataStruct
from recbole.trainer import Trainer
from recbole.utils import EvaluatorType

from recbole_gro.config.config_like import ConfigLike
from recbole_gro.utils.errors import UserError, kind_of
from recbole_gro.utils.item_lists import are_ids, fault_of_lists
from recbole_gro.utils.ranking import agreement_per_list
from recbole_gro.utils.units import UNITS

REFERENCE = "rec.reference"


class Agreement(AbstractMetric):
    """Average over rows the share of a reference list's first k items that the other list's first k have.

    Where 0 pads the reference list, the share is of the items that it has; rows where it is empty do not count. At
    k = 1 it is the share of rows with the same first item.
    Yue et al. (RecSys'21, arXiv 2109.01165) measure the fidelity of a surrogate by it.
    """

    metric_type = EvaluatorType.RANKING
    metric_need = ["rec.items", REFERENCE]
    k: int | None = None  # the only k that is measured, regardless of `topk`; None: each of `topk`

    def __init__(self, config: ConfigLike):
        super().__init__(config)
        self.topk = config["topk"] if self.k is None else [self.k]

    def calculate_metric(self, dataobject: DataStruct) -> dict[str, float]:
        if REFERENCE not in dataobject:
            raise UserError("agreement: no reference lists; call recbole_gro.agree_with(trainer, lists) first")
        lists, reference = dataobject.get("rec.items"), dataobject.get(REFERENCE)
        widest = max(self.topk)
        if len(reference) != len(lists) or min(reference.shape[1], lists.shape[1]) < widest:
            raise UserError(
                f"agreement: top {widest} of {len(lists)} rows needed, reference lists are {len(reference)} rows of "
                f"{reference.shape[1]}, evaluated ones {lists.shape[1]} long"
            )
        return {
            f"agreement@{k}": round(share, self.decimal_place)
            for k, share in agreement(lists, reference, self.topk).items()
        }


def agreement(lists: torch.Tensor, reference: torch.Tensor, cut_offs: Iterable[int]) -> dict[int, float]:
    """Return {k: agreement@k} of lists [N, at least k] with the lists of a service, mean over rows.

    Rows where the service's list is empty, such as one that `exclude_seen` emptied, do not count; it is 0 where none is
    left.
    """
    shares = {k: agreement_per_list(lists, reference, k).numpy() for k in cut_offs}
    return {k: float(np.nanmean(share)) if np.isfinite(share).any() else 0.0 for k, share in shares.items()}


def agree_with(trainer: Trainer, lists: Any) -> None:
    """Set the reference lists that a trainer's evaluation measures agreement with.

    Args:
        trainer: any RecBole trainer whose `metrics` name an agreement metric.
        lists: [N, K] RecBole item ids, best first, one row per row of the data to be evaluated, in that order; K is at
            least the largest of `topk`. 0 pads those that have fewer items.

    Raises:
        UserError: they are no such lists.
    """
    trainer.eval_collector.data_struct.set(REFERENCE, _checked(lists, getattr(trainer.model, "n_items", math.inf)))


def _checked(lists: Any, n_items: float) -> torch.Tensor:
    """Return reference lists as int64, on the CPU."""
    try:
        ids = torch.as_tensor(lists if isinstance(lists, torch.Tensor) else np.array(lists))
    except (TypeError, ValueError, RuntimeError):
        ids = torch.empty(0)
    if not are_ids(ids) or ids.dim() != 2 or not ids.numel():
        raise UserError(f"agreement: reference lists are {kind_of(lists)}; a table [rows, K] of item ids is expected")
    ids = ids.long().cpu().clone()
    if fault := fault_of_lists(ids, n_items):
        raise UserError(f"agreement: reference lists {fault}")
    return ids


def register_metric(name: str, metric: type[AbstractMetric], percent: bool = True) -> None:
    """Register a metric for RecBole's `metrics` key.

    RecBole has four tables of metrics at module level and binds them by name elsewhere, so they are changed in place.

    Args:
        name: for `metrics` and `valid_metric`, in any case.
        metric: its class.
        percent: whether it is a share between 0 and 1, which tables show in percent; others are shown unchanged.

    Raises:
        ValueError: the name is taken.
    """
    name = name.lower()
    if name in register.metrics_dict:
        raise ValueError(f"metric {name!r} is registered already")
    register.metrics_dict[name] = metric
    register.metric_information[name] = metric.metric_need
    register.metric_types[name] = metric.metric_type
    if metric.smaller:
        register.smaller_metrics.append(name)
    if not percent:
        UNITS[name.partition("@")[0]] = ""


register_metric("Agreement", Agreement)
for k in (1, 10):
    register_metric(f"Agreement@{k}", type(f"Agreement{k}", (Agreement,), {"k": k}))
