"""The whole run: target, defenses, attack, table. Reads like Figure 1 of the paper, in order."""

import contextlib
import shutil
import tempfile
from functools import partial
from pathlib import Path
from typing import Any

from recbole_gro.attack import create_attacker
from recbole_gro.config.config import Config
from recbole_gro.data import build_dataset, build_loaders
from recbole_gro.data.availability import passed_over
from recbole_gro.defense import create_defense
from recbole_gro.defense.combined import JOIN
from recbole_gro.evaluator import POPULARITY, PopularityService, evaluate_service
from recbole_gro.quick_start.extraction import attack
from recbole_gro.quick_start.model_check import check_models
from recbole_gro.quick_start.run_folder import (
    claimed,
    finished_results,
    full_disk_told,
    new_run_folder,
    settings_of_run,
)
from recbole_gro.quick_start.seeding import on_test, say, start_stage, timed
from recbole_gro.quick_start.stage_cache import Results
from recbole_gro.report.environment import environment
from recbole_gro.report.run_report import notes, save_results, table
from recbole_gro.serving.service import Service
from recbole_gro.trainer.base import TargetTrainer
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
    command_line: dict[str, Any] | None = None,
) -> dict[str, Any]:
    """Train a target, defend it, attack each defense with the same budget and compare.

    An `output_dir` with an unfinished run of the same settings is gone on with, from its last finished epoch or query;
    of a finished one the results are read.

    Args:
        model: RecBole model name or a sequential model class.
        dataset: dataset name; ml-100k by default.
        config_file_list: yaml files, in the working folder or packaged (gro.yaml).
        config_dict: settings that win over files.
        saved: False writes nothing and only returns the results.
        command_line: settings that win over everything, values as text.

    Returns:
        What results.json holds: a row a defense under "defenses".

    Raises:
        UserError: a setting, name or file that cannot work, and nothing has been written then; or training that went
            wrong (NaN) or a disk that is full, and what was made before that stays.
    """
    config = Config(model, dataset, config_file_list, config_dict, command_line)
    config["defense"] = as_names(config["defense"])
    defenses = {name: create_defense(name, config) for name in config["defense"]}
    create_attacker(config["attacker"], config)  # what cannot work ends the run here
    if any(str(metric).lower().startswith("agreement") for metric in config["metrics"]):
        raise UserError("metrics: a run measures agreement by itself, target against surrogate; leave it out")
    clock: dict[str, float] = {}
    with contextlib.ExitStack() as stack:
        stack.enter_context(shown_on_console())
        say(f"dataset: reads {config['dataset']} from {Path(config['data_path']).resolve()}{passed_over(config)}")
        with timed(clock, "dataset"):
            data = build_dataset(config)
            loaders = train, valid, test = build_loaders(config, data)
        check_models(config, data, defenses, train)
        folder = new_run_folder(config) if saved else Path(stack.enter_context(tempfile.TemporaryDirectory()))
        if saved:
            stack.enter_context(claimed(folder, settings_of_run(config, data)))
        config["output_dir"] = config["checkpoint_dir"] = str(folder)
        config["resume_dir"] = str(folder / "resume") if saved else None
        stack.enter_context(full_disk_told(folder))
        stack.enter_context(logged_to(folder, config["state"] or "INFO"))
        if (results := finished_results(folder)) is not None:
            shutil.rmtree(config["resume_dir"], ignore_errors=True)
            say("\n".join([f"{folder} holds this run, finished:", "", *shown(results, config)]))
            return results
        say(f"dataset: {data.user_num - 1} users, {data.item_num - 1} items, {len(test._dataset)} users in the test")
        if saved:
            say(f"everything this run writes goes to {folder}; if it is cut off, --output_dir={folder} goes on with it")
        kept = Results(folder / "resume" if saved else None)
        console.debug(str(config))

        with timed(clock, "target"):
            target = train_target(config, train, valid)
        with timed(clock, POPULARITY):
            reference = popularity(config, target, loaders)

        rows = []
        trained: dict[str, tuple[Any, dict[str, Any]]] = {}
        for name, defense in defenses.items():
            row: dict[str, Any] = {"defense": name, "seconds": {}}
            say(f"defense {name}: {defense.summary}")
            with timed(row["seconds"], "defense"):
                first = name.partition(JOIN)[0]  # the part that trains, if one does: once for all defenses with it
                if first not in trained:
                    start_stage(config, f"defense {first}", train)
                    protected = defense.protect(target, train, valid, config["show_progress"])
                    trained[first] = protected, defense.parts[0].settled
                protected, settled = trained[first]
            settled = {**defense.settled, **settled}
            row |= {"settled": settled} if settled else {}
            service = Service(protected, config["served_k"], defense.answer)
            with timed(row["seconds"], "evaluation"):
                measured = kept.once(f"evaluation-{name}", partial(measure, config, service, defense, loaders))
                row["target"], served = measured["metrics"], measured["served"]
                defense.load_state_dict(measured["defense"])
            say(f"defense {name}: the service reaches {on_test(row['target'])}")
            if is_worse(config, row["target"], reference["target"]):
                popular = on_test(reference["target"])
                say(f"defense {name}: less {config['valid_metric']} than the most popular items reach ({popular})")
            if config["attack"]:
                steal_from = partial(attack, config, name, service, defense, loaders, served, row["seconds"])
                row |= kept.once(f"attack-{name}", steal_from)
            rows.append(row)

        results = {"defenses": rows, "reference": reference, "seconds": clock, **environment(config)}
        save_results(results, config, folder)
        if saved:
            shutil.rmtree(config["resume_dir"])
        say("\n".join(["", *shown(results, config)]))
        if saved:
            say(f"\nresults.json, results.md and results.png are in {folder}")
    return results


def train_target(config, train, valid):
    """The undefended target at its best validation epoch."""
    start_stage(config, "target", train)
    model = config.model_class(config, train._dataset).to(config["device"])
    say(
        f"target: {config['model']} trains on {len(train._dataset)} rows, at most {config['epochs']} epochs, "
        f"to the best {config['valid_metric']} of validation"
    )
    trainer = TargetTrainer(config, model)
    best, _ = trainer.fit(train, valid, show_progress=config["show_progress"])
    trainer.load_saved()
    epochs = len(trainer.train_loss_dict)
    say(f"target: best validation {config['valid_metric']} {100 * best:.2f} % after {epochs} epochs")
    return model


def popularity(config, target, loaders) -> dict[str, Any]:
    """The row of a service that serves everybody the items that the training data hold most often."""
    service = PopularityService(target, config["served_k"], loaders[0]._dataset.item_counter)
    return {"defense": POPULARITY, "target": evaluate_service(config, service, *loaders)[0]}


def is_worse(config, metrics, reference) -> bool:
    """Whether test metrics fall behind others in what early stopping watches."""
    watched = config["valid_metric"].lower()
    here, there = metrics["test"][watched], reference["test"][watched]
    return here < there if config["valid_metric_bigger"] else here > there


def shown(results: dict[str, Any], config) -> list[str]:
    """The table of a run with its row of reference, and what its marks mean."""
    rows = results["defenses"]
    return [*table([*rows, results["reference"]], config), *notes(rows)]


def measure(config, service, defense, loaders) -> dict[str, Any]:
    """Metrics of a service, the lists it served, and where its defense then stands."""
    metrics, served = evaluate_service(config, service, *loaders)
    return {"metrics": metrics, "served": served, "defense": defense.state_dict()}


def as_names(names: str | list[str]) -> list[str]:
    """A list of names; a text is one name or several with commas between.

    >>> as_names("none, gro"), as_names(["none"])
    (['none', 'gro'], ['none'])
    """
    return [name.strip() for name in names.split(",")] if isinstance(names, str) else list(names)
