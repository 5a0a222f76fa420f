"""A saved target, ready to serve."""

import os
from collections.abc import Iterable, Mapping, Set
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import torch
from recbole.data.transform import construct_transform
from torch import Tensor, nn

from recbole_gro.config.config import Config
from recbole_gro.config.config_like import ConfigLike
from recbole_gro.config.known_names import only_read
from recbole_gro.config.models import imported_model, reference_to, sequential_model
from recbole_gro.config.script_settings import without_refused
from recbole_gro.config.values import as_names
from recbole_gro.data import SequenceDataset, build_dataset
from recbole_gro.scoring.ensemble import build_untrained
from recbole_gro.serving.numbering import renumber
from recbole_gro.serving.service import Service
from recbole_gro.trainer.catalogue import StandInDataset, stored_items
from recbole_gro.utils.errors import UserError, in_one_line
from recbole_gro.utils.files import load_state
from recbole_gro.utils.random_state import global_state_restored


@dataclass
class SavedTarget:
    """A trained model with the names of its items.

    Attributes:
        model: the RecBole model, on the config's device, in evaluation mode.
        dataset: the data, numbered as the model's; None where none were read.
        config: the settings it was trained with.
        item_tokens: original tokens by item id, padding first; None for a surrogate, whose checkpoint holds none.
        marks: `Marks.state` of what a defense planted in training; None where it planted nothing.
        trained_by: name of the defense that trained the model; None for an undefended target and for a surrogate.
        settings: all that the checkpoint holds, those of a defense included, which `config` may leave out.
        data_digests: of the files that it was trained on, by name; None where the checkpoint holds none.
    """

    model: nn.Module
    dataset: SequenceDataset | None
    config: ConfigLike
    item_tokens: list[str] | None = None
    marks: dict[str, Any] | None = None
    trained_by: str | None = None
    settings: dict[str, Any] = field(default_factory=dict, repr=False)
    data_digests: dict[str, str] | None = None
    _services: dict[int, Service] = field(default_factory=dict, repr=False)

    def recommend(self, sequences: Any, k: int = 10) -> Any:
        """Return the k best next items of each sequence, best first.

        Args:
            sequences: item ids of the model, [B, L] padded right with 0 or a list of id lists; or a list of lists of
                original item tokens (strings).
            k: length of a list.

        Returns:
            [B, k] item ids as a tensor; for tokens, a list of B lists of k tokens.

        Raises:
            UserError: no list of sequences, an unknown token, k above the catalogue, or item_tokens of another one.
        """
        sequences = _listed(sequences)
        if sequences is None:
            raise UserError("sequences: expected a list of sequences, such as [['242', '302']], not of items or sets")
        if (service := self._services.get(k)) is None:
            service = self._services[k] = Service(self.model, k)
        if isinstance(sequences, Tensor) or not any(isinstance(item, str) for row in sequences for item in row):
            return service.recommend(sequences).cpu()
        if self.item_tokens is None:
            raise UserError(
                "sequences: this checkpoint holds no item tokens; give item ids, such as [[3, 1, 4]], or "
                "set item_tokens to those of the loaded target"
            )
        if len(self.item_tokens) != service.n_items:
            raise UserError(f"item_tokens: {len(self.item_tokens)} with padding, but the model has {service.n_items}")
        lists = service.recommend([[self._item_id(token) for token in row] for row in sequences])
        return [[self.item_tokens[item] for item in row] for row in lists.tolist()]

    def __setattr__(self, name: str, value: Any) -> None:
        super().__setattr__(name, value)
        if name == "item_tokens":
            vars(self).pop("_ids", None)  # of the earlier ones

    @cached_property
    def _ids(self) -> dict[str, int]:
        return {token: item for item, token in enumerate(self.item_tokens or ()) if item}

    def _item_id(self, token: str) -> int:
        if token not in self._ids:
            raise UserError(f"item {token!r} is not in {self.config['dataset']}, as the model was trained on it")
        return self._ids[token]


class StoredCatalogue(StandInDataset):
    """Stand in for the data of a checkpoint: what the checkpoint holds, and the data where they are given.

    Args:
        config: the model's settings.
        stored: `catalogue_state` of the checkpoint.
        rows: the built dataset, in the model's numbering; None without data.
    """

    def __init__(self, config: Config, stored: dict[str, Any], rows: SequenceDataset | None = None):
        super().__init__(config, stored["n_items"], stored["n_users"], stored_items(stored["features"]))
        self.rows = rows
        if rows is not None:
            self.inter_feat = rows.inter_feat
        elif ":" in reference_to(config.model_class):
            # RecBole's models read interactions in training only; other models may read them to be built
            del self.inter_feat

    def refused(self, field: str) -> UserError:
        """Return the error for a model that reads more than a checkpoint holds."""
        name = self.config["model"]
        return UserError(f"data_path: {name} reads {field} of the data, which no checkpoint holds; give their folder")

    def __getitem__(self, index: Any) -> Any:
        if self.rows is None:
            raise self.refused("rows")
        return self.rows[index]

    def __getattr__(self, name: str) -> Any:
        rows = vars(self).get("rows")
        return super().__getattr__(name) if rows is None else getattr(rows, name)


CATALOGUE = {"item_tokens", "user_tokens", "n_items", "n_users", "features"}  # of `catalogue_state`
# Settings of a run's other models, and of modules: a file alone must not have a module imported
NOT_SERVED = ("student_model", "student_config", "surrogate_model", "surrogate_config", "plugins", "gpu_id")


def load_target(
    file: str | os.PathLike[str],
    model: type[nn.Module] | None = None,
    data_path: str | os.PathLike[str] | None = None,
    device: str | torch.device | None = None,
) -> SavedTarget:
    """Load a target or surrogate that a run has saved; the file is read as plain data, never executed.

    A checkpoint holds the tokens of its items and serves without the data. Data that are given keep the model's ids:
    where they are numbered otherwise by now, they are renumbered. A checkpoint without tokens, of an earlier version,
    is loaded with its data. The process's random state and CUDA_VISIBLE_DEVICES stay as they are.

    Args:
        file: the checkpoint, such as target.pth or target-gro.pth of a run.
        model: the model's class where it is neither RecBole's nor in a module that is imported already.
        data_path: folder of the dataset's folder, for `dataset` and for models that read data to be built.
        device: `cpu`, `cuda:0`, ..; None takes the GPU that torch sees first, where the settings do not forbid it.

    Returns:
        The model with its tokens.

    Raises:
        UserError: no such file, no checkpoint of this plugin, or a model, dataset or device that does not fit.
    """
    checkpoint = _read(file)
    config = _config(file, checkpoint["config"], model, data_path, device)
    stored, dataset = checkpoint.get("catalogue"), None
    if data_path is not None and not os.path.isdir(folder := os.path.join(os.path.abspath(data_path), config.dataset)):
        raise UserError(f"data_path: there is no folder {folder}")  # RecBole would read or load another copy
    with global_state_restored():
        if data_path is not None or stored is None:
            dataset = _dataset(file, config, stored)
        built = _model(file, config, checkpoint, dataset)
    tokens = stored and stored["item_tokens"] if dataset is None else dataset.field2id_token[dataset.iid_field].tolist()
    marks, defense = checkpoint.get("marks"), str(checkpoint.get("stage")).partition("target-")[2]
    return SavedTarget(
        model=built.to(config["device"]).eval(),
        dataset=dataset,
        config=config,
        item_tokens=tokens,
        marks=marks,
        trained_by=defense or None,
        settings=checkpoint["config"],
        data_digests=digests if isinstance(digests := (stored or {}).get("data_digests"), dict) else None,
    )


def _read(file: str | os.PathLike[str]) -> dict[str, Any]:
    """Return a checkpoint's plain data."""
    if not os.path.exists(file):
        raise UserError(f"checkpoint {file}: no such file")
    if os.path.isdir(file):
        raise UserError(f"checkpoint {file} is a folder; name the file in it, such as target.pth")
    checkpoint = load_state(file, "a checkpoint of plain data")
    needed = ("config", "state_dict")
    if not (isinstance(checkpoint, dict) and all(isinstance(checkpoint.get(name), dict) for name in needed)):
        raise UserError(f"{file} is not a checkpoint of plain data: it lacks config or state_dict")
    stored = checkpoint.get("catalogue")
    if stored is not None and not (isinstance(stored, dict) and stored.keys() >= CATALOGUE):
        raise UserError(f"{file} is damaged: its catalogue is to have {', '.join(sorted(CATALOGUE))}")
    return checkpoint


def _config(file, settings: dict[str, Any], model: type[nn.Module] | None, data_path, device) -> Config:
    """Return the settings of a checkpoint, for the device to serve on."""
    made_by = settings.get("model")
    if model is None and ":" in str(made_by) and (model := imported_model(str(made_by))) is None:
        module, _, name = str(made_by).partition(":")
        command = "" if module == "__main__" else f"give --plugins={module}, "
        raise UserError(
            f"checkpoint {file}: it was made by {made_by}, a model outside RecBole; {command}in Python "
            f"load_target(file, model={name})"
        )
    given = without_refused({name: value for name, value in settings.items() if name not in NOT_SERVED})
    if served := model or made_by:
        given = only_read(given, [sequential_model(served)])  # less what the other models read
    given |= {} if data_path is None else {"data_path": str(data_path)}
    with global_state_restored():  # RecBole's Config hides the GPUs that it does not take, before torch has looked
        try:
            config = Config(model or made_by, config_dict={**given, "output_dir": None, "use_gpu": False})
        except UserError as error:
            if plugins := settings.get("plugins"):
                modules = ",".join(as_names(plugins))
                reason = f"made with the plugins {modules}; give --plugins=[{modules}], in Python import them first"
                raise UserError(f"checkpoint {file}: {reason} ({error})") from error
            raise
    config["device"] = _device(device, given.get("use_gpu", True))
    config["use_gpu"] = config.external_config_dict["use_gpu"] = config["device"].type == "cuda"
    return config


def _device(device: str | torch.device | None, gpu_allowed: bool) -> torch.device:
    """Return the device to serve on."""
    if device is None:
        return torch.device("cuda" if gpu_allowed and torch.cuda.is_available() else "cpu")
    try:
        torch.zeros(1, device=device).item()  # impossible on meta, which has no values
        return torch.empty(0, device=device).device
    except (RuntimeError, AssertionError, TypeError) as error:
        raise UserError(f"device: torch has no {str(device)!r} here; cpu always works, cuda:0 with a GPU") from error


def _dataset(file: str | os.PathLike[str], config: Config, stored: dict[str, Any] | None) -> SequenceDataset:
    """Return the data of a config in the numbering of the checkpoint; without stored tokens in their own."""
    if stored is not None and stored["item_tokens"] is None:
        raise UserError(f"data_path: {file} is a surrogate's and holds no item tokens, so no data can be matched to it")
    try:
        dataset = build_dataset(config)
        if stored is not None:
            renumber(dataset, stored["item_tokens"], stored["user_tokens"])
    except UserError as error:
        without = (
            f"checkpoint {file}: made by an earlier version, it holds no item tokens; give its data with data_path"
        )
        given = f"data_path: {config['dataset']} in {config['data_path']}"
        raise UserError(f"{without if stored is None else given}: {error}") from error
    return dataset


def _model(file, config: Config, checkpoint: dict[str, Any], dataset: SequenceDataset | None) -> nn.Module:
    """Return the model of a checkpoint, on the CPU."""
    stored, rows = checkpoint.get("catalogue"), None
    if dataset is not None:
        # models read what only a built dataset has; a built one cannot be built again
        unbuilt = dataset.copy(dataset.inter_feat)
        unbuilt.only_prefixes = False
        rows, *_ = unbuilt.build()
    construct_transform(config)  # leaves the field names of masked models in the config
    try:
        catalogue = rows if stored is None else StoredCatalogue(config, stored, rows)
        built = build_untrained(lambda: config.model_class(config, catalogue), checkpoint)
        built.load_state_dict(checkpoint["state_dict"])
        built.load_other_parameter(checkpoint.get("other_parameter"))
    except (LookupError, TypeError, AttributeError) as error:
        reason = in_one_line(error)
        raise UserError(f"checkpoint {file}: {config['model']} cannot be built from it: {reason}") from error
    except RuntimeError as error:
        raise _misfit(file, config, checkpoint, error) from error
    return built


def _listed(sequences: Any) -> Any:
    """Return a query of sequences as a tensor or a list; None for anything but a list of sequences."""
    if isinstance(sequences, Tensor):
        return sequences
    if isinstance(sequences, str) or not isinstance(sequences, Iterable):
        return None
    rows = list(sequences)  # of a generator too, which is read once
    return rows if all(isinstance(row, Iterable) and not isinstance(row, str | Set | Mapping) for row in rows) else None


def _misfit(file, config: Config, checkpoint: dict[str, Any], error: RuntimeError) -> UserError:
    """Return the error for weights that do not fit the model that was built."""
    made_by = checkpoint["config"].get("model")
    given, trained = config.model_class.__name__, str(made_by).rpartition(":")[2]
    if made_by is not None and given != trained:
        return UserError(
            f"checkpoint {file}: it holds a {trained}, which does not fit the model {given} that was given; "
            f"load it with {trained}"
        )
    with_data = checkpoint.get("catalogue") is None
    data = f"dataset {config['dataset']} in {config['data_path']}" if with_data else "its settings"
    return UserError(f"checkpoint {file}: does not fit {data}; {str(error).splitlines()[-1].strip()}")
