"""What the tests of trainers and runs share besides the fixtures: settings of a tiny run, and looks at its outcome."""

from pathlib import Path

import torch
from conftest import SMALL, WIDTHS, read_by
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

TINY_RUN = {
    **SMALL,
    **WIDTHS["BERT4Rec"],
    "n_layers": 1,
    "served_k": 12,
    "topk": [5, 10],
    "valid_metric": "NDCG@10",
    "gro_epochs": 1,
    "gro_steps": 1,
    "query_sequences": 8,
    "query_length": 4,
    "surrogate_epochs": 1,
    "surrogate_min_steps": 1,
    "references": ["popularity"],
}


def tiny_run(model):
    """TINY_RUN for another model."""
    widths = {key: TINY_RUN[key] for key in WIDTHS["BERT4Rec"]}
    general = {key: value for key, value in TINY_RUN.items() if key not in widths}
    return {**general, **read_by(model, **widths, embedding_size=16)}


class AllOnMeta(TorchDispatchMode):
    """Fails where an operation gives a tensor of another device."""

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        result = func(*args, **(kwargs or {}))
        for tensor in tree_leaves(result):
            assert not isinstance(tensor, torch.Tensor) or tensor.is_meta, f"{func} made a tensor on {tensor.device}"
        return result


def untrained(config, train, seed=5):
    """The config's model with fresh weights that depend on `seed` alone."""
    torch.manual_seed(seed)
    return config.model_class(config, train._dataset)


def weights_of(model):
    """A copy of the model's weights, for later comparison."""
    return {name: values.clone() for name, values in model.state_dict().items()}


def same_weights(one, other):
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


def scalars(folder):
    """What TensorBoard shows for a stage's folder: {tag: [value of each epoch]}."""
    events = EventAccumulator(str(folder)).Reload()
    return {tag: [event.value for event in events.Scalars(tag)] for tag in events.Tags()["scalars"]}


def files_below(folder):
    """Names of all files and folders below a folder."""
    return sorted(str(path.relative_to(folder)) for path in Path(folder).rglob("*"))


def drop_fields(value, *names):
    """Nested results without the fields of these names: what is left must not change from run to run."""
    if isinstance(value, dict):
        return {key: drop_fields(entry, *names) for key, entry in value.items() if key not in names}
    if isinstance(value, list):
        return [drop_fields(entry, *names) for entry in value]
    return value
