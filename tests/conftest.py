"""Tiny data and tiny models, for every test that needs RecBole."""

import random
import sys
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from recbole.data.transform import construct_transform

from recbole_gro import Config
from recbole_gro.attack.query_strategies import _strategies
from recbole_gro.config import settings
from recbole_gro.config.models import sequential_model
from recbole_gro.config.properties import recbole_model_settings
from recbole_gro.data import build_dataset, build_loaders
from recbole_gro.defense.base import defenses
from recbole_gro.defense.gro.callback import _callbacks
from recbole_gro.defense.gro.swap_rules import _rules
from recbole_gro.utils import own_code, secret_file

torch.set_num_threads(1)  # models this small lose more than they gain by sharing out their work


def pytest_collection_modifyitems(items):
    if not torch.cuda.is_available():
        for item in items:
            if item.get_closest_marker("gpu"):
                item.add_marker(pytest.mark.skip(reason="torch sees no CUDA device"))


@pytest.fixture(autouse=True)
def _same_draws(monkeypatch):
    """Give a test the same draws and new keys at each run: a claim at level 0.01 would fail some tests by chance."""
    random.seed(1)
    np.random.seed(1)
    torch.manual_seed(1)
    digits = random.Random(1)
    monkeypatch.setattr(secret_file, "secrets", SimpleNamespace(token_hex=lambda n: digits.randbytes(n).hex()))


@pytest.fixture(autouse=True)
def _own_code(monkeypatch):
    """Forget what another test took for a user's own code: this test's own would count too."""
    monkeypatch.setattr(own_code, "_packages", set())


@pytest.fixture(autouse=True)
def _release(request):
    """Release the attributes of a test instance, which pytest keeps to the end of the session."""
    yield
    if request.instance is not None:
        vars(request.instance).clear()


WIDTHS = {
    "BERT4Rec": {"hidden_size": 16, "inner_size": 32, "n_layers": 2, "n_heads": 2},
    "SASRec": {"hidden_size": 16, "inner_size": 32, "n_layers": 2, "n_heads": 2},
    "NARM": {"embedding_size": 16, "hidden_size": 16},
    "GRU4Rec": {"embedding_size": 16, "hidden_size": 16},
}
SMALL = {
    "load_col": {"inter": ["user_id", "item_id", "timestamp"]},
    "MAX_ITEM_LIST_LENGTH": 8,
    "served_k": 5,
    "topk": [1, 5],
    "valid_metric": "NDCG@5",
    "train_batch_size": 32,
    "eval_batch_size": 64,
    "epochs": 1,
    "seed": 7,
    "use_gpu": False,
    "gpu_id": "",
    "show_progress": False,
}


def read_by(model, **settings):
    """The settings of an architecture that a model reads, by RecBole's file."""
    return {key: value for key, value in settings.items() if key in recbole_model_settings(sequential_model(model))}


def write_inter(folder, histories, name="tiny"):
    """FOLDER/NAME/NAME.inter of RecBole; the folder, for `data_path`.

    `histories` maps a user to its items in time order, or to (item, timestamp) pairs.
    """
    lines = ["user_id:token\titem_id:token\ttimestamp:float"]
    for user, events in histories.items():
        for clock, event in enumerate(events, start=1):
            item, timestamp = event if isinstance(event, tuple) else (event, clock)
            lines.append(f"{user}\t{item}\t{timestamp}")
    (folder / name).mkdir(parents=True, exist_ok=True)
    (folder / name / f"{name}.inter").write_text("\n".join(lines) + "\n")
    return folder


def synthetic_histories(n_users=40, n_items=30, longest=24):
    """Users who walk through the catalogue in small steps: 1 to `longest` items each, every item seen."""
    draw = random.Random(3)
    histories = {"everything": [f"i{item}" for item in range(n_items)]}
    for user in range(n_users - 1):
        item, items = draw.randrange(n_items), []
        for _ in range(1 + user % longest):
            items.append(f"i{item}")
            item = (item + draw.choice([1, 1, 2, 3])) % n_items
        histories[f"u{user}"] = items
    return histories


@pytest.fixture
def write_dataset(tmp_path):
    """Write histories as a dataset below tmp_path: `write_dataset({"ann": ["x", "y"]}, name="mine")`."""
    return lambda histories, name="tiny": write_inter(tmp_path, histories, name)


@pytest.fixture(scope="session")
def tiny_data_path(tmp_path_factory):
    """A folder with the dataset `tiny`: 40 users, 30 items."""
    return write_inter(tmp_path_factory.mktemp("atomic"), synthetic_histories())


@pytest.fixture
def make_config(tiny_data_path, tmp_path):
    """Make a Config of a tiny model on tiny data: `make_config("NARM", served_k=3)`; nothing lands outside tmp_path."""

    def make(model="BERT4Rec", dataset="tiny", **settings):
        given = {"data_path": str(tiny_data_path), "checkpoint_dir": str(tmp_path / "saved"), **SMALL}
        return Config(model, dataset, config_dict={**given, **WIDTHS.get(model, {}), **settings})

    return make


@pytest.fixture
def make_loaders(make_config):
    """Make a config and its three loaders: `config, train, valid, test = make_loaders("NARM")`."""

    def make(model="BERT4Rec", **settings):
        config = make_config(model, **settings)
        return config, *build_loaders(config, build_dataset(config))

    return make


@pytest.fixture
def make_model(make_config):
    """Make an untrained model, the same every time, in evaluation mode: `model = make_model("NARM")`."""

    def make(model="BERT4Rec", **settings):
        config = make_config(model, **settings)
        unbuilt = build_dataset(config)
        unbuilt.only_prefixes = False  # as build_loaders sets it
        dataset, *_ = unbuilt.build()
        construct_transform(config)
        torch.manual_seed(11)
        built = config.model_class(config, dataset)
        for weights in built.parameters():
            torch.nn.init.normal_(weights, std=0.3)  # fresh ones score all items almost alike
        for module in built.modules():
            if isinstance(module, torch.nn.LayerNorm):
                module.weight.data += 1
        if hasattr(built, "item_embedding"):
            built.item_embedding.weight.data[0] = 0
        return built.eval()

    return make


@pytest.fixture
def on_terminal(capsys, monkeypatch):
    """Let what capsys captures be a terminal: `on_terminal(80)` columns."""

    def make(columns):
        monkeypatch.setenv("COLUMNS", str(columns))
        for stream in (sys.stdout, sys.stderr):
            monkeypatch.setattr(stream, "isatty", lambda: True)

    return make


@pytest.fixture
def own_parts(monkeypatch):
    """Settings, defenses, query strategies, swap rules and variants of GRO of a test are gone after it."""
    monkeypatch.setattr(settings, "_declared", dict(settings._declared))
    monkeypatch.setattr(settings, "_sections", {name: list(keys) for name, keys in settings._sections.items()})
    for registry in (defenses, _strategies, _rules, _callbacks):
        monkeypatch.setattr(registry, "_entries", dict(registry._entries))
