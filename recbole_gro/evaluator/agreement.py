"""Agreement of two models' lists, as metrics of RecBole's evaluator.

`metrics: [Hit, NDCG, Agreement]` gives agreement at every k of `topk`; `Agreement@1` and `Agreement@10` give that one
alone. The lists to agree with are handed to a trainer with `agree_with`.
"""

import numpy as np
import torch
from recbole.evaluator import register
from recbole.evaluator.base_metric import AbstractMetric
from recbole.utils import EvaluatorType

from recbole_gro.utils.errors import UserError
from recbole_gro.utils.ranking import found_in

REFERENCE = "rec.reference"


class Agreement(AbstractMetric):
    """Share of common items in the two top-k lists of a row, of the shorter one's where 0 pads it, averaged over rows.

    At k = 1 it is the share of rows with the same first item. Yue et al. (RecSys'21) measure a copy by it.
    """

    metric_type = EvaluatorType.RANKING
    metric_need = ["rec.items", REFERENCE]

    def __init__(self, config):
        super().__init__(config)
        self.topk = config["topk"]

    def calculate_metric(self, dataobject) -> dict[str, float]:
        mine, reference = dataobject.get("rec.items"), self._reference(dataobject)
        widest = max(self.topk)
        if len(reference) != len(mine) or min(reference.shape[1], mine.shape[1]) < widest:
            raise UserError(
                f"agreement: top {widest} of {len(mine)} rows wanted, reference lists are {len(reference)} rows of "
                f"{reference.shape[1]}, evaluated ones {mine.shape[1]} long"
            )
        return {
            f"agreement@{k}": round(float(np.mean(common_share(mine[:, :k], reference[:, :k]))), self.decimal_place)
            for k in self.topk
        }

    @staticmethod
    def _reference(dataobject) -> torch.Tensor:
        if REFERENCE not in dataobject:
            raise UserError(
                "agreement: there are no lists to agree with; call recbole_gro.agree_with(trainer, lists) first"
            )
        return dataobject.get(REFERENCE)


def _agreement_at(position: int) -> type[Agreement]:
    """The metric at one k whatever `topk` says, as long as the evaluated lists reach it."""

    class AgreementAt(Agreement):
        def __init__(self, config):
            super().__init__(config)
            self.topk = [position]

    AgreementAt.__name__ = f"Agreement{position}"
    return AgreementAt


def common_share(mine: torch.Tensor, reference: torch.Tensor) -> np.ndarray:
    """[N] share of the items of each row of `mine` [N, k] that are in the same row of `reference` [N, k].

    0 is no item; where it pads a row, the share is that of the row with fewer items, and 0 where that has none.
    """
    items = torch.minimum((mine != 0).sum(1), (reference != 0).sum(1))
    return (found_in(mine, reference).sum(1) / items.clamp(min=1)).numpy()


def agree_with(trainer, lists) -> None:
    """Give a trainer the lists that agreement is measured against.

    Args:
        trainer: any RecBole trainer whose `metrics` name an agreement metric.
        lists: [N, K] RecBole item ids, best first, a row for each row of the data it will evaluate, in that order;
            K at least the largest of `topk`.
    """
    trainer.eval_collector.data_struct.set(REFERENCE, torch.as_tensor(lists).clone())


def register_metric(name: str, metric: type[AbstractMetric]) -> None:
    """Make a metric known to RecBole's `metrics` key; ValueError where the name is taken.

    RecBole keeps four tables at module level and binds them by name elsewhere, so they are changed in place.
    """
    name = name.lower()
    if name in register.metrics_dict:
        raise ValueError(f"metric {name!r} is registered already")
    register.metrics_dict[name] = metric
    register.metric_information[name] = metric.metric_need
    register.metric_types[name] = metric.metric_type
    if metric.smaller:
        register.smaller_metrics.append(name)


register_metric("Agreement", Agreement)
register_metric("Agreement@1", _agreement_at(1))
register_metric("Agreement@10", _agreement_at(10))
