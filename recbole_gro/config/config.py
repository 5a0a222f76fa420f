"""RecBole's Config with this plugin's defaults below it and without its traps.

Differences from RecBole's, each because the plain one costs a user hours:
- the packaged yaml files of this plugin take precedence over RecBole's own, and all that is given over both;
- only the command reads sys.argv and passes it as `command_line`, so that a Config made by a program, a test or for a
  second model ignores the flags of the process;
- values are Python literals, else safe yaml, else strings, and those of text keys always strings; RecBole evaluates
  them as code;
- unknown keys and models and values out of range raise a UserError of one line.
"""

import copy
import os
from typing import Any

from recbole.config import Config as RecBoleConfig
from recbole.data.transform import construct_transform
from recbole.model.abstract_recommender import SequentialRecommender
from recbole.utils import InputType

from recbole_gro.config import recbole_defaults  # noqa: F401  (declares RecBole's keys with another default)
from recbole_gro.config.assigned import assigned_settings
from recbole_gro.config.files import SafeLoader, packaged_settings, parsed_file, read_config_file, value_of
from recbole_gro.config.known_names import check_architecture, check_names, is_known, only_read
from recbole_gro.config.models import check_one_model, reference_to, role_models, sequential_model, serving
from recbole_gro.config.plugins import import_plugins
from recbole_gro.config.properties import model_keys, recbole_keys, recbole_model_settings, recbole_name
from recbole_gro.config.recbole_checks import check_scaler, check_valid_metric, complete_metrics, own_gpu
from recbole_gro.config.recbole_settings import MASKED_TRANSFORM, check_value, normalised
from recbole_gro.config.script_settings import without_refused
from recbole_gro.config.settings import declared_keys, plugin_keys, setting
from recbole_gro.utils.command_line import launched
from recbole_gro.utils.errors import UserError, nearest

DEFAULT_DATASET = "ml-100k"


class Config(RecBoleConfig):
    """Settings of a run.

    Args:
        model: RecBole model name or a sequential model class.
        dataset: dataset name.
        config_file_list: yaml files, in the working folder or packaged; or their names in a text, separated by spaces.
        config_dict: settings that take precedence over files.
        command_line: settings that take precedence over all others; values may be strings.

    Raises:
        UserError: unknown model, key or file, or a value that is not allowed.
    """

    external_config_dict: dict[str, Any]  # the given settings

    def __init__(
        self,
        model: str | type | None = None,
        dataset: str | None = None,
        config_file_list: list[str] | str | None = None,
        config_dict: dict[str, Any] | None = None,
        command_line: dict[str, Any] | None = None,
    ):
        self._command_line = dict(command_line or {})
        self._file_of: dict[str, str] = {}  # of each key that a file sets, for messages
        self._for_every_model: set[str] = set()  # keys of packaged files, whose settings of other models have no effect
        self.data_digests: dict[str, str] = {}  # of the atomic files, once they are read
        self.packaged_settings: dict[str, dict[str, Any]] = {}  # of the dataset: file -> what it sets
        if isinstance(config_file_list, str):
            one = os.path.isfile(config_file_list)  # whose path may have blanks
            config_file_list = [config_file_list] if one else config_file_list.split()
        import_plugins(config_dict or {}, self._command_line, files=config_file_list)
        super().__init__(model, dataset, config_file_list, dict(config_dict or {}))
        self._check()

    def _build_yaml_loader(self):
        return SafeLoader

    def _update_internal_config_dict(self, file):
        settings = parsed_file(file)  # RecBole parses its files for each config
        self.internal_config_dict.update(settings or {})
        return settings

    def _convert_config_dict(self, config_dict):
        return {key: value_of(key, entry) if isinstance(entry, str) else entry for key, entry in config_dict.items()}

    def _load_config_files(self, file_list):
        merged: dict[str, Any] = {}
        for file in file_list or []:
            settings = read_config_file(file)
            merged.update(settings)
            self._file_of.update(dict.fromkeys(settings, str(file)))
            own = self._for_every_model - settings.keys()
            self._for_every_model = own if os.path.isfile(file) else own | settings.keys()
        return merged

    def _load_cmd_line(self):
        return self._convert_config_dict(self._command_line)

    def _get_model_and_dataset(self, model, dataset):
        given = self.external_config_dict
        model = model or given.get("model")
        if model is None:
            if typo := nearest("model", given.keys() - recbole_keys() - plugin_keys().keys(), 0.7):
                raise UserError(f"unknown key {typo!r}; did you mean 'model'?")
            raise UserError(f"model: not set; give --model=NAME, NAME out of {', '.join(serving())}")
        check_one_model("model", model)
        model_class = sequential_model(model)
        return model_class.__name__, model_class, str(dataset or given.get("dataset") or DEFAULT_DATASET)

    def _load_internal_config_dict(self, model, model_class, dataset):
        # a custom class takes the defaults of the RecBole model that it derives from
        model = recbole_name(model_class) or model
        super()._load_internal_config_dict(model, model_class, dataset)
        self._check_given(model_class)
        if not hasattr(model_class, "input_type"):
            # a custom model without an input type: a loss over all items, no sampled negatives
            self.internal_config_dict.setdefault("loss_type", "CE")
        self._choose_negatives(model_class)
        self.internal_config_dict.update({name: copy.deepcopy(key.default) for name, key in declared_keys().items()})
        for name, settings in packaged_settings(model, dataset):
            self.internal_config_dict.update(settings)
            if name.startswith("dataset/"):
                self.packaged_settings[f"properties/{name}.yaml"] = settings
        self._load_columns()

    def _check_given(self, model_class: type) -> None:
        """Refuse invalid settings before RecBole reads them, whose errors seldom name the key."""
        given, ours = self.external_config_dict, plugin_keys()
        models = [model_class, *role_models(given)]
        for name in self._for_every_model - self.variable_config_dict.keys() - self.cmd_config_dict.keys():
            if name in model_keys() and not is_known(name, models):
                del given[name]
        for name, value in given.items():
            try:
                check_names([name], models)
                if name in ours:
                    ours[name].check(value)
                else:
                    check_value(name, value, self.internal_config_dict.get(name))
            except UserError as error:
                of_a_file = name not in self.variable_config_dict and name not in self.cmd_config_dict
                place = f" (in {self._file_of[name]})" if of_a_file and name in self._file_of else ""
                raise UserError(f"{error}{place}") from error

    def _choose_negatives(self, model_class: type) -> None:
        """Set sampled negatives as the loss needs them: pairwise losses read some, cross-entropy none."""
        given, name = self.external_config_dict, "train_neg_sample_args"
        loss = given.get("loss_type", self.internal_config_dict.get("loss_type"))
        kind = getattr(model_class, "input_type", None)
        if loss == "BPR" or kind is InputType.PAIRWISE:
            if given.get(name, {}) is None:
                del given[name]  # RecBole's examples set it to None for every model
        elif loss == "CE":
            if kind is None and given.get(name) is not None:
                raise UserError(f"{name}: loss_type CE compares all items and samples none; leave it out, or take BPR")
            # RecBole's loader leaves this out for CE and raises on its own default
            self.internal_config_dict[name] = None

    def _load_columns(self) -> None:
        """Load the columns of sequences, and the item features that target, student or surrogate reads.

        RecBole's default omits the time and then fails, and loads features for ml-100k and its own models alone.
        """
        given = {**self.internal_config_dict, **self.external_config_dict}
        features = list(given.get("selected_features") or [])
        for model in role_models(given):
            features += recbole_model_settings(model).get("selected_features", [])
        load_col = self.internal_config_dict["load_col"]
        sequences = [given[f"{name}_FIELD"] for name in ("USER_ID", "ITEM_ID", "TIME")]
        columns = {"inter": [*sequences, *load_col["inter"]]}
        if features:
            columns["item"] = [given["ITEM_ID_FIELD"], *load_col.get("item", []), *features]
        unique = {suffix: list(dict.fromkeys(names)) for suffix, names in columns.items()}
        self.internal_config_dict["load_col"] = {**load_col, **unique}

    def _merge_external_config_dict(self):
        super()._merge_external_config_dict()
        self.external_config_dict = {name: normalised(name, value) for name, value in self.external_config_dict.items()}

    def _set_default_parameters(self):
        complete_metrics(self.final_config_dict, self.external_config_dict)
        super()._set_default_parameters()
        # RecBole ignores data_path for ml-100k and reads its packaged files
        given = self.external_config_dict.get("data_path")
        if given and os.path.isdir(os.path.join(given, self.dataset)):
            self.final_config_dict["data_path"] = os.path.join(given, self.dataset)

    def _init_device(self):
        given = self.final_config_dict["gpu_id"]
        if given is None or not self.final_config_dict["use_gpu"]:
            self.final_config_dict["gpu_id"] = ""  # RecBole ignores use_gpu and takes a GPU
        elif launched():
            self.final_config_dict["gpu_id"] = own_gpu(self.external_config_dict.get("gpu_id"))
        super()._init_device()
        named = self.external_config_dict.get("gpu_id") is not None and self.final_config_dict["gpu_id"] != ""
        if named and self.final_config_dict["device"].type == "cpu":
            raise UserError(f"gpu_id: torch sees no GPU {given!r} here; use_gpu=False, or no gpu_id, runs on the CPU")

    def _check(self) -> None:
        longest = max(self["topk"], default=0)
        if longest > self["served_k"]:
            raise UserError(
                f"topk: position {longest} is beyond the served list (served_k={self['served_k']}); "
                f"lower topk or raise served_k"
            )
        check_valid_metric(self, self.external_config_dict)
        check_scaler(self)
        if self["transform"] == MASKED_TRANSFORM and self["MAX_ITEM_LIST_LENGTH"] < 2:
            raise UserError(f"MAX_ITEM_LIST_LENGTH: {self['model']} predicts an item from others and takes 2 or more")
        default = self.internal_config_dict.get("transform")
        of_recbole = reference_to(self.model_class) == self.model_class.__name__
        if of_recbole and (given := self.external_config_dict.get("transform", default)) != default:
            takes = f"{self['model']} takes {default}" if default else f"{self['model']} reads nothing that it adds"
            raise UserError(f"transform: {given} is not for this model, {takes}; leave it out")
        for name in ("surrogate_config", "student_config"):
            if self[name] is not None:
                read_config_file(self[name])

    def plain(self) -> dict[str, Any]:
        """Return the given settings, model and dataset as plain types; `Config(config_dict=...)` restores it."""
        return plain_settings(self)


def plain_settings(config: RecBoleConfig) -> dict[str, Any]:
    """Return the given settings of a Config, RecBole's or ours, with model and dataset, as plain types."""
    given = {key: plain(value) for key, value in _given(config).items()}
    if given.get("data_path"):
        given["data_path"] = os.path.abspath(given["data_path"])  # so that it is found from another folder
    return {**given, "model": reference_to(config.model_class), "dataset": config.dataset}


def with_settings(config: RecBoleConfig, **settings: Any) -> Any:
    """Return a copy of a config with other values of some settings."""
    changed = copy.copy(config)
    changed.final_config_dict = {**config.final_config_dict, **settings}
    changed.external_config_dict = {**config.external_config_dict, **settings}
    return changed


def _given(config: RecBoleConfig) -> dict[str, Any]:
    """Return the given settings, and those that a script assigned since.

    Those of RecBole's Config, which takes any key, come without unknown ones, and with the values that it has where a
    packaged file, which it does not read, sets another.
    """
    given = {**config.external_config_dict, **assigned_settings(config)}
    if isinstance(config, Config):
        return given
    name = recbole_name(config.model_class) or config.model
    packaged = {key for _, settings in packaged_settings(name, config.dataset) for key in settings}
    ours = plugin_keys()
    own = {key: setting(config, key) if key in ours else config.final_config_dict[key]
           for key in sorted(packaged) if key in ours or key in config.final_config_dict}  # fmt: skip
    return only_read({**own, **given}, [config.model_class, *role_models(given)])


def plain(value: Any) -> Any:
    """Return a value as types that yaml, json and torch.load(weights_only=True) support."""
    if isinstance(value, dict):
        return {str(key): plain(entry) for key, entry in value.items()}
    if isinstance(value, list | tuple):
        return [plain(entry) for entry in value]
    if isinstance(value, type) and issubclass(value, SequentialRecommender):
        return reference_to(value)
    return value if value is None or isinstance(value, bool | int | float | str) else str(value)


def derive(
    config: RecBoleConfig, model: str | type | None, config_file: str | None, key: str = "model"
) -> RecBoleConfig:
    """Return the settings of a second model, student or surrogate, from those of the target.

    A model of the target's class shares its architecture. One of another class takes its own defaults instead of those
    settings of an architecture (of RecBole's properties/model) that the target reads; what the target does not read is
    meant for the other models.

    Args:
        config: of the target.
        model: name or class; None: the target's.
        config_file: settings that take precedence.
        key: the setting whose value `model` is, for messages.

    Raises:
        UserError: unknown model or file, or an invalid value.
    """
    model_class = config.model_class if model is None else sequential_model(model, key)
    chosen = read_config_file(config_file) if config_file else {}
    check_architecture(chosen, model_class, f"{key.removesuffix('_model')}_config")
    given = without_refused(copy.deepcopy(_given(config)))
    given.pop("train_neg_sample_args", None)  # a student and a surrogate train on lists
    if model_class is not config.model_class:
        own = {key for key in model_keys() if is_known(key, [config.model_class])} | {"transform"}
        given = {key: value for key, value in given.items() if key not in own and is_known(key, [model_class])}
    else:
        given = only_read(given, [model_class])  # less those of the other models
    given.update(chosen)
    derived = Config(model_class, config.dataset, config_dict=given)
    for name in ("data_path", "device", "checkpoint_dir", "output_dir", "resume_dir"):
        derived[name] = config[name]
    construct_transform(derived)  # masked models read the field names that their transform leaves in the config
    return derived
