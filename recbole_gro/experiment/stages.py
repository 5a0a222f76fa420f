"""The stages of a cell, each done once for all cells that share it: target, served model, queries, surrogate.

A stage's result is a file named by what it depends on. Whoever needs it first makes it, others wait and read it; one
that was interrupted is made anew. The files lie in one folder, which all workers must see.
"""

import contextlib
import copy
import hashlib
import json
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch

from recbole_gro import __version__
from recbole_gro.attack import BlackBox, create_attacker, create_surrogate, query_budget
from recbole_gro.attack.query_log import QueryLog
from recbole_gro.config.models import copied_model
from recbole_gro.defense import Defense, create_defense
from recbole_gro.defense.combined import JOIN, trains
from recbole_gro.quick_start.extraction import ask, steal
from recbole_gro.quick_start.run import train_target
from recbole_gro.quick_start.seeding import start_stage
from recbole_gro.serving.service import Service
from recbole_gro.utils.files import one_at_a_time, write_atomically

STAGES = ("target", "served", "queries", "surrogate")
# Keys by the first stage that reads them; a stage depends on its own and on those of the stages before it
EVALUATION = (
    "metrics",
    "topk",
    "metric_decimal_place",
    "output_dir",
    "checkpoint_dir",
    "show_progress",
    "attack",
    "query_log",
)
SURROGATE = ("surrogate_",)
QUERIES = ("query_", "attacker")  # the attacker's name is a key too, `attacker`
GRO = ("gro_", "student_", "swap_candidates", "margin_swap")  # read by defenses that train, by no other
OUTPUT_KEYS = ("head_k", "random_keyed", "defense_key")  # read where lists are served, by some
OUTPUT = ("defense", *OUTPUT_KEYS)
DEFENSE = (*OUTPUT, "margin_", "paper_code_ties", "served_k")


class Stages:
    """The stages of one cell.

    Args:
        config: the cell's settings.
        defense: the one that they name.
        folder: where the files of all cells lie.

    Attributes:
        seconds: {stage: how long it took whoever made it}.
    """

    def __init__(self, config, defense: Defense, folder: Path):
        self.config, self.defense, self.folder = config, defense, folder
        self.trains = trains(type(defense.parts[0]))
        self.attacker = create_attacker(config["attacker"], config)
        self.seconds: dict[str, float] = {}

    def target(self, train, valid):
        """The undefended target."""
        file = self.files()["target"]

        def make() -> Any:
            with self._working_config() as config:
                return train_target(config, train, valid)[0].state_dict()

        weights = self._once(file, "target", make)
        model = self.config.model_class(self.config, train._dataset).to(self.config["device"])
        model.load_state_dict(weights)
        return model

    def protected(self, target, train, valid):
        """The model to serve, from the undefended one; and the keys of the defense as they were in force."""
        if not self.trains:
            return target, self.defense.settled
        file = self.files()["served"]

        def make() -> Any:
            with self._working_config() as config:
                start_stage(config, f"defense {self.training_part}", train)
                defense = create_defense(self.training_part, config)
                weights = defense.protect(target, train, valid, config["show_progress"]).state_dict()
                return {"weights": weights, "settled": defense.settled}

        made = self._once(file, "served", make)
        model = copied_model(target)
        model.load_state_dict(made["weights"])
        return model, {**self.defense.settled, **made["settled"]}

    @property
    def training_part(self) -> str:
        """The name of the part that trains; gro of gro+tail_decoy."""
        return self.config["defense"][0].partition(JOIN)[0]

    def queries(self, service: Service, train) -> QueryLog:
        """What the attacker asked and made of the answers."""
        file = self.files()["queries"]
        with one_at_a_time(file):
            if not file.exists():
                start = time.perf_counter()
                black_box = BlackBox(service, budget=query_budget(self.config), asked_log=self._asked_log(file))
                log = ask(self.config, self.attacker, black_box, train)
                self.seconds["queries"] = time.perf_counter() - start
                log.save(file)
        return QueryLog.load(file)

    def _asked_log(self, queries: Path) -> Path | None:
        """Where the provider writes down what is asked, beside the attacker's log: anew, as the stage is made."""
        if not self.config["query_log"]:
            return None
        file = queries.with_name(queries.name.replace("queries", "asked")).with_suffix(".jsonl")
        file.unlink(missing_ok=True)
        return file

    def surrogate(self, log: QueryLog, n_items: int, items) -> tuple[Any, dict[str, Any]]:
        """The copy, and what there is to know about its training."""
        file = self.files()["surrogate"]

        def make() -> Any:
            with self._working_config() as config:
                attacker = create_attacker(config["attacker"], config)
                trainer = steal(config, attacker, log, n_items, items, "surrogate")
                facts = {
                    "surrogate_epochs": len(trainer.train_loss_dict),
                    "held_out": trainer.best_valid_result,
                    "attacker_settled": attacker.settled,
                    "learned": trainer.learned,
                    "still_learning": trainer.still_learning,
                }
                return {"weights": trainer.model.state_dict(), "facts": facts}

        made = self._once(file, "surrogate", make)
        model, _ = create_surrogate(self.config, n_items, items)
        model.load_state_dict(made["weights"])
        return model, made["facts"]

    def files(self) -> dict[str, Path]:
        """The file of each stage; a defense that does not train has no stage `served`."""
        files = {
            "target": self._file("target", (*DEFENSE, *GRO, *QUERIES, *SURROGATE), "pth"),
            "served": self._file("served", (*OUTPUT, *QUERIES, *SURROGATE), "pth", part=self.training_part),
            "queries": self._file("queries", SURROGATE, "npz"),
            "surrogate": self._file("surrogate", (), "pth"),
        }
        return {stage: file for stage, file in files.items() if stage != "served" or self.trains}

    def _file(self, stage: str, left_out: tuple[str, ...], suffix: str, **more: str) -> Path:
        """Named by the stage and a digest of every setting it can depend on."""
        if not self.trains:
            left_out = (*left_out, *GRO)
        left_out = (*left_out, *self._unread_output_keys())
        settings = {
            name: value
            for name, value in self.config.plain().items()
            if not name.startswith(left_out) and name not in EVALUATION
        }
        told = json.dumps({"version": __version__, **settings, **more}, sort_keys=True)
        return self.folder / f"{stage}-{hashlib.sha256(told.encode()).hexdigest()[:16]}.{suffix}"

    def _unread_output_keys(self) -> tuple[str, ...]:
        """Keys of the output side that make no difference to the defense."""
        read: set[str] = set()
        for part in self.defense.parts:
            read.update(OUTPUT_KEYS if part.output_keys is None else part.output_keys)
        return tuple(key for key in OUTPUT_KEYS if key not in read)

    def _once(self, file: Path, stage: str, make: Callable[[], Any]) -> Any:
        with one_at_a_time(file):
            if not file.exists():
                start = time.perf_counter()
                made = make()
                write_atomically({"made": made, "seconds": time.perf_counter() - start}, file)
        stored = torch.load(file, map_location=self.config["device"], weights_only=True)
        self.seconds[stage] = stored["seconds"]
        return stored["made"]

    @contextlib.contextmanager
    def _working_config(self) -> Iterator[Any]:
        """The config with a folder of its own for what trainers write on the way."""
        with tempfile.TemporaryDirectory(prefix=".work-", dir=self.folder) as folder:
            config = copy.copy(self.config)
            config.final_config_dict = {**self.config.final_config_dict}
            config["output_dir"] = config["checkpoint_dir"] = folder
            yield config
