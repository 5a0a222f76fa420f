"""Fingerprints of everything that the results of stages depend on: equal fingerprints, equal results."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from functools import cached_property
from types import MappingProxyType
from typing import Any

import recbole
import torch
from recbole.evaluator.register import metrics_dict

from recbole_gro import __version__
from recbole_gro.attack import Attacker, attacks_of, create_attacker
from recbole_gro.attack.settings import AveragingSettings, EnsembleSettings, QuerySettings, SurrogateSettings
from recbole_gro.attack.surrogate_model import surrogate_length, surrogate_models
from recbole_gro.config.config import plain, with_settings
from recbole_gro.config.config_like import ConfigLike
from recbole_gro.config.known_names import names_in, read_by_others_alone
from recbole_gro.config.loss_settings import ExtractionLossSettings
from recbole_gro.config.models import ROLES, reference_to, role_models, sequential_model
from recbole_gro.config.own_reads import undeclared_keys
from recbole_gro.config.plugins import PluginSettings, sources_of
from recbole_gro.config.recbole_defaults import (
    EvaluationSettings,
    TargetEpochSettings,
    TrainingSettings,
    ValidationSettings,
)
from recbole_gro.config.settings import Settings, declared_keys, fingerprint_inputs, plugin_keys
from recbole_gro.config.values import as_names
from recbole_gro.data.digests import data_fingerprint
from recbole_gro.data.settings import DataSettings
from recbole_gro.defense import Defense, create_defense
from recbole_gro.defense.combined import trains
from recbole_gro.defense.defense_key import key_digest
from recbole_gro.defense.settings import KeyedSettings
from recbole_gro.quick_start.references import UNDEFENDED, create_references
from recbole_gro.quick_start.settings import AttackedSettings, ComparisonSettings, OutputSettings, ReferenceSettings
from recbole_gro.scoring import scorer_class
from recbole_gro.serving.settings import AccessLogSettings, ServiceSettings

# RecBole's keys of folders, devices and output; no result depends on them
WITHOUT_EFFECT = {"data_path", "checkpoint_dir", "output_dir", "resume_dir", "config_files"}
WITHOUT_EFFECT |= {"show_progress", "state", "log_wandb", "wandb_project", "gpu_id", "device", "local_rank", "nproc"}
WITHOUT_EFFECT |= {"world_size", "single_spec", "ip", "port", "offset", "group_offset"}
RUN_SETTINGS = (
    *(ComparisonSettings, AttackedSettings, ReferenceSettings),
    *(OutputSettings, AccessLogSettings, PluginSettings),
)
TARGET_SETTINGS = (DataSettings, TrainingSettings, ValidationSettings)
TRAINED_SURROGATE = (SurrogateSettings, EnsembleSettings, AveragingSettings, ExtractionLossSettings)
# names of fields that follow from other settings, which RecBole's transforms write into the config with the data
WITHOUT_EFFECT |= {"MASK_INDEX", "MASK_ITEM_SEQ", "NEG_ITEMS", "POS_ITEMS"}
RUN_LEVEL = {name for settings in RUN_SETTINGS for name in settings.names} | WITHOUT_EFFECT  # no stage reads them
NOTHING: Mapping[str, Any] = MappingProxyType({})


class Fingerprints:
    """Compute the fingerprints of a config's stages for one defense; each covers those of the stages before it.

    Args:
        config: of the run or cell.
        name: of the defense.
        attack: name of the attacker; None: the first of the config's.
        variant: {`training` or `queries`: fingerprint of a stage that is computed in another way than the config says};
            it replaces the stage's own, and later stages depend on it.

    Attributes:
        defense: made for the config; its declared settings count. `Stages` advances its random draws.
    """

    def __init__(
        self, config: ConfigLike, name: str, attack: str | None = None, *, variant: Mapping[str, str] | None = None
    ):
        self.config, self.name, self.variant = config, name, variant or {}
        self.defense: Defense = create_defense(name, config)
        self.attack = attack or attacks_of(config)[0]

    @cached_property
    def attacker(self) -> Attacker:
        """The attacker."""
        return create_attacker(self.attack, self.config)

    @cached_property
    def target_setting_values(self) -> dict[str, Any]:
        """Every setting that the target's own training reads, with its value."""
        read = {name for settings in TARGET_SETTINGS for name in settings.names}
        unread = {*plugin_keys(), *EvaluationSettings.names} - read | WITHOUT_EFFECT
        if reference_to(self.config.model_class) != self.config.model_class.__name__:
            unread -= names_in(self.config.model_class)  # a user's model may read any key
        unread = unread.union(*map(self._of_role, ROLES))
        settings = {name: value for name, value in self.config.final_config_dict.items() if name not in unread}
        return settings | {"model": reference_to(self.config.model_class)}

    @cached_property
    def trained_setting_values(self) -> dict[str, Any]:
        """Every setting that the trainings of target, served model and surrogate read, with its value."""
        part = self.defense.parts[0]
        of_defense = self._read(part.training_settings, part.fixed) if trains(type(part)) else {}
        return self.target_setting_values | of_defense | self._read(TRAINED_SURROGATE)

    @cached_property
    def training(self) -> str:
        """Fingerprint of the target's own training: the data, RecBole's settings and those of training rows."""
        if "training" in self.variant:
            return self.variant["training"]
        data = getattr(self.config, "data_digests", None) or data_fingerprint(self.config)
        model, (watched,) = self.config.model_class, _metrics([self.config["valid_metric"].partition("@")[0]])
        classes = model, scorer_class(model), watched
        settings = self.target_setting_values | self._plugin_keys_of(*classes)
        return fingerprint("target", data=data, settings=settings, **_code(*classes))

    @cached_property
    def target(self) -> str:
        """Fingerprint of the undefended target: its training, and which epoch of it."""
        epoch = TargetEpochSettings.of(self.config).target_epoch
        return self.training if epoch == "best" else fingerprint("target", self.training, epoch=epoch)

    @cached_property
    def defended(self) -> str:
        """Fingerprint of the served model, which is the target unless the defense trains."""
        part = self.defense.parts[0]
        if not trains(type(part)):
            return self.target
        before = self.target if self.needs_target else self.training
        keyed = part.training_settings is None or KeyedSettings in part.training_settings
        key = {"key": key_digest(self.config)} if keyed else {}
        settings = self._read(part.training_settings, part.fixed) | self._undeclared(part)
        return fingerprint("defended", before, part=part.name, settings=settings, **key, **_code(*part.classes))

    @cached_property
    def service(self) -> str:
        """Fingerprint of the served lists."""
        parts = [[part.name, self._read(part.output_settings) | self._undeclared(part)] for part in self.defense.parts]
        read = [part.output_settings for part in self.defense.parts]
        keyed = any(declared is None or KeyedSettings in declared for declared in read)
        settings, key = self._read((ServiceSettings,)), key_digest(self.config) if keyed else None
        code = _code(*(cls for part in self.defense.parts for cls in part.classes))
        return fingerprint("service", self.defended, parts=parts, settings=settings, key=key, **code)

    @cached_property
    def evaluation(self) -> str:
        """Fingerprint of the metrics of the service."""
        metrics = _metrics(self.config["metrics"])
        settings = self._read((EvaluationSettings,)) | self._plugin_keys_of(*metrics)
        return fingerprint("evaluation", self.service, settings=settings, **_code(*metrics))

    @cached_property
    def queries(self) -> str:
        """Fingerprint of the query log of the attack."""
        if "queries" in self.variant:
            return self.variant["queries"]
        attacker = self.attacker
        own = QuerySettings.fingerprint_inputs(attacker.config)  # which the attack's name may set
        declared = ((QuerySettings, *TRAINED_SURROGATE), attacker.settings, attacker.strategy.settings)
        undeclared = self._values(undeclared_keys(attacker.classes, declared))
        return fingerprint(
            "queries",
            self.service,
            attacker=self.attack.partition("+")[0],
            settings=[own, self._read(attacker.strategy.settings), self._read(attacker.settings) | undeclared],
            **_code(*attacker.classes),
        )

    @cached_property
    def surrogate(self) -> str:
        """Fingerprint of the trained surrogate."""
        read = self._read(TRAINED_SURROGATE)
        return fingerprint("surrogate", self.queries, settings=read | _cut(self.attacker.config))

    @cached_property
    def references(self) -> dict[str, str]:
        """Fingerprints of the config's references, by name."""
        undefended = Fingerprints(self.config, UNDEFENDED).evaluation
        found = {}
        for name, reference in create_references(self.config).items():
            cut = _cut(self.config) if SurrogateSettings in (reference.settings or ()) else {}
            declared = (reference.settings, TARGET_SETTINGS, (ServiceSettings, EvaluationSettings))
            read = self._read(reference.settings) | cut | self._values(undeclared_keys([type(reference)], declared))
            if reference.per_architecture and len(surrogate_models(self.config)) > 1:
                read["architecture"] = "selected by the attack"
            found[name] = fingerprint("reference", undefended, name=name, settings=read, **_code(type(reference)))
        return found

    @cached_property
    def comparison(self) -> str:
        """Fingerprint of the comparison: the service, the surrogates of the config's attacks, and its references."""
        surrogates = [Fingerprints(self.config, self.name, attack).surrogate for attack in attacks_of(self.config)]
        return fingerprint("comparison", self.evaluation, *surrogates, references=self.references)

    def with_next_seed(self) -> "Fingerprints":
        """Return the fingerprints of the same defense and attack at the next seed, without variants."""
        return Fingerprints(with_settings(self.config, seed=self.config["seed"] + 1), self.name, self.attack)

    def undefended(self) -> "Fingerprints":
        """Return the fingerprints of the undefended target's service, with the same variants."""
        return Fingerprints(self.config, UNDEFENDED, self.attack, variant=self.variant)

    @property
    def needs_target(self) -> bool:
        """Whether the undefended target is trained: it is served, or the defense starts from it."""
        part = self.defense.parts[0]
        return part.needs_target or not trains(type(part))

    def stages(self) -> dict[str, str]:
        """Return {stage: fingerprint} of the stages that train or query, in order, less those that are not needed."""
        stages = {"target": self.training} if self.needs_target else {}
        stages |= {"defended": self.defended} if trains(type(self.defense.parts[0])) else {}
        return stages | ({"queries": self.queries, "surrogate": self.surrogate} if self.config["attack"] else {})

    def _read(self, declared: Sequence[type[Settings]] | None, fixed: Mapping[str, Any] = NOTHING) -> dict[str, Any]:
        """Return the values of settings classes, the code of the models named by them, and the keys that these read and
        the target does not; all values for a part that does not declare its settings (None). `fixed` is a defense's."""
        if declared is None:
            read = fingerprint_inputs(self.config, declared_keys().keys() - RUN_LEVEL)
        else:
            read = {
                name: value for settings in declared for name, value in settings.fingerprint_inputs(self.config).items()
            }
        read |= fixed  # a user's student may read the config's value of a fixed setting
        roles = [role for role in ROLES if role in read]
        read |= {name: self.config[name] for role in roles for name in self._of_role(role)}
        models: list[Any] = list(role_models(self.config.final_config_dict, roles))
        models += [scorer_class(model) for model in models]
        return read | self._plugin_keys_of(*models) | _code(*models)

    def _plugin_keys_of(self, *classes: type) -> dict[str, Any]:
        """Return the values of the keys of plugins that models, scorers and metrics of a user's own read."""
        return self._values(undeclared_keys(classes) & plugin_keys().keys())

    def _undeclared(self, part: Defense) -> dict[str, Any]:
        """Return the values of the keys that a defense of a user's own reads and does not declare."""
        return self._values(undeclared_keys(part.classes, (part.training_settings, part.output_settings)))

    def _values(self, names: set[str]) -> dict[str, Any]:
        return fingerprint_inputs(self.config, sorted(names - RUN_LEVEL))

    def _of_role(self, role: str) -> set[str]:
        """Return the keys that the models of a role read and the target does not."""
        settings = self.config.final_config_dict
        return read_by_others_alone(settings, self.config.model_class, role_models(settings, [role]))


def code_of_run(config: ConfigLike) -> dict[str, str]:
    """Return {module: digest of its source} of the classes of models and parts of a run that a user wrote."""
    defenses = [create_defense(name, config) for name in as_names(config["defense"])]
    classes = {cls for defense in defenses for part in defense.parts for cls in part.classes}
    classes |= {cls for name in attacks_of(config) for cls in create_attacker(name, config).classes}
    classes |= {type(reference) for reference in create_references(config).values()} | {*_metrics(config["metrics"])}
    models = [config.model_class, *role_models(config.final_config_dict)]
    sources = sources_of(*models, *(scorer_class(model) for model in models), *classes)
    return {name: hashlib.sha256(source.encode()).hexdigest()[:16] for name, source in sources.items()}


def _metrics(names: Sequence[str]) -> list[type]:
    """Return the classes of metrics."""
    return [metrics_dict[str(name).lower()] for name in names]


def _code(*classes: type) -> dict[str, Any]:
    """Return the source of the classes that a user wrote, where there are such."""
    sources = sources_of(*classes)
    return {"sources": sources} if sources else {}


def _cut(config: ConfigLike) -> dict[str, Any]:
    """Return the length of the surrogates' sequences, of which queries decide, where it is not the target's."""
    models = [sequential_model(name) if name else config.model_class for name in surrogate_models(config)]
    lengths = {surrogate_length(config, model) for model in models}
    own = lengths.pop() if len(lengths) == 1 else sorted(lengths)
    return {} if own == config["MAX_ITEM_LIST_LENGTH"] else {"surrogate_length": own}


def fingerprint(*before: str, **inputs: Any) -> str:
    """Return a digest of the versions of this package, RecBole and torch, earlier fingerprints and inputs.

    Args:
        before: name of the stage, and fingerprints of the stages before it.
        inputs: plain values, such as settings.
    """
    build_free = torch.__version__.partition("+")[0]  # as the device, which does not count
    versions = [__version__, recbole.__version__, build_free]
    text = json.dumps([versions, *before, plain(inputs)], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:16]
