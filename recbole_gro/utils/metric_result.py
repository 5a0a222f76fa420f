"""What a metric of a user's own returns, checked."""

import copy
import math
from collections.abc import Iterable, Mapping
from typing import Any

from recbole.evaluator import Evaluator
from recbole.evaluator.collector import DataStruct
from recbole.evaluator.register import metrics_dict

from recbole_gro.utils.errors import UserError
from recbole_gro.utils.own_code import part_named

LIBRARIES = "recbole.", "recbole_gro."  # whose metrics change nothing that they read


class CheckedEvaluator(Evaluator):
    """RecBole's evaluator, which names a metric of a user's own that fails, or returns no values by name.

    Args:
        config: RecBole's Config or ours.
    """

    def __init__(self, config: Any):
        self.config, self.metrics = config, [name.lower() for name in config["metrics"]]
        found: dict[str, tuple[str, Any]] = {}
        self.metric_class: dict[str, Any] = {}
        for name in self.metrics:
            with part_named(f"metric {name}"):
                self.metric_class[name] = _CheckedMetric(name, metrics_dict[name](config), found)


class _CheckedMetric:
    """A metric whose values are checked; `found` has the metric and the value of each key, of all metrics."""

    def __init__(self, name: str, metric: Any, found: dict[str, tuple[str, Any]]):
        self.name, self.metric, self.found = name, metric, found

    def calculate_metric(self, dataobject: Any) -> Mapping[str, Any]:
        """Return the values of the metric by key.

        Raises:
            UserError: it returns anything else, or another value for the key of another metric.
        """
        if not self.metric.__class__.__module__.startswith(LIBRARIES):
            dataobject = _Copies(dataobject)
        with part_named(f"metric {self.name}"):
            values = self.metric.calculate_metric(dataobject)
        if not isinstance(values, Mapping) or not all(isinstance(key, str) for key in values):
            raise UserError(
                f"metrics: calculate_metric of {type(self.metric).__name__} ({self.name}) returned "
                f"{type(values).__name__}; a dict of numbers by name is expected, such as {self.name}@10, as "
                "topk_result gives"
            )
        for key, value in values.items():
            other, other_value = self.found.get(key, (self.name, value))
            if other == self.name:
                self.found[key] = self.name, value
            elif other_value != value:
                raise UserError(f"metrics: {self.name} gives another {key} than {other}; name it as it is registered")
        return values


class _Copies(DataStruct):
    """Give a metric copies of the collected values: it may change them, and the metrics after it read the same.

    Args:
        collected: values by name.
    """

    def __init__(self, collected: DataStruct):
        super().__init__()
        self._data_dict = dict(collected._data_dict)
        self._copied: set[str] = set()

    def __getitem__(self, name: str) -> Any:
        if name not in self._copied:
            self._data_dict[name] = copy.deepcopy(self._data_dict[name])
            self._copied.add(name)
        return super().__getitem__(name)


def checked_result(
    result: Mapping[str, Any], metrics: Iterable[str], topk: Iterable[int], at_positions: bool = False
) -> dict[str, float]:
    """Return the values of metrics as floats.

    Args:
        result: of RecBole's evaluation, by key such as ndcg@10.
        metrics: names of the metrics; a value may have the name of its metric, such as auc.
        topk: positions, which the names of other values have, such as ndcg@10.
        at_positions: whether every metric names its values by the positions.

    Raises:
        UserError: a metric names its values otherwise, or gives no finite number.
    """
    positions = list(topk)
    for name in metrics:
        expected = [f"{name.lower()}@{k}" for k in positions if at_positions or name.lower() not in result]
        if absent := [key for key in expected if key not in result]:
            raise UserError(
                f"metrics: {name} gives no value named {absent[0]}, as its registered name needs; it is one of "
                f"{', '.join(result)}"
            )
    return {name: _number(name, value) for name, value in result.items()}


def _number(name: str, value: Any) -> float:
    try:
        number = float(value)
    except (TypeError, ValueError):
        number = math.nan
    if not math.isfinite(number):
        raise UserError(f"metrics: {name} gives {value!r}; a metric gives a finite number per key, as RecBole's do")
    return number
