"""A saved target, ready to serve."""

import os
import pickle
from dataclasses import dataclass, field
from typing import Any

import torch
from recbole.data.transform import construct_transform
from torch import Tensor

from recbole_gro.config.config import Config
from recbole_gro.config.known_names import only_read
from recbole_gro.config.models import sequential_model
from recbole_gro.data import SequenceDataset, build_dataset
from recbole_gro.serving.service import Service
from recbole_gro.utils.errors import UserError


@dataclass
class SavedTarget:
    """A trained model with its dataset.

    Attributes:
        model: the RecBole model, on the config's device, in evaluation mode.
        dataset: knows users, items and their original tokens.
        config: the settings it was trained with.
    """

    model: torch.nn.Module
    dataset: SequenceDataset
    config: Config
    _services: dict[int, Service] = field(default_factory=dict, repr=False)

    def recommend(self, sequences: Any, k: int = 10) -> Any:
        """The k best next items of each sequence, best first.

        Args:
            sequences: RecBole item ids, [B, L] padded right with 0 or a list of id lists; or a list of lists of
                original item tokens (strings).
            k: length of a list.

        Returns:
            [B, k] item ids as a tensor; for tokens, a list of B lists of k tokens.

        Raises:
            UserError: a token the dataset does not have, or k above the catalogue.
        """
        service = self._services.setdefault(k, Service(self.model, k))
        if isinstance(sequences, str) or any(isinstance(row, str) for row in sequences):
            raise UserError("sequences: a list of sequences is wanted, such as [['242', '302']], not a list of items")
        if isinstance(sequences, Tensor) or not any(isinstance(item, str) for row in sequences for item in row):
            return service.recommend(sequences).cpu()
        ids = [[self._item_id(token) for token in row] for row in sequences]
        return self.dataset.id2token(self.dataset.iid_field, service.recommend(ids).cpu().numpy()).tolist()

    def _item_id(self, token: str) -> int:
        try:
            return self.dataset.token2id(self.dataset.iid_field, token)
        except (ValueError, TypeError):
            raise UserError(f"item {token!r} is not in {self.config['dataset']}") from None


# What the other models of the run were; loading a target must not import a module because a file names it
OTHER_MODELS = ("student_model", "student_config", "surrogate_model", "surrogate_config")


def load_target(file: str | os.PathLike, model: type | None = None) -> SavedTarget:
    """Load target.pth or target-gro.pth of a run. The file is read as plain data, never executed.

    Args:
        file: the checkpoint.
        model: the model's class where it is one of your own, not RecBole's.

    Raises:
        UserError: no such file, no checkpoint of this plugin, or a model or dataset that does not fit it.
    """
    try:
        checkpoint = torch.load(file, map_location="cpu", weights_only=True)
        settings, weights = dict(checkpoint["config"]), checkpoint["state_dict"]
    except FileNotFoundError:
        raise UserError(f"checkpoint {file}: no such file") from None
    except (pickle.UnpicklingError, RuntimeError, LookupError, TypeError, EOFError, OSError, ValueError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise UserError(f"checkpoint {file}: not a checkpoint of plain data ({reason})") from error
    made_by = settings.pop("model", None)
    if model is None and ":" in str(made_by):
        raise UserError(
            f"checkpoint {file}: it was made by {made_by}, a model outside RecBole; give its class: "
            f"load_target(file, model={str(made_by).partition(':')[2]})"
        )
    settings = {name: value for name, value in settings.items() if name not in OTHER_MODELS}
    if model or made_by:
        settings = only_read(settings, [sequential_model(model or made_by)])  # less what the other models read
    if settings.get("gpu_id"):
        del settings["gpu_id"]  # the GPU that it was trained on; this machine may have others, or none
    config = Config(model or made_by, config_dict={**settings, "output_dir": None})
    dataset = build_dataset(config)
    construct_transform(config)  # leaves the field names of masked models in the config
    # models look at what only a built dataset has, CORE at the length of its lists; a built one cannot be built again
    rows, *_ = dataset.copy(dataset.inter_feat).build()
    built = config.model_class(config, rows).to(config["device"])
    try:
        built.load_state_dict(weights)
    except RuntimeError as error:
        given, trained = config.model_class.__name__, str(made_by).rpartition(":")[2]
        if made_by is not None and given != trained:
            raise UserError(
                f"checkpoint {file}: it holds a {trained}, which does not fit the model {given} that was given; "
                f"load it with {trained}"
            ) from error
        raise UserError(
            f"checkpoint {file}: does not fit dataset {config['dataset']} in {config['data_path']}; "
            f"{str(error).splitlines()[-1].strip()}"
        ) from error
    built.load_other_parameter(checkpoint.get("other_parameter"))
    return SavedTarget(built.eval(), dataset, config)
