"""The whole run: target, defenses, attack, table. Reads like Figure 1 of the paper, in order."""

import contextlib
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from recbole_gro.attack import create_attacker
from recbole_gro.config.config import Config
from recbole_gro.config.recbole_settings import as_names
from recbole_gro.data import build_dataset, build_loaders
from recbole_gro.data.availability import announce_packaged, passed_over
from recbole_gro.defense import create_defense
from recbole_gro.evaluator import POPULARITY, PopularityService, evaluate_service
from recbole_gro.quick_start import settings  # noqa: F401  (declares the keys)
from recbole_gro.quick_start.comparison import compare
from recbole_gro.quick_start.model_check import check_models
from recbole_gro.quick_start.run_folder import (
    finished_results,
    full_disk_reported,
    lock_run_folder,
    new_run_folder,
    settings_of_run,
)
from recbole_gro.quick_start.seeding import on_test, timed
from recbole_gro.quick_start.stage_cache import StageCache
from recbole_gro.report.environment import environment
from recbole_gro.report.run_report import notes, save_results, table, write_report
from recbole_gro.utils.errors import UserError
from recbole_gro.utils.log import console, logged_to, shown_on_console
from recbole_gro.utils.random_state import global_state_kept


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

    An `output_dir` with an unfinished run of the same settings is resumed, from its last finished epoch or query; of a
    finished one the results are read.

    Args:
        model: RecBole model name or a sequential model class.
        dataset: dataset name; ml-100k by default.
        config_file_list: yaml files, in the working folder or packaged (gro.yaml).
        config_dict: settings that win over files.
        saved: False writes nothing and only returns the results.
        command_line: settings that win over everything, values as text.

    Returns:
        What results.json holds: one row per defense under "defenses".

    Raises:
        UserError: a setting, name or file that is invalid, and nothing has been written then; or training that
            diverged (NaN) or a disk that is full, and what was made before that stays.
    """
    config = read_config(Config(model, dataset, config_file_list, config_dict, command_line))
    with shown_on_console():
        clock: dict[str, float] = {}
        with timed(clock, "dataset"):
            loaders = read_data(config)
        with run_folder(config, loaders, saved) as (folder, cache):
            if saved and (results := finished_results(folder)) is not None:
                write_report(results, config, folder)  # a run that was interrupted before it
                console.info("\n".join([f"{folder} holds this run, finished:", "", *shown(results, config)]))
                return results
            with timed(clock, POPULARITY):
                reference = popularity(config, loaders)
            rows = []
            for name in config["defense"]:
                row = compare(config, name, loaders, cache, folder if saved else None).row
                warn_of_poor_service(config, row, reference)
                rows.append(row)
            results = {"defenses": rows, "reference": reference, "test_users": users_in(loaders[2]), "seconds": clock}
            results |= environment(config)
            if saved:
                save_results(results, config, folder)
            console.info("\n".join(["", *shown(results, config)]))
            if saved:
                console.info(f"\nresults.json, results.md and results.png are in {folder}")
    return results


def read_config(config: Config) -> Config:
    """Check the names of a run's parts, and give the config with its defenses as a list.

    Raises:
        UserError: an unknown name, or settings that a part cannot work with.
    """
    config["defense"] = as_names(config["defense"])
    for name in config["defense"]:
        create_defense(name, config)
    create_attacker(config["attacker"], config)
    if any(str(metric).lower().startswith("agreement") for metric in config["metrics"]):
        raise UserError("metrics: a run measures agreement by itself, target against surrogate; leave it out")
    return config


def read_data(config: Config) -> Any:
    """Return training, validation and test loaders, once every model of the run has been tried on them.

    Raises:
        UserError: data or models that cannot work.
    """
    console.info(f"dataset: reads {config['dataset']} from {Path(config['data_path']).resolve()}{passed_over(config)}")
    data = build_dataset(config)
    loaders = build_loaders(config, data)
    announce_packaged(config, data)
    check_models(config, data, {name: create_defense(name, config) for name in config["defense"]}, loaders[0])
    users, items, tested = data.user_num - 1, data.item_num - 1, users_in(loaders[2])
    console.info(f"dataset: {users} users, {items} items, {tested} users in the test")
    return loaders


@contextlib.contextmanager
def run_folder(config: Config, loaders: Any, saved: bool) -> Iterator[tuple[Path, StageCache]]:
    """Give the run's folder, which is this process's inside, and the cache of its stages.

    Raises:
        UserError: a folder that holds something else, or is in use.
    """
    with contextlib.ExitStack() as stack:
        if not saved:
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        else:
            folder = new_run_folder(config)
            stack.enter_context(lock_run_folder(folder, settings_of_run(config)))
        config["output_dir"] = config["checkpoint_dir"] = str(folder)
        stack.enter_context(full_disk_reported(folder))
        stack.enter_context(logged_to(folder, config["state"] or "INFO"))
        if saved and finished_results(folder) is None:
            console.info(f"everything this run writes goes to {folder}; --output_dir={folder} resumes it")
        console.debug(str(config))
        stages = Path(config["stages_dir"] or folder / "stages")
        yield folder, StageCache(stages)
        if not config["stages_dir"]:
            shutil.rmtree(stages, ignore_errors=True)


def users_in(loader: Any) -> int:
    """Return how many users the rows of a loader belong to."""
    return len(loader._dataset.inter_feat[loader._dataset.uid_field].unique())


def popularity(config: Config, loaders: Any) -> dict[str, Any]:
    """Return the row of a service that serves everybody the items that the training data hold most often."""
    train = loaders[0]._dataset
    service = PopularityService(config.model_class(config, train), config["served_k"], train.item_counter)
    return {"defense": POPULARITY, "target": evaluate_service(config, service, *loaders)[0]}


def warn_of_poor_service(config: Config, row: dict[str, Any], reference: dict[str, Any]) -> None:
    """Log where a service falls behind the most popular items in what early stopping watches."""
    watched = config["valid_metric"].lower()
    here, there = row["target"]["test"][watched], reference["target"]["test"][watched]
    if here < there if config["valid_metric_bigger"] else here > there:
        popular = on_test(reference["target"])
        console.info(
            f"defense {row['defense']}: a worse {config['valid_metric']} than the most popular items reach ({popular})"
        )


def shown(results: dict[str, Any], config: Config) -> list[str]:
    """Return the lines of a run's table with its row of reference, and what its marks mean."""
    rows = results["defenses"]
    return [*table([*rows, results["reference"]], config), *notes(rows)]
