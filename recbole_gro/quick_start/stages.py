"""The stages of a comparison: target, defended model, evaluation, queries, surrogate; each runs once (StageCache)."""

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from recbole_gro.attack import create_attacker, create_surrogate, query_budget, query_length
from recbole_gro.attack.cached_black_box import CachedBlackBox
from recbole_gro.attack.query_log import QueryLog, checked
from recbole_gro.attack.settings import SurrogateSettings
from recbole_gro.attack.surrogate_model import surrogate_models
from recbole_gro.attack.surrogate_trainer import HELD_OUT
from recbole_gro.config.config_like import ConfigLike
from recbole_gro.config.models import reference_to, sequential_model
from recbole_gro.config.recbole_defaults import TargetEpochSettings
from recbole_gro.data.auxiliary_data import auxiliary_sequences
from recbole_gro.defense import Defense, create_defense
from recbole_gro.defense.combined import restore_state, saved_state, trains
from recbole_gro.defense.protected import protected_checkpoint
from recbole_gro.evaluator import evaluate_service
from recbole_gro.quick_start.announcements import announce_attack, announce_target, report_target
from recbole_gro.quick_start.run_checkpoint import keep_checkpoint
from recbole_gro.quick_start.seeding import start_stage
from recbole_gro.quick_start.stage_cache import StageCache, start_anew_elsewhere
from recbole_gro.quick_start.stage_facts import query_facts, surrogate_facts
from recbole_gro.quick_start.stage_fingerprints import Fingerprints
from recbole_gro.quick_start.stopwatch import Stopwatch
from recbole_gro.scoring.ensemble import build_untrained
from recbole_gro.serving.access_log import AccessLog
from recbole_gro.serving.catalogue import Catalogue
from recbole_gro.serving.service import Service
from recbole_gro.trainer import processes
from recbole_gro.trainer.base import TargetTrainer
from recbole_gro.trainer.catalogue import item_features, load_weights, stored_items, weights_of
from recbole_gro.utils.files import load_state, one_at_a_time
from recbole_gro.utils.log import console


class Stages:
    """The stages of one comparison, in the order of the paper's Figure 1.

    Args:
        config: of the run or cell.
        loaders: training, validation and test loaders.
        cache: of the results of stages.
        prints: fingerprints of the stages, for one defense and one attack.
        output_dir: folder for checkpoints, query log and access log; None leaves them in the cache alone.
        defense: of the service, where other stages share it and the state of its random draws; None: that of `prints`.

    Attributes:
        seconds: {stage: time that it took}, of each stage called so far.
        target_still_improving: whether the target reached its maximum number of epochs before early stopping; None
            where no target was needed.
    """

    def __init__(
        self,
        config: ConfigLike,
        loaders: Any,
        cache: StageCache,
        prints: Fingerprints,
        output_dir: Path | None,
        *,
        defense: Defense | None = None,
    ):
        self.config, self.loaders, self.cache, self.prints = config, loaders, cache, prints
        self.defense = prints.defense if defense is None else defense
        self.train, self.valid, _ = loaders
        self.output_dir = output_dir
        self.seconds: dict[str, float] = {}
        self.target_still_improving: bool | None = None

    def attacked_by(self, attack: str) -> "Stages":
        """Return the stages of another attack on the same service, with times of their own for its stages."""
        prints = Fingerprints(self.config, self.prints.name, attack, variant=self.prints.variant)
        stages = Stages(self.config, self.loaders, self.cache, prints, self.output_dir, defense=self.defense)
        stages.seconds = dict(self.seconds)
        return stages

    def with_next_seed(self) -> "Stages":
        """Return the stages of the same comparison at the next seed."""
        prints = self.prints.with_next_seed()
        return Stages(prints.config, self.loaders, self.cache, prints, self.output_dir)

    def undefended(self) -> tuple[dict[str, Any], dict[str, torch.Tensor]]:
        """Return the metrics of the undefended target and its lists, as `measure` does, whatever the defense is."""
        prints, service = self.prints.undefended(), Service(self.target(), self.config["served_k"])
        return self.measure("evaluation", prints.evaluation, lambda: service, prints.defense)

    def held_out(self, log: QueryLog) -> QueryLog:
        """Return the part of a query log that no surrogate of this run was trained on."""
        seed = start_stage(self.config, "surrogate")
        return log.split(HELD_OUT, torch.Generator().manual_seed(seed))[1]

    def new_model(self) -> torch.nn.Module:
        """Return an untrained model of the target's architecture."""
        return self.config.model_class(self.config, self.train._dataset).to(self.config["device"])

    def target(self) -> torch.nn.Module:
        """Return the undefended target at its best validation epoch, or its last (`target_epoch`)."""

        def make(config: ConfigLike) -> dict[str, Any]:
            start_stage(config, "target", self.train)
            trainer = TargetTrainer(config, self.new_model())
            announce_target(config, len(self.train._dataset))
            best, _ = trainer.fit(self.train, self.valid, show_progress=config["show_progress"])
            epochs = len(trainer.train_loss_dict)
            report_target(config["valid_metric"], best, epochs, trainer.still_improving)
            checkpoint = load_state(trainer.saved_model_file)
            return {
                "checkpoint": checkpoint,
                "last": checkpoint | weights_of(trainer.model) | {"epoch": epochs - 1},
                "still_improving": trainer.still_improving,
            }

        kept = "last" if TargetEpochSettings.of(self.config).target_epoch == "last" else "checkpoint"
        stored = self._trained("target", self.prints.training, "target", make, kept)
        self.target_still_improving = stored["still_improving"]
        return load_weights(self.new_model(), stored[kept])

    def defended(self) -> tuple[torch.nn.Module, dict[str, Any]]:
        """Return the served model, and the effective settings of the defense.

        The target is trained only where the defense starts from it.
        """
        part = self.defense.parts[0]
        if not trains(type(part)):
            return self.target(), self.defense.effective

        def make(config: ConfigLike) -> dict[str, Any]:
            trained = self.target() if part.needs_target else None
            start_stage(config, f"defense {part.name}", self.train)
            target = self.new_model() if trained is None else trained  # drawn from the seed of the stage
            training = create_defense(part.name, config)
            checkpoint = protected_checkpoint(training, target, self.train, self.valid, self.config)
            still_improving = self.target_still_improving
            return {"checkpoint": checkpoint, "effective": training.effective, "still_improving": still_improving}

        stored = self._trained("defended", self.prints.defended, f"target-{part.name}", make)
        self.target_still_improving = stored["still_improving"]
        return load_weights(self.new_model(), stored["checkpoint"]), {**self.defense.effective, **stored["effective"]}

    def evaluation(self, service: Service) -> tuple[dict[str, Any], dict[str, torch.Tensor]]:
        """Return the metrics of the service and its lists, as `measure` does."""
        return self.measure("evaluation", self.prints.evaluation, lambda: service, self.defense)

    def queries(self, service: Service, name: str) -> tuple[QueryLog, dict[str, Any]]:
        """Return the query log of the attack, and the facts about it that a row of the results holds.

        Args:
            service: the target's, which is queried.
            name: of defense and attack, for files and messages.
        """
        config, attacker = self.config, self.prints.attacker

        def make(work: Path) -> dict[str, Any]:
            responses, access_log = work / f"queries-{name}", self._access_log(name)
            if access_log and not responses.exists():
                access_log.unlink(missing_ok=True)
            tokens = self.train._dataset.field2id_token[self.train._dataset.iid_field][1:].tolist()
            written = AccessLog(access_log, Catalogue.of(tokens)) if access_log else None
            black_box = CachedBlackBox(service, responses, self.defense, query_budget(config), written)
            announce_attack(self.prints.attack, name, attacker, black_box, service.scorer.longest)
            auxiliary = self.auxiliary_data()
            generator = torch.Generator().manual_seed(start_stage(config, "queries"))
            log = attacker.query(black_box, generator, auxiliary, config["show_progress"])
            log = checked(log, f"attacker: {self.prints.attack}", black_box.n_items, black_box.lists_returned)
            facts = query_facts(attacker, log, auxiliary, black_box.lists_returned)
            return {"sequences": log.sequences.int(), "lists": log.lists.int(), "facts": facts}

        stored = self._once("queries", self.prints.queries, make)
        if (access_log := self._access_log(name)) and processes.is_first() and not access_log.exists():
            file = self.cache.file("queries", self.prints.queries)
            console.warning(
                f"access_log: without effect on {name}, whose queries were sent before and are read from {file}; "
                f"remove this file to send them again"
            )
        log = QueryLog(stored["sequences"].long(), stored["lists"].long())
        if self.output_dir and processes.is_first():
            log.save(self.output_dir / f"queries-{name}.npz")
        if n_auxiliary := stored["facts"]["auxiliary_sequences"]:
            console.info(f"attack on {name}: {n_auxiliary} of {len(log.sequences)} query sequences are auxiliary data")
        return log, stored["facts"]

    def surrogate(self, log: QueryLog, name: str) -> tuple[torch.nn.Module, dict[str, Any]]:
        """Return the surrogate trained on a query log, and the facts about it that a row of the results holds.

        Args:
            log: from `queries`.
            name: of defense and attack, for files and messages.
        """
        dataset, knows = self.train._dataset, SurrogateSettings.of(self.config).surrogate_knows_features
        n_items, items = dataset.item_num, stored_items(item_features(dataset)) if knows else None  # no interactions

        def make(config: ConfigLike) -> dict[str, Any]:
            console.info(f"attack on {name}: trains a surrogate for at most {config['surrogate_epochs']} epochs")
            attacker = create_attacker(self.prints.attack, config)
            seed, show = start_stage(config, "surrogate"), config["show_progress"]
            trainer = attacker.train_surrogate(log, n_items, items, f"surrogate-{name}", seed, show_progress=show)
            return {"checkpoint": load_state(trainer.saved_model_file), "facts": surrogate_facts(trainer, attacker)}

        stored = self._trained("surrogate", self.prints.surrogate, f"surrogate-{name}", make)
        named = {reference_to(sequential_model(model)): model for model in surrogate_models(self.config) if model}
        config, kind = self.prints.attacker.config, named.get(stored["facts"]["surrogate_model"])
        model = build_untrained(lambda: create_surrogate(config, n_items, items, kind)[0], stored["checkpoint"])
        return load_weights(model, stored["checkpoint"]), stored["facts"]

    def surrogate_evaluation(
        self, surrogate: torch.nn.Module, served: dict[str, torch.Tensor]
    ) -> tuple[dict[str, Any], dict[str, torch.Tensor]]:
        """Return the metrics of the surrogate, its agreement with the target included, and its lists, both by split.

        Args:
            surrogate: from `surrogate`.
            served: lists of the service, from `evaluation`.
        """
        config, service = self.config, Service(surrogate, self.config["served_k"])
        start_stage(config, "surrogate evaluation")
        with Stopwatch() as watch:
            evaluated = processes.by_first(lambda: evaluate_service(config, service, *self.loaders, reference=served))
        self.seconds["surrogate evaluation"] = watch.seconds
        return evaluated

    def _access_log(self, name: str) -> Path | None:
        """Return the file of the provider's access log; None without one."""
        if not self.config["access_log"]:
            return None
        if self.output_dir:
            return self.output_dir / f"access-{name}.jsonl"
        return self.cache.file("queries", self.prints.queries).with_suffix(".access.jsonl")

    def auxiliary_data(self) -> torch.Tensor | None:
        """Return the attack's auxiliary data [U, L], the same for all services of a seed; None where it has none."""
        attacker = self.prints.attacker
        if not attacker.auxiliary_share:
            return None
        draw, length = torch.Generator(), query_length(attacker.config)
        draw.manual_seed(start_stage(self.config, "known sequences"))
        return auxiliary_sequences(self.train._dataset, attacker.auxiliary_share, length, draw)

    def measure(
        self, stage: str, fingerprint: str, service: Callable[[], Service], defense: Defense | None = None
    ) -> tuple[dict[str, Any], dict[str, torch.Tensor]]:
        """Return the metrics of a service and its lists [rows, k], both by split.

        Args:
            stage: kind of the stage.
            fingerprint: of everything that it depends on.
            service: returns the service.
            defense: whose random draws go on as after the evaluation.
        """

        def make(_: Path) -> dict[str, Any]:
            start_stage(self.config, stage)
            metrics, lists = evaluate_service(self.config, service(), *self.loaders)
            evaluated = {"metrics": metrics, "lists": {split: ids.int() for split, ids in lists.items()}}
            return evaluated | ({"defense": saved_state(defense)} if defense else {})

        stored = self._once(stage, fingerprint, make)
        if defense:
            restore_state(defense, stored["defense"])
        return stored["metrics"], {split: ids.long() for split, ids in stored["lists"].items()}

    def _once(
        self, stage: str, fingerprint: str, make: Callable[[Path], dict[str, Any]], together: bool = False
    ) -> dict[str, Any]:
        """Return the result of a stage from the cache, and record its time."""
        stored = self.cache.once(stage, fingerprint, make, together)
        self.seconds[stage] = self.cache.seconds[self.cache.file(stage, fingerprint)]
        return stored

    def _trained(
        self, stage: str, fingerprint: str, file: str, make: Callable[[Any], dict[str, Any]], kept: str = "checkpoint"
    ) -> dict[str, Any]:
        """Return the result of a stage that trains from the cache; its checkpoint is FILE.pth of the output folder.

        Args:
            stage: kind of the stage.
            fingerprint: of everything that it depends on.
            file: name of the checkpoint.
            make: trains with a config whose folders are those of the stage.
            kept: which of the checkpoints that it returns becomes FILE.pth.
        """

        def make_in(work: Path) -> dict[str, Any]:
            config = copy.copy(self.config)
            config.final_config_dict = dict(self.config.final_config_dict)
            config["output_dir"] = config["checkpoint_dir"] = str(self.output_dir or work)
            config["resume_dir"] = str(work / "resume")
            processes.by_first(lambda: start_anew_elsewhere(work, self.output_dir))
            return make(config)

        stored = self._once(stage, fingerprint, make_in, together=True)
        if self.output_dir and processes.is_first():
            with one_at_a_time(self.cache.folder / "copies"):  # workers write the same file
                keep_checkpoint(self.output_dir / f"{file}.pth", stored[kept], self.config)
        return stored
