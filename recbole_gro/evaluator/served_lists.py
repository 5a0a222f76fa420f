"""RecBole's evaluation of what a service returns, after its defense."""

import torch
from recbole.data.dataloader.abstract_dataloader import AbstractDataLoader
from recbole.trainer import Trainer
from torch import Tensor

from recbole_gro.config.config_like import ConfigLike
from recbole_gro.evaluator import item_metrics  # noqa: F401  (in place of RecBole's)
from recbole_gro.evaluator.agreement import agreement
from recbole_gro.evaluator.seen_items import without_seen
from recbole_gro.serving.service import Service
from recbole_gro.trainer.collector import OF_SCORES, RankCollector
from recbole_gro.utils.compat import no_tensorboard
from recbole_gro.utils.errors import UserError
from recbole_gro.utils.metric_result import CheckedEvaluator, checked_result
from recbole_gro.utils.progress import progress_bar

AGREEMENT_AT = (1, 10)


class ServedEvaluator(Trainer):
    """Run RecBole's full-ranking evaluation on the served list in place of the model's scores.

    `evaluate(data)` returns the metrics of the config; `lists` then holds the served lists. A position that 0 pads is a
    miss, and no item for metrics of the items themselves (`item_metrics`).

    Args:
        config: metrics and topk; no cut-off may exceed the length of the list. With `exclude_seen` all items of a
            row's history, not only those that the model reads, are removed from its list first.
        service: the service to evaluate.

    Raises:
        UserError: a cut-off is beyond its lists.
    """

    def __init__(self, config: ConfigLike, service: Service):
        if (most := max(config["topk"])) > service.k:
            raise UserError(f"topk: position {most} is beyond the lists of the service, which have {service.k} items")
        evaluator = CheckedEvaluator(config)  # first: RecBole makes the metrics too, and names none that fails
        with no_tensorboard():
            super().__init__(config, service.model)
        self.service = service
        self.eval_collector, self.evaluator = ListCollector(config), evaluator
        self._served: list[Tensor] = []

    @property
    def lists(self) -> Tensor:
        """Lists [rows, k] measured in the last evaluation, in its order."""
        return torch.cat(self._served)

    def evaluate(self, eval_data, load_best_model=False, model_file=None, show_progress=False):
        self._served, self._rows = [], eval_data._dataset
        with progress_bar("evaluation", len(eval_data), "batches", show_progress) as self._bar:
            return super().evaluate(eval_data, load_best_model, model_file)

    def _full_sort_batch_eval(self, batched_data):
        interaction, _, positive_u, positive_i = batched_data
        histories = interaction[self.model.ITEM_SEQ]
        served = self.service.recommend(histories)
        if self.config["exclude_seen"]:
            # RecBole's own datasets keep no more of a history than models read
            complete_histories = getattr(self._rows, "complete_histories", lambda *_: histories)
            served = without_seen(served, complete_histories(sum(map(len, self._served)), len(served)))
        self._served.append(served.cpu())
        self._bar.update()
        return interaction, served, positive_u, positive_i


class ListCollector(RankCollector):
    """Collect as RecBole does, from ranked lists in place of scores.

    Args:
        config: RecBole's; its metrics need ranks alone.
    """

    def __init__(self, config: ConfigLike):
        super().__init__(config)
        if needed := [name for name in OF_SCORES if self.register.need(name)]:
            raise UserError(f"metrics: {', '.join(config['metrics'])} need {needed[0]}; a service returns lists alone")

    def eval_batch_collect(self, scores_tensor, interaction, positive_u, positive_i):
        self.collect_ranked(scores_tensor[:, : max(self.topk)], positive_i)


def evaluate_service(
    config: ConfigLike,
    service: Service,
    train_data: AbstractDataLoader,
    valid_data: AbstractDataLoader,
    test_data: AbstractDataLoader,
    *,
    reference: dict[str, Tensor] | None = None,
) -> tuple[dict[str, dict[str, float]], dict[str, Tensor]]:
    """Measure a service on validation and test data.

    Args:
        config: metrics and topk.
        service: the service to evaluate.
        train_data: loader of the interactions that metrics of popularity and coverage count.
        valid_data: loader of the validation rows.
        test_data: loader of the test rows.
        reference: lists by part to measure agreement with, at 1 and 10; None leaves agreement out.

    Returns:
        ({"valid": metrics, "test": metrics}, {"valid": lists, "test": lists})

    Raises:
        UserError: a metric of a user's that gives no finite number, or names its values otherwise.
    """
    metrics, lists = {}, {}
    for part, data in (("valid", valid_data), ("test", test_data)):
        evaluator = ServedEvaluator(config, service)
        evaluator.eval_collector.data_collect(train_data)
        result = evaluator.evaluate(data, show_progress=config["show_progress"] and len(data) > 1)
        metrics[part] = checked_result(result, config["metrics"], config["topk"], at_positions=True)
        lists[part] = evaluator.lists
        if reference is not None:
            metrics[part] |= agreement_metrics(config, lists[part], reference[part])
    return metrics, lists


def agreement_metrics(config: ConfigLike, lists: Tensor, reference: Tensor) -> dict[str, float]:
    """Return agreement@1 and @10 of lists [N, k], or @k where k < 10, regardless of `topk`, rounded as metrics are."""
    shares = agreement(lists, reference, sorted({min(k, lists.shape[1]) for k in AGREEMENT_AT}))
    return {f"agreement@{k}": round(share, config["metric_decimal_place"]) for k, share in shares.items()}
