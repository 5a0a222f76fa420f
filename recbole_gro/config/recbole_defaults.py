"""RecBole's own settings with another default, by the stage that reads them."""

from typing import Any

from recbole_gro.config.settings import Settings, key


class DatasetSettings(Settings):
    """The data of a run."""

    section = "Data"
    dataset: str = key("ml-100k", "str", "ships inside the recbole wheel")


class TrainingSettings(Settings):
    """Duration of the target's own training."""

    section = "Target"
    epochs: int = key(200, "int >= 1", "maximum epochs of the target's own training")
    stopping_step: int = key(10, "int >= 0", "evaluations without a better score before training stops")
    eval_step: int = key(5, "int >= 1", "epochs between evaluations")


class TargetEpochSettings(Settings):
    """Which epoch of the target's own training is served."""

    section = "Defense"
    target_epoch: str = key(
        "best",
        "best|last",
        "epoch of the target's own training that is served or fine-tuned: that of the best validation score, or the "
        "last, a control for the length of training",
    )


class EvaluationSettings(Settings):
    """Measurements on served lists; no training depends on them."""

    section = "Output"
    eval_batch_size: int = key(1024, "int >= 1", "rows evaluated at once")
    metrics: Any = key(["Hit", "NDCG"], "names of metric", "measured on the list the service returns, full ranking")
    topk: Any = key([5, 10, 20], "ints >= 1", "positions of the list that are looked at")
    exclude_seen: bool = key(
        False,
        "bool",
        "items of the user's own history are removed from the served list before what is left of it is measured, as in "
        "some publications; RecBole and the paper keep them. Training, the trainers' own `evaluate` and attack stay as "
        "they are",
    )


class ValidationSettings(Settings):
    """The metric for early stopping of the target."""

    section = "Target"
    valid_metric: str = key("NDCG@10", "str", "what early stopping of the target watches")
    metric_decimal_place: int = key(6, "int >= 2", "digits of a metric, which is a share")
