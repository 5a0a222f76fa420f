"""The whole run: target, defenses, attack, table. Reads like Figure 1 of the paper, in order."""

import contextlib
import shutil
import tempfile
import time
import zlib
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from recbole.utils import init_seed

from recbole_gro.attack import BlackBox, ExtractionTrainer, create_query_strategy, create_surrogate
from recbole_gro.config import Config
from recbole_gro.data import build_dataset, build_loaders, reseed
from recbole_gro.data.query_log import QueryLog
from recbole_gro.defense import GRODefense, create_defense, create_student
from recbole_gro.defense.combined import JOIN
from recbole_gro.errors import UserError
from recbole_gro.evaluator import evaluate_service
from recbole_gro.global_state import global_state_kept
from recbole_gro.report import environment, label, save_results, table
from recbole_gro.resume.answers import KeptBlackBox
from recbole_gro.resume.claim import claimed, finished_results, settings_of_run
from recbole_gro.resume.stages import Results
from recbole_gro.run_folder import console, full_disk_told, logged_to, new_run_folder, shown_on_console
from recbole_gro.service import Service
from recbole_gro.trainer import TargetTrainer


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
        UserError: a setting, name or file that cannot work, and nothing has been written then; or a disk that is full.
    """
    config = Config(model, dataset, config_file_list, config_dict, command_line)
    config["defense"] = as_names(config["defense"])
    defenses = {name: create_defense(name, config) for name in config["defense"]}
    create_query_strategy(config["query_strategy"])
    if any(str(metric).lower().startswith("agreement") for metric in config["metrics"]):
        raise UserError("metrics: a run measures agreement by itself, target against surrogate; leave it out")
    clock: dict[str, float] = {}
    with contextlib.ExitStack() as stack:
        stack.enter_context(shown_on_console())
        say(f"dataset: reads {config['dataset']} from {Path(config['data_path']).resolve()}")
        with timed(clock, "dataset"):
            data = build_dataset(config)
            loaders = train, valid, test = build_loaders(config, data)
        check_models(config, data, defenses)
        folder = new_run_folder(config) if saved else Path(stack.enter_context(tempfile.TemporaryDirectory()))
        if saved:
            stack.enter_context(claimed(folder, settings_of_run(config, data)))
        config["output_dir"] = config["checkpoint_dir"] = str(folder)
        config["resume_dir"] = str(folder / "resume") if saved else None
        stack.enter_context(full_disk_told(folder))
        stack.enter_context(logged_to(folder, config["state"] or "INFO"))
        if (results := finished_results(folder)) is not None:
            shutil.rmtree(config["resume_dir"], ignore_errors=True)
            say("\n".join([f"{folder} holds this run, finished:", "", *table(results["defenses"], config)]))
            return results
        say(f"dataset: {data.user_num - 1} users, {data.item_num - 1} items, {len(test._dataset)} users in the test")
        if saved:
            say(f"everything this run writes goes to {folder}; if it is cut off, --output_dir={folder} goes on with it")
        kept = Results(folder / "resume" if saved else None)
        console.debug(str(config))

        with timed(clock, "target"):
            target = train_target(config, train, valid)

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
            if config["attack"]:
                steal_from = partial(attack, config, name, service, defense, loaders, served, row["seconds"])
                row |= kept.once(f"attack-{name}", steal_from)
            rows.append(row)

        results = {"defenses": rows, "seconds": clock, **environment(config)}
        save_results(results, config, folder)
        if saved:
            shutil.rmtree(config["resume_dir"])
        say("\n".join(["", *table(rows, config)]))
        if saved:
            say(f"\nresults.json, results.md and results.png are in {folder}")
    return results


def check_models(config, data, defenses) -> None:
    """Build and ask each model once, so that one that cannot work ends the run before anything was trained.

    Raises:
        UserError: which model cannot work, and why.
    """
    makers = {"model": lambda: config.model_class(config, data)}
    if any(isinstance(part, GRODefense) for defense in defenses.values() for part in defense.parts):
        makers["student"] = lambda: create_student(config, config.model_class, data)
    if config["attack"]:
        makers["surrogate"] = lambda: create_surrogate(config, data.item_num, data)[0]
    for role, make in makers.items():
        try:
            Service(make(), 1).recommend([[1]])
        except UserError:
            raise
        except (
            ArithmeticError,
            AssertionError,
            AttributeError,
            LookupError,
            RuntimeError,
            TypeError,
            ValueError,
        ) as error:
            reason = " ".join(str(error).split()) or type(error).__name__
            raise UserError(f"{role}: cannot work with these settings: {reason}") from error


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


def measure(config, service, defense, loaders) -> dict[str, Any]:
    """Metrics of a service, the lists it served, and where its defense then stands."""
    metrics, served = evaluate_service(config, service, *loaders)
    return {"metrics": metrics, "served": served, "defense": defense.state_dict()}


def attack(config, name, service, defense, loaders, served, seconds) -> dict[str, Any]:
    """Steal from a service and measure the copy; `served` holds the lists that agreement is measured against."""
    folder, kept = Path(config["output_dir"]), config["resume_dir"]
    black_box = KeptBlackBox(service, Path(kept) / f"queries-{name}", defense) if kept else BlackBox(service)
    say(f"attack on {name}: {config['query_strategy']}, {budget(config)} lists of {black_box.k}")
    with timed(seconds, "queries"):
        log = ask(config, black_box)
        log.save(folder / f"queries-{name}.npz")
    say(f"attack on {name}: trains a surrogate on them, at most {config['surrogate_epochs']} epochs")
    with timed(seconds, "surrogate"):
        trainer = steal(config, log, black_box.n_items, loaders[0]._dataset, f"surrogate-{name}")
    with timed(seconds, "surrogate evaluation"):
        copy = Service(trainer.model, config["served_k"])
        metrics, _ = evaluate_service(config, copy, *loaders, reference=served)
    say(f"attack on {name}: the surrogate reaches {on_test(metrics)}")
    return {
        "surrogate": metrics,
        "surrogate_model": trainer.config["model"],
        "surrogate_epochs": len(trainer.train_loss_dict),
        "held_out": trainer.best_valid_result,
        "sequences_asked": config["query_sequences"],
        "lists_asked": black_box.lists_asked,
    }


def query_length(config) -> int:
    """Items of a query sequence."""
    return config["query_length"] or config["MAX_ITEM_LIST_LENGTH"]


def budget(config) -> str:
    """The query budget in words and figures."""
    n, length = config["query_sequences"], query_length(config)
    return f"{n} sequences of {length} items, {n * length}"


def ask(config, black_box: BlackBox) -> QueryLog:
    """The lists that the attacker gets for his budget; the same queries' draws for every service of a seed."""
    generator = torch.Generator().manual_seed(start_stage(config, "queries"))
    strategy = create_query_strategy(config["query_strategy"])
    return strategy(black_box, config["query_sequences"], query_length(config), generator, config["show_progress"])


def steal(config, log: QueryLog, n_items: int, items, stage: str) -> ExtractionTrainer:
    """A surrogate trained on a query log, in its trainer.

    Args:
        config: the target's; the surrogate's keys are read from it.
        n_items: size of the id space.
        items: the dataset that a surrogate's item features come from, where he may see them.
        stage: names files and the progress bar.
    """
    seed = start_stage(config, "surrogate")
    surrogate, surrogate_config = create_surrogate(config, n_items, items)
    surrogate_config["seed"] = seed
    trainer = ExtractionTrainer(surrogate_config, surrogate, stage)
    queries, held_out = trainer.loaders(log)
    trainer.fit(queries, held_out, show_progress=config["show_progress"])
    trainer.load_saved()
    return trainer


def start_stage(config, stage: str, train=None) -> int:
    """Seed all generators for a stage from the run's seed and the stage's name; the seed.

    So a stage draws the same whatever ran before it, every defense meets the same attacker, and no two models start
    from the same weights (a surrogate that does so as the target would know what no outsider knows).
    """
    seed = int(np.random.SeedSequence([config["seed"], zlib.crc32(stage.encode())]).generate_state(1)[0])
    init_seed(seed, config["reproducibility"])
    if train is not None:
        reseed(train, seed)
    return seed


@contextlib.contextmanager
def timed(seconds: dict[str, float], stage: str) -> Iterator[None]:
    """Note how long the block took."""
    start = time.perf_counter()
    yield
    seconds[stage] = round(time.perf_counter() - start, 2)


def on_test(metrics: dict[str, dict[str, float]]) -> str:
    """The test metrics at the run's cut-offs in a line, in percent."""
    return ", ".join(f"{label(name)} {100 * value:.2f} %" for name, value in metrics["test"].items())


def as_names(names: str | list[str]) -> list[str]:
    """A list of names; a text is one name or several with commas between.

    >>> as_names("none, gro"), as_names(["none"])
    (['none', 'gro'], ['none'])
    """
    return [name.strip() for name in names.split(",")] if isinstance(names, str) else list(names)


def say(text: str) -> None:
    console.info(text)
