"""A run: each defense of one target compared, in the order of the paper's Figure 1, in one table."""

import os
import time
from pathlib import Path
from typing import Any

from recbole_gro.attack import attacks_of, create_attacker
from recbole_gro.config.config import Config
from recbole_gro.config.settings import refuse_unread
from recbole_gro.config.values import as_names
from recbole_gro.data import build_dataset, build_loaders
from recbole_gro.data.availability import announce_packaged, check_obtainable, passed_over
from recbole_gro.data.digests import data_fingerprint
from recbole_gro.defense import create_defense
from recbole_gro.detection.settings import READER, DetectionSettings
from recbole_gro.evaluator import POPULARITY
from recbole_gro.quick_start import settings  # noqa: F401  (declares the keys)
from recbole_gro.quick_start.comparison import (
    compare,
    measure_own_references,
    measure_references,
    metrics_in_words,
    selected_architecture,
    set_gain,
)
from recbole_gro.quick_start.preflight import preflight
from recbole_gro.quick_start.references import UNTRAINED, create_references
from recbole_gro.quick_start.run_folder import finished_results, open_run_folder
from recbole_gro.quick_start.side_by_side import compute_side_by_side
from recbole_gro.quick_start.stopwatch import Stopwatch
from recbole_gro.report.environment import environment
from recbole_gro.report.run_report import save_results, table, write_report
from recbole_gro.trainer import processes
from recbole_gro.utils.errors import UserError
from recbole_gro.utils.log import LOG, console, show, shown_on_console
from recbole_gro.utils.random_state import global_state_kept
from recbole_gro.utils.table import TextTable
from recbole_gro.utils.work_folder import takes_files


@global_state_kept()
def run_recbole_gro(
    model: str | type | None = None,
    dataset: str | None = None,
    config_file_list: list[str] | None = None,
    config_dict: dict[str, Any] | None = None,
    saved: bool = True,
    *,
    command_line: dict[str, Any] | None = None,
) -> dict[str, Any]:
    """Train a target, defend it, attack each defense with the same budget and compare.

    A run of the same settings in `output_dir` is resumed from its last finished epoch or query; the results of a
    finished one are read.

    Args:
        model: RecBole model name or a sequential model class.
        dataset: dataset name; ml-100k by default.
        config_file_list: yaml files, in the working folder or packaged (gro.yaml).
        config_dict: settings that take precedence over files.
        saved: False writes nothing and only returns the results.
        command_line: settings that take precedence over all others, values as text.

    Returns:
        The contents of results.json: one row per defense and attack under "defenses".

    Raises:
        UserError: an invalid setting, name or file, before anything is written; or training that diverged (NaN) or a
            full disk, and the results of finished stages stay.
    """
    config = Config(model, dataset, config_file_list, config_dict, command_line)
    check_parts(config)
    processes.join(config["device"])
    several = processes.count() > 1
    if several and config["workers"] > 1 and "workers" in config.cmd_config_dict:
        raise UserError("workers: torchrun started several processes, which train each stage together; leave it out")
    workers = 1 if several else config["workers"]  # packaged files have several
    start = time.perf_counter()
    with shown_on_console():
        with Stopwatch() as reading:
            loaders = read_data(config)
        with open_run_folder(config, saved) as (folder, cache):
            if saved and (results := processes.by_first(lambda: finished_results(folder))) is not None:
                if processes.is_first() and takes_files(folder, LOG):
                    write_report(results, config, folder)  # missing where an earlier process was interrupted before it
                console.info(f"{folder} holds this run, finished:")
                show(_result_table(results, config))
                return results
            measure_own_references(config, loaders, cache)
            if workers > 1:
                compute_side_by_side(config, cache, folder if saved else None, workers)
                cache.announce = False
            compared = []
            for name in config["defense"]:
                compared += compare(config, name, loaders, cache, folder if saved else None)
            measured, _ = measure_references(config, loaders, cache, [one.row for one in compared])
            test_rows, k = loaders[2]._dataset.inter_feat, int(config["valid_metric"].partition("@")[2])
            items, users = test_rows[config["ITEM_ID_FIELD"]], test_rows[config["USER_ID_FIELD"]]
            for untrained in (one for one in measured if one.name == UNTRAINED):
                alike = [one for one in compared if selected_architecture(one.row) == untrained.architecture]
                set_gain(alike, untrained.lists, items, k, users)
            rows = [one.row for one in compared]
            _warn_of_poor_services(config, rows, [one.row for one in measured])
            results = {"defenses": rows, "references": [one.row for one in measured]}
            results["test_users"] = n_users(loaders[2])
            seconds = {one.row["defense"]: round(one.seconds, 2) for one in measured}
            total = {"total": round(time.perf_counter() - start, 2)}  # less than the sum where stages ran side by side
            results |= {"seconds": {"dataset": reading.seconds, **seconds, **total}, **environment(config)}
            if saved and processes.is_first():
                save_results(results, config, folder)
            show(_result_table(results, config))
            if saved:
                console.info(f"\nresults.json, results.md and results.png are in {folder}")
    return results


def check_parts(config: Config) -> None:
    """Check the names of a run's parts, and make `defense` of the config a list.

    Raises:
        UserError: an unknown name, or settings that contradict each other.
    """
    refuse_unread(config.cmd_config_dict, DetectionSettings.names, "recbole-gro run", READER)
    refuse_unread(config.cmd_config_dict, ["checkpoint_dir"], "recbole-gro run", "output_dir names its folder; RecBole")
    config["defense"] = as_names(config["defense"])
    if len(set(config["defense"])) < len(config["defense"]):
        raise UserError(f"defense: {', '.join(config['defense'])} names one twice; once is enough")
    for name in config["defense"]:
        create_defense(name, config)
    for name in attacks_of(config):
        create_attacker(name, config)
    create_references(config)
    if any(str(metric).lower().startswith("agreement") for metric in config["metrics"]):
        raise UserError("metrics: a run always measures agreement of target and surrogate; leave it out")


def read_data(config: Config) -> Any:
    """Return training, validation and test loaders, after a step of every model of the run on them (`preflight`).

    Raises:
        UserError: invalid data, or a model that cannot be trained.
    """
    console.info(f"dataset: reads {config['dataset']} from {Path(config['data_path']).resolve()}{passed_over(config)}")
    # RecBole downloads a dataset whose folder is missing
    processes.by_first(lambda: os.path.exists(config["data_path"]) or build_dataset(config).dataset_name)
    check_obtainable(config)
    config.data_digests = data_fingerprint(config)  # of what is read now, whatever becomes of the files
    data = build_dataset(config)
    loaders = build_loaders(config, data)
    announce_packaged(config, data)
    with processes.alone():
        preflight(config, data, {name: create_defense(name, config) for name in config["defense"]}, loaders[0])
    users, items = data.user_num - 1, data.item_num - 1
    console.info(f"dataset: {users} users, {items} items, {n_users(loaders[2])} users in the test split")
    return loaders


def n_users(loader: Any) -> int:
    """Return the number of users in a loader's rows."""
    return len(loader._dataset.inter_feat[loader._dataset.uid_field].unique())


def _warn_of_poor_services(config: Config, rows: list[dict[str, Any]], references: list[dict[str, Any]]) -> None:
    """Log where a service has a worse `valid_metric` than the most popular items."""
    watched = config["valid_metric"].lower()
    for popular in (row["target"] for row in references if row["defense"] == POPULARITY):
        for name, row in {row["defense"]: row for row in rows}.items():
            service, reached = row["target"]["test"][watched], popular["test"][watched]
            if service < reached if config["valid_metric_bigger"] else service > reached:
                console.info(
                    f"defense {name}: the service has a worse {config['valid_metric']} than a list of the most popular "
                    f"items, the same for all ({metrics_in_words(popular)})"
                )


def _result_table(results: dict[str, Any], config: Config) -> TextTable:
    """Return a run's table, the references included."""
    return table([*results["defenses"], *results["references"]], config)
