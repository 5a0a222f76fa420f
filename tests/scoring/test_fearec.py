"""FEARec's loss reads rows of the training data by number."""

import random

import pytest
import torch
from recbole.data.interaction import Interaction
from scoring.cases import ScorerCases

from recbole_gro.scoring import FEARecScorer


class TestFEARec(ScorerCases):
    model_name = "FEARec"
    kind = FEARecScorer
    settings = {"hidden_size": 16, "inner_size": 32}

    def own_loss(self, model, batch):
        """Return the loss on a dataset of RecBole's, which stores all its lists."""
        dataset = model.dataset
        rows = dataset[torch.arange(len(dataset.inter_feat))]
        model.dataset = type("Rows", (), {"inter_feat": rows})
        loss = model.calculate_loss(Interaction(dict(batch.interaction)))
        model.dataset = dataset
        return loss


class TestContrastiveFEARec(TestFEARec):
    settings = {**TestFEARec.settings, "contrast": "us", "tau": 1, "sim": "dot"}
    loss_is_cross_entropy = False

    @pytest.fixture(autouse=True)
    def same_partners(self, monkeypatch):
        """Fix the row that FEARec draws to contrast each row with."""
        monkeypatch.setattr(random, "choice", lambda rows: rows[0])
