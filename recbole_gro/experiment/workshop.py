"""Models of experiments on suspects: targets, marked ones, surrogates, and independent ones."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from recbole.data.transform import construct_transform
from torch import nn

from recbole_gro.attack.query_log import QueryLog
from recbole_gro.data import SequenceDataset, build_dataset, build_loaders
from recbole_gro.experiment.kept_loaders import loaders_key
from recbole_gro.experiment.plan import Experiment, in_words
from recbole_gro.experiment.planned_suspects import suspect_named
from recbole_gro.quick_start.comparison import attack_service, serve_defended
from recbole_gro.quick_start.references import UNDEFENDED
from recbole_gro.quick_start.stage_cache import StageCache
from recbole_gro.quick_start.stage_fingerprints import Fingerprints, fingerprint
from recbole_gro.quick_start.stages import Stages
from recbole_gro.serving.service import Service
from recbole_gro.utils.errors import UserError
from recbole_gro.utils.own_code import fault_of


class _TriedOnce(StageCache):
    """Cache stages, and why those of this process failed: the suspects of other owners need them too."""

    def __init__(self, folder: Path, announce: bool = True):
        super().__init__(folder, announce)
        self._failed: dict[Path, str] = {}  # no exceptions, which would keep what a training had in memory

    def once(
        self, stage: str, fingerprint: str, make: Callable[[Path], dict[str, Any]], together: bool = False
    ) -> dict[str, Any]:
        """Return the result of a stage, as of `StageCache`.

        Raises:
            UserError: it failed before.
        """
        file = self.file(stage, fingerprint)
        if file in self._failed:
            raise UserError(self._failed[file])
        try:
            return super().once(stage, fingerprint, make, together)
        except BaseException as error:
            if fault := fault_of(error):
                self._failed[file] = str(fault)
            raise


class Workshop:
    """Make the models of an experiment on suspects, each once; a stage that fails is not tried again in this process.

    Args:
        experiment: with its part `ownership` or `marks`.
        stages_dir: folder of the stages.
    """

    def __init__(self, experiment: Experiment, stages_dir: Path):
        self.experiment, self.cache = experiment, _TriedOnce(stages_dir, announce=False)
        self._loaders: dict[Any, Any] = {}

    def stages(self, model: str, seed: int, defense: str = UNDEFENDED, **settings: Any) -> Stages:
        """Return the stages of a model at a seed, behind a defense."""
        given = {"model": model, "references": [], **settings, "defense": defense}
        config = self.experiment.config(given, seed)
        config["show_progress"] = False
        config["checkpoint_dir"] = str(self.cache.folder)  # a folder that RecBole makes in any case
        key = loaders_key(config)
        loaders = self._loaders.get(key) or build_loaders(config, build_dataset(config))
        if key is not None:
            self._loaders[key] = loaders
        construct_transform(config)  # masked models read the field names that their transform leaves in the config
        return Stages(config, loaders, self.cache, Fingerprints(config, defense), None)

    def target(self, model: str, seed: int) -> nn.Module:
        """Return the target of a model at a seed."""
        with suspect_named(_named(model, seed, UNDEFENDED)):
            return self.stages(model, seed).target()

    def small(self, seed: int) -> nn.Module:
        """Return a small independent model."""
        settings = small_settings(self.experiment)
        with suspect_named(f"small independent model, seed {seed}"):
            return self.stages(settings.pop("model"), seed, **settings).target()

    def of_half(self, model: str, seed: int) -> nn.Module:
        """Return a model trained as the target on half of the users, drawn by the seed."""
        config = self.stages(model, seed).config
        dataset = build_dataset(config)
        keep_half_of_users(dataset, seed)
        of_half = fingerprint("target", Fingerprints(config, UNDEFENDED).training, users="half")
        prints = Fingerprints(config, UNDEFENDED, variant={"training": of_half})
        with suspect_named(f"{model}, seed {seed}, of half of the users"):
            return Stages(config, build_loaders(config, dataset), self.cache, prints, None).target()

    def surrogate(
        self, model: str, seed: int, attack: dict[str, Any], defense: str = UNDEFENDED
    ) -> tuple[nn.Module, Stages, QueryLog, int]:
        """Return the surrogate of an attack on a service, its stages, the query log and the number of lists."""
        stages = self.stages(model, seed, defense, **attack)
        service = self._service(stages, model, seed, defense)
        with suspect_named(f"surrogate of {model}, seed {seed}, {in_words(attack)}"):
            surrogate, log, facts = attack_service(stages, service, defense)
        return surrogate, stages, log, facts["lists_returned"]

    def queries(
        self, model: str, seed: int, attack: dict[str, Any], defense: str = UNDEFENDED
    ) -> tuple[Stages, QueryLog]:
        """Return the stages of an attack on a service, and its query log, without a surrogate."""
        stages = self.stages(model, seed, defense, **attack)
        service = self._service(stages, model, seed, defense)
        with suspect_named(f"queries to {model}, seed {seed}, {in_words(attack)}"):
            return stages, stages.queries(service, defense)[0]

    def defended(self, model: str, seed: int, defense: str) -> nn.Module:
        """Return the model of a seed that a defense trained."""
        with suspect_named(_named(model, seed, defense)):
            return self.stages(model, seed, defense).defended()[0]

    def _service(self, stages: Stages, model: str, seed: int, defense: str) -> Service:
        with suspect_named(_named(model, seed, defense)):
            return serve_defended(stages)[0]


def _named(model: str, seed: int, defense: str) -> str:
    return f"target {model}, seed {seed}" + ("" if defense == UNDEFENDED else f", {defense}")


def small_settings(experiment: Experiment) -> dict[str, Any]:
    """Return the settings of small independent models, `model` among them."""
    return {name: value for name, value in experiment.ownership["small"].items() if name != "count"}


def keep_half_of_users(dataset: SequenceDataset, seed: int) -> None:
    """Remove the interactions of every second user, drawn by the seed; the catalogue stays.

    Args:
        dataset: as of `build_dataset`, not built yet.
        seed: of the draw.
    """
    n = dataset.user_num - 1
    users = 1 + torch.randperm(n, generator=torch.Generator().manual_seed(seed))[: n // 2].numpy()
    kept = dataset.inter_feat[dataset.uid_field].isin(users).to_numpy()
    dataset.inter_feat = dataset.inter_feat[kept].reset_index(drop=True)
    dataset.time_ranks = dataset.time_ranks[kept].reset_index(drop=True)
