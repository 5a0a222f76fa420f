"""FEARec's loss reads rows of the training data by number."""

import random

import pytest
import torch
from conftest import synthetic_histories
from recbole.data.interaction import Interaction
from scoring.cases import ScorerCases

from recbole_gro.scoring import FEARecScorer, create_scorer


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
        """Fix the row that FEARec draws to contrast each row with: the first, then the next where it is refused."""
        last = [None, 0]

        def choice(rows):
            last[:] = rows, last[1] + 1 if last[0] is rows else 0
            return rows[last[1] % len(rows)]

        monkeypatch.setattr(random, "choice", choice)


def test_the_loss_ends_where_rows_of_an_item_have_the_same_history(write_dataset, make_loaders):
    alike = {user: ["rare1", "rare2", "rare3", "rare4", "rare5"] for user in ("ann", "bob")}
    data = write_dataset({**synthetic_histories(), **alike})
    config, train, *_ = make_loaders("FEARec", data_path=str(data), **TestContrastiveFEARec.settings)
    scorer = create_scorer(config.model_class(config, train.dataset))
    assert all(torch.isfinite(scorer.loss(batch)) for batch in train)
