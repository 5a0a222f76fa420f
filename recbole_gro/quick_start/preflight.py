"""A step of every model of a run, before anything is trained."""

import contextlib
import tempfile
from collections.abc import Iterator
from typing import Any

import torch
from recbole.data.interaction import Interaction

from recbole_gro.attack import ExtractionTrainer, attacks_of, create_attacker, create_surrogate
from recbole_gro.attack.query_log import QueryLog
from recbole_gro.config.config import with_settings
from recbole_gro.config.config_like import ConfigLike
from recbole_gro.config.known_names import own_names
from recbole_gro.config.models import copied_model, models_of, sequential_model
from recbole_gro.data import train_rows_of
from recbole_gro.defense import GRODefense, create_student
from recbole_gro.quick_start.model_fault import fault_of_model
from recbole_gro.quick_start.repeatable import check_repeatable
from recbole_gro.scoring import create_scorer
from recbole_gro.serving.service import Service
from recbole_gro.trainer.base import TargetTrainer
from recbole_gro.utils.compat import no_tensorboard
from recbole_gro.utils.errors import UserError, out_of_memory
from recbole_gro.utils.own_code import fault_of_part, part_named
from recbole_gro.utils.random_state import generators_of, random_state, set_random_state

ROWS = 8  # of the training data, for a step of each trainer
# one step of each trainer, two of GRO because decoys are chosen after the first epoch; nothing is logged or compared
ONE_STEP = {
    "epochs": 1,
    "gro_epochs": 2,
    "gro_steps": 1,
    "gro_min_quality": None,
    "surrogate_epochs": 1,
    "surrogate_min_steps": 1,
    "log_wandb": False,
    "show_progress": False,
}


class FirstRows:
    """Limit a training loader to one batch of its first rows; its other attributes are the loader's."""

    def __init__(self, loader: Any):
        self._loader = loader

    def __getattr__(self, name: str) -> Any:
        return getattr(self._loader, name)

    def __len__(self) -> int:
        return 1

    def __iter__(self) -> Iterator[Interaction]:
        yield self._loader.collate_fn(range(min(ROWS, len(self._loader._dataset))))


def preflight(config: ConfigLike, data: Any, defenses: dict[str, Any], train: Any) -> None:
    """Train each model of a run for a step in each of its roles and query it, in a temporary folder.

    Random generators, those of the loader included, are restored.

    Args:
        config: of the run.
        data: the dataset that models are built for.
        defenses: by name; those of GRO take a step with the target and its student.
        train: loader of training rows.

    Raises:
        UserError: a model raised an exception, which is the cause; the message names its role and class. Or the loss of
            an attack is none.
    """
    parts = {type(part): part for defense in defenses.values() for part in defense.parts}
    process_state, generators = random_state(), generators_of(train).values()
    states = [generator.get_state() for generator in generators]
    with tempfile.TemporaryDirectory() as folder, no_tensorboard():
        config = _for_a_step(config, folder)
        rows = FirstRows(train)
        try:
            with _named("model", config.model_class, config):
                model = config.model_class(config, data).to(config["device"])
                Service(model, 1).recommend([[1]])
                if train_rows_of(config) == "sequences":
                    _check_causal(model, next(iter(rows)).to(config["device"]))
                TargetTrainer(config, copied_model(model)).fit(rows, verbose=False, saved=False)
            check_repeatable(model, config["served_k"], defenses)
            for part in parts.values():
                part.check_model(copied_model(model).eval())
                if isinstance(part, GRODefense):
                    with _named("student", config["student_model"] or config.model_class, config):
                        Service(create_student(config, config.model_class, data), 1).recommend([[1]])
                        part.trainer(config, copied_model(model)).fit_gro(rows, verbose=False, saved=False)
            for name in models_of(config["surrogate_model"]) if config["attack"] else ():
                with _named("surrogate", name or config.model_class, config):
                    surrogate, derived = create_surrogate(config, data.item_num, data, name)
                    Service(surrogate, 1).recommend([[1]])
                    _train_surrogate(ExtractionTrainer, derived, copied_model(surrogate))
                trainers = {create_attacker(attack, config).trainer: attack for attack in attacks_of(config)}
                for own, attack in trainers.items():
                    if own is not ExtractionTrainer:  # whose faults are none of the surrogate's
                        with part_named(f"attacker {attack}"):
                            _train_surrogate(own, derived, copied_model(surrogate))
        finally:
            set_random_state(process_state)
            for generator, state in zip(generators, states, strict=True):
                generator.set_state(state)


def _train_surrogate(trainer: type[ExtractionTrainer], config: ConfigLike, surrogate: Any) -> None:
    """Train a surrogate on two queries for a step."""
    made = trainer(config, surrogate)
    queries, _ = made.loaders(_two_queries(config["served_k"]))
    made.fit(queries, verbose=False, saved=False)


def _check_causal(model: Any, batch: Interaction) -> None:
    """Check that a model that trains on whole sequences predicts no item from itself.

    Raises:
        UserError: its scores at a position depend on later items.
    """
    if not create_scorer(model).reads_no_later_item(batch):
        raise UserError(
            f"train_rows: {type(model).__name__} is not causal: its scores after a prefix depend on the items that "
            f"follow; register no CausalScorer for it, or set train_rows=prefixes"
        )


def _for_a_step(config: ConfigLike, folder: str) -> Any:
    """Return a copy of a config for `ONE_STEP`, whose checkpoints go to a folder."""
    short = with_settings(config, **ONE_STEP)
    short["output_dir"] = short["resume_dir"] = None
    short["checkpoint_dir"] = folder
    return short


def _two_queries(k: int) -> QueryLog:
    """Return a log of two sequences of two items, with a list of k items per prefix."""
    return QueryLog(torch.tensor([[1, 2], [2, 1]]), torch.arange(1, k + 1).expand(2, 2, k))


@contextlib.contextmanager
def _named(role: str, model: Any, config: ConfigLike) -> Iterator[None]:
    """Raise any exception of a model in the block as a UserError with its role, name, and given settings of its own."""
    try:
        yield
    except UserError as error:
        if role == "model" or not str(error).startswith("model: "):
            raise
        raise UserError(f"{role}_{error}") from error  # the key is student_model or surrogate_model
    except (Exception, SystemExit) as error:  # RecBole's CPR models end the process at settings they do not support
        if shortage := out_of_memory(error):
            raise shortage from error
        if fault := fault_of_part(error):  # such as a swap rule, beside which the student is trained
            raise fault from error
        name = getattr(model, "__name__", model)
        model_class: Any = sequential_model(model)
        own = {*own_names(model_class), f"{role}_config"}
        given = ", ".join(f"{key}={value!r}" for key, value in config.external_config_dict.items() if key in own)
        reason = fault_of_model(error, model_class, config) + (f" (given: {given})" if given else "")
        raise UserError(f"{role}: cannot work with these settings: {name}: {reason}") from error
