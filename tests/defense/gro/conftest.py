"""A GRO trainer with its data, and lists with scores of target and student, for every test of GRO."""

import pytest
import torch
from conftest import read_by
from pipeline import untrained

from recbole_gro import GROTrainer
from recbole_gro.utils.ranking import top_k


@pytest.fixture
def make_trainer(make_loaders, tmp_path):
    """Make a GRO trainer with its data: `trainer, train, valid = make_trainer("NARM", gro_epochs=2)`."""

    def make(model="BERT4Rec", cls=GROTrainer, **settings):
        brief = {"gro_epochs": 2, "eval_step": 1, "output_dir": str(tmp_path / "run"), **read_by(model, n_layers=1)}
        settings = {**brief, **settings}
        config, train, valid, _ = make_loaders(model, **settings)
        return cls(config, untrained(config, train)), train, valid

    return make


@pytest.fixture
def config(make_config):
    return make_config(served_k=10, gro_head_k=4, margin_swap=0.25)


@pytest.fixture
def lists():
    """T, the lists of 10 that it serves, S and g, for 6 rows and 30 items."""
    generator = torch.Generator().manual_seed(4)
    target, student = torch.randn(2, 6, 31, generator=generator)
    return target.requires_grad_(), top_k(target.detach(), 10), student, torch.randn(6, 10, generator=generator)
