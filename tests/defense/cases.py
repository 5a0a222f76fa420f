"""What every defense must do."""

import pytest
import torch
from pipeline import same_weights, untrained, weights_of

from recbole_gro import BlackBox, Service, create_defense, register_defense


class DefenseCases:
    """A new defense gets its suite by one line: `class TestMine(DefenseCases): name = "mine"`.

    Attributes:
        name: what it is registered as.
        target: RecBole model it is tried on.
    """

    name: str
    target = "BERT4Rec"

    @pytest.fixture(autouse=True)
    def _tiny_target(self, make_loaders):
        self.config, self.train, self.valid, _ = make_loaders(self.target, served_k=10, gro_epochs=1, n_layers=1)
        self.model = untrained(self.config, self.train)

    def defense(self):
        return create_defense(self.name, self.config)

    def ranked(self, rows=6):
        return torch.stack([torch.randperm(30)[:10] + 1 for _ in range(rows)])

    def test_target_stays_as_it_is(self, tmp_path, monkeypatch):
        monkeypatch.chdir(tmp_path)
        before = weights_of(self.model)
        self.defense().protect(self.model, self.train, self.valid)
        assert same_weights(before, weights_of(self.model))

    def test_served_model_answers_the_black_box(self, tmp_path, monkeypatch):
        monkeypatch.chdir(tmp_path)
        defense = self.defense()
        service = Service(defense.protect(self.model, self.train, self.valid), 10, defense.shown)
        lists = BlackBox(service).query([[1, 2, 3], [4]])
        assert lists.shape == (2, 10)
        assert all(len(set(row)) == 10 for row in lists.tolist())
        assert int(lists.min()) >= 1
        assert int(lists.max()) < self.model.n_items

    def test_list_keeps_its_items(self):
        ranked = self.ranked()
        shown = self.defense().shown(ranked)
        assert shown.dtype == ranked.dtype
        assert torch.equal(shown.sort(1).values, ranked.sort(1).values)

    def test_ranking_itself_is_not_overwritten(self):
        ranked = self.ranked()
        before = ranked.clone()
        self.defense().shown(ranked)
        assert torch.equal(ranked, before)

    def test_same_seed_serves_the_same(self):
        ranked = self.ranked()
        one, other = self.defense(), self.defense()
        for _ in range(3):
            assert torch.equal(one.shown(ranked), other.shown(ranked))

    def test_global_random_state_does_not_matter(self):
        ranked = self.ranked()
        torch.manual_seed(1)
        one = self.defense().shown(ranked)
        torch.manual_seed(2)
        assert torch.equal(one, self.defense().shown(ranked))

    def test_name_is_taken(self):
        with pytest.raises(ValueError, match=f"{self.name}.*registered already"):
            register_defense(self.name)(object)
