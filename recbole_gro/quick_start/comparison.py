"""One defense compared: Figure 1 of the paper from top to bottom."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from torch import Tensor

from recbole_gro.quick_start.fingerprint import Fingerprints
from recbole_gro.quick_start.seeding import on_test
from recbole_gro.quick_start.stage_cache import StageCache
from recbole_gro.quick_start.stages import Stages
from recbole_gro.report.run_report import settings_in_words
from recbole_gro.serving.service import Service
from recbole_gro.utils.log import console


@dataclass
class Comparison:
    """What was measured of one defense.

    Attributes:
        row: as in results.json.
        served: lists of the service by part of the data, [rows, k].
        copied: lists of the surrogate likewise; empty where nothing was attacked.
    """

    row: dict[str, Any]
    served: dict[str, Tensor]
    copied: dict[str, Tensor] = field(default_factory=dict)


def compare(config: Any, name: str, loaders: Any, cache: StageCache, output_dir: Path | None = None) -> Comparison:
    """Defend the target, serve it, attack the service, and measure both.

    Args:
        config: of the run or cell.
        name: of the defense.
        loaders: training, validation and test loaders.
        cache: where results of stages are found or kept.
        output_dir: folder for checkpoints and logs; None writes none.
    """
    prints = Fingerprints(config, name)
    stages, defense = Stages(config, loaders, cache, prints, output_dir), prints.defense
    console.info(f"defense {name}: {defense.summary}")
    model, effective = stages.defended(defense)
    service = Service(model, config["served_k"], defense.answer)
    metrics, served = stages.evaluation(service, defense)
    console.info(f"defense {name}: the service reaches {on_test(metrics)}")
    row: dict[str, Any] = {"defense": name, "seconds": stages.seconds, "target": metrics}
    row["target_still_improving"] = stages.target_still_improving
    if effective:
        row["effective_settings"] = effective
    if not config["attack"]:
        return Comparison(row, served)
    log, asked = stages.queries(service, defense, name)
    surrogate, facts = stages.surrogate(log, name)
    if facts["selected_hyperparameters"]:
        console.info(f"attack on {name}: selected {settings_in_words(facts['selected_hyperparameters'])}")
    row["surrogate"], copied = stages.surrogate_evaluation(surrogate, served)
    console.info(f"attack on {name}: the surrogate reaches {on_test(row['surrogate'])}")
    if not facts["surrogate_improved"]:
        console.info(f"attack on {name}: its loss on held-out queries is no better than before training")
    elif facts["surrogate_still_improving"]:
        most = config["surrogate_epochs"]
        console.info(f"attack on {name}: it was still improving when its surrogate_epochs={most} were over")
    return Comparison(row | facts | asked, served, copied)
