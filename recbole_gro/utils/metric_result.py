"""What a metric of a user's own returns, checked."""

import math
from collections.abc import Iterable, Mapping
from typing import Any

from recbole.evaluator import Evaluator

from recbole_gro.utils.errors import UserError


class CheckedEvaluator(Evaluator):
    """RecBole's evaluator, which names a metric of a user's own that returns no values by name."""

    def evaluate(self, dataobject):
        found: dict[str, Any] = {}
        for name, metric in self.metric_class.items():
            values = metric.calculate_metric(dataobject)
            if not isinstance(values, Mapping) or not all(isinstance(key, str) for key in values):
                raise UserError(
                    f"metrics: calculate_metric of {type(metric).__name__} ({name}) returned {type(values).__name__}; "
                    f"a dict of numbers by name is expected, such as {name}@10, as topk_result gives"
                )
            if taken := [key for key in values if key in found and found[key] != values[key]]:
                raise UserError(f"metrics: {name} gives another {taken[0]} than a metric before; name it as registered")
            found |= values
        return found


def checked_result(result: Mapping[str, Any], metrics: Iterable[str], topk: Iterable[int]) -> dict[str, float]:
    """Return the values of metrics as floats.

    Args:
        result: of RecBole's evaluation, by key such as ndcg@10.
        metrics: names of the metrics; a value may have the name of its metric, such as auc.
        topk: positions, which the names of other values have, such as ndcg@10.

    Raises:
        UserError: a metric names its values otherwise, or gives no finite number.
    """
    positions = list(topk)
    for name in metrics:
        expected = [f"{name.lower()}@{k}" for k in positions if name.lower() not in result]
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
