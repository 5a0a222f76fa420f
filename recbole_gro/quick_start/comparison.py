"""The comparison of one defense: the paper's Figure 1 from top to bottom."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from torch import Tensor

from recbole_gro.quick_start.fingerprint import Fingerprints
from recbole_gro.quick_start.stage_cache import StageCache
from recbole_gro.quick_start.stages import Stages
from recbole_gro.report.run_report import label, settings_in_words
from recbole_gro.serving.service import Service
from recbole_gro.utils.log import console
from recbole_gro.utils.units import shown


@dataclass
class Comparison:
    """The measurements of one defense.

    Attributes:
        row: as in results.json.
        served: lists of the service by split, [rows, k].
        surrogate_lists: lists of the surrogate likewise; empty without an attack.
    """

    row: dict[str, Any]
    served: dict[str, Tensor]
    surrogate_lists: dict[str, Tensor] = field(default_factory=dict)


def compare(config: Any, name: str, loaders: Any, cache: StageCache, output_dir: Path | None = None) -> Comparison:
    """Defend the target, serve it, attack the service, and measure both.

    Args:
        config: of the run or cell.
        name: of the defense.
        loaders: training, validation and test loaders.
        cache: of the results of stages.
        output_dir: folder for checkpoints and logs; None writes none.
    """
    stages = Stages(config, loaders, cache, Fingerprints(config, name), output_dir)
    defense = stages.prints.defense

    console.info(f"defense {name}: {defense.summary}")
    model, effective = stages.defended(defense)
    service = Service(model, config["served_k"], defense.answer)
    metrics, served = stages.evaluation(service, defense)
    console.info(f"defense {name}: the service reaches {metrics_in_words(metrics)}")
    row: dict[str, Any] = {"defense": name, "seconds": stages.seconds, "target": metrics}
    row["target_still_improving"] = stages.target_still_improving
    if effective:
        row["effective_settings"] = effective
    if not config["attack"]:
        return Comparison(row, served)

    log, query_facts = stages.queries(service, defense, name)
    surrogate, facts = stages.surrogate(log, name)
    if facts["selected_hyperparameters"]:
        console.info(f"attack on {name}: selected {settings_in_words(facts['selected_hyperparameters'])}")
    row["surrogate"], surrogate_lists = stages.surrogate_evaluation(surrogate, served)
    console.info(f"attack on {name}: the surrogate reaches {metrics_in_words(row['surrogate'])}")
    if not facts["surrogate_improved"]:
        console.info(f"attack on {name}: its loss on held-out queries is no better than before training")
    elif facts["surrogate_still_improving"]:
        epochs = config["surrogate_epochs"]
        console.info(f"attack on {name}: the surrogate was still improving after surrogate_epochs={epochs}")
    return Comparison(row | facts | query_facts, served, surrogate_lists)


def metrics_in_words(metrics: dict[str, dict[str, float]]) -> str:
    """Return the metrics of the test split as text, each in its unit."""
    return ", ".join(f"{label(name)} {shown(name, value)}" for name, value in metrics["test"].items())
