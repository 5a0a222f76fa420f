"""The suites of defenses."""

import pytest
import torch
from pipeline import same_weights, untrained, weights_of

from recbole_gro import BlackBox, Service, create_defense, register_defense
from recbole_gro.defense.base import defenses
from recbole_gro.serving.service import Query
from recbole_gro.utils.ranking import top_k


def synthetic(rows=6, k=10, n_items=31, seed=0):
    """Return rankings [rows, k] and their query: different histories of 1 to 5 items, and scores."""
    generator = torch.Generator().manual_seed(seed)
    scores = torch.randn(rows, n_items, generator=generator)
    lengths = torch.randint(1, 6, (rows,), generator=generator)
    sequences = torch.randint(1, n_items, (rows, 5), generator=generator)
    sequences[:, 0] = 1000 * seed + torch.arange(1, rows + 1)
    return top_k(scores, k), Query(sequences * (torch.arange(5) < lengths.unsqueeze(1)), lengths, scores)


class AnyDefenseCases:
    """What holds for one defense (`DefenseCases`) and for a combination of several (`CombinedCases`).

    Attributes:
        name: as `create_defense` takes it.
        target: RecBole model that it protects.
        keeps_items: whether a list holds the items of the ranking, in any order.
        items: number of items in a list of 10.
    """

    name: str
    target = "BERT4Rec"
    keeps_items = True
    items = 10

    @pytest.fixture(autouse=True)
    def _tiny_target(self, make_loaders):
        settings = {"served_k": 10, "head_k": 4, "gro_head_k": 4, "gro_epochs": 2, "gro_steps": 1, "n_layers": 1}
        self.config, self.train, self.valid, _ = make_loaders(self.target, **settings)
        self.model = untrained(self.config, self.train)

    def defense(self):
        return create_defense(self.name, self.config)

    def test_the_target_is_not_changed(self, tmp_path, monkeypatch):
        monkeypatch.chdir(tmp_path)
        before = weights_of(self.model)
        self.defense().protect(self.model, self.train, self.valid)
        assert same_weights(before, weights_of(self.model))

    def test_the_black_box_queries_the_served_model(self, tmp_path, monkeypatch):
        monkeypatch.chdir(tmp_path)
        defense = self.defense()
        service = Service(defense.protect(self.model, self.train, self.valid), 10, defense.answer)
        lists = BlackBox(service).query([[1, 2, 3], [4]])
        assert lists.shape == (2, 10)
        assert int(lists.max()) < self.model.n_items

    def test_a_list_holds_different_items_and_padding_after_them(self):
        ranked, query = synthetic(200)
        lists = self.defense().answer(ranked, query)
        assert lists.shape == ranked.shape
        assert lists.dtype == ranked.dtype
        assert all(len(set(row[: self.items])) == self.items for row in lists.tolist())
        assert int(lists[:, : self.items].min()) >= 1
        assert int(lists.max()) < 31
        assert not lists[:, self.items :].any()
        if self.keeps_items:
            assert torch.equal(lists.sort(1).values, ranked.sort(1).values)

    def test_ranking_and_scores_are_not_overwritten(self):
        ranked, query = synthetic()
        before = ranked.clone(), query.scores.clone(), query.sequences.clone()
        self.defense().answer(ranked, query)
        assert all(map(torch.equal, (ranked, query.scores, query.sequences), before))

    def test_same_seed_serves_the_same(self):
        one, other = self.defense(), self.defense()
        for _ in range(3):
            assert torch.equal(one.answer(*synthetic()), other.answer(*synthetic()))

    def test_global_random_state_does_not_matter(self):
        torch.manual_seed(1)
        one = self.defense().answer(*synthetic())
        torch.manual_seed(2)
        assert torch.equal(one, self.defense().answer(*synthetic()))


class DefenseCases(AnyDefenseCases):
    """The suite of a defense, in one line: `class TestMyDefense(DefenseCases): name = "my_defense"`."""

    def test_name_is_taken(self):
        with pytest.raises(ValueError, match=f"{self.name}.*registered already"):
            register_defense(self.name)(object)


class CombinedCases(AnyDefenseCases):
    """The suite of a combination, in one line: `class TestMine(CombinedCases): name = "one+other"`."""

    keeps_items = False

    def test_its_parts_are_registered_and_its_name_is_not(self):
        assert self.name not in defenses
        assert set(self.name.split("+")) <= set(defenses)


class TailCases(DefenseCases):
    """As DefenseCases, for a defense that keeps the first `head_k` positions."""

    keeps_items = False

    def test_head_stays_and_the_rest_does_not(self):
        ranked, query = synthetic(50)
        lists = self.defense().answer(ranked, query)
        assert torch.equal(lists[:, :4], ranked[:, :4])
        assert all(not torch.equal(*rows) for rows in zip(lists[:, 4:], ranked[:, 4:], strict=True))

    def test_lists_do_not_depend_on_the_other_queries(self):
        ranked, query = synthetic(20)
        together = self.defense().answer(ranked, query)
        for row in range(20):
            part = slice(row, row + 1)
            alone = Query(query.sequences[part], query.lengths[part], query.scores[part])
            assert torch.equal(self.defense().answer(ranked[part], alone), together[part])

    @pytest.mark.parametrize("k", [1, 3, 4])
    def test_a_list_of_a_head_alone_stays(self, k):
        ranked, query = synthetic(k=k)
        assert torch.equal(self.defense().answer(ranked, query), ranked)

    @pytest.mark.parametrize("head_k", [10, 11])
    def test_a_head_as_long_as_the_list_is_refused(self, head_k):
        self.config["head_k"] = head_k
        with pytest.raises(ValueError, match=f"head_k: {head_k} leaves nothing .* below served_k=10") as error:
            self.defense()
        assert "\n" not in str(error.value)


class KeyedCases(DefenseCases):
    """As DefenseCases, for a defense that is deterministic per query with these `settings`."""

    settings: dict = {}

    @pytest.fixture(autouse=True)
    def _keyed(self, _tiny_target):
        for name, value in self.settings.items():
            self.config[name] = value

    def served(self, sequences, model, seed=7):
        self.config["seed"] = seed
        return Service(model, 10, self.defense().answer).recommend(sequences)

    def test_a_repeated_query_gets_the_same_list(self, make_model):
        model, sequences = make_model("NARM"), torch.randint(1, 31, (40, 6), generator=torch.Generator().manual_seed(1))
        service = Service(model, 10, self.defense().answer)
        first = service.recommend(sequences)
        assert torch.equal(service.recommend(sequences), first)
        assert torch.equal(self.served(sequences.flip(0), model).flip(0), first)

    def test_padding_changes_nothing(self, make_model):
        model, sequences = make_model("NARM"), torch.randint(1, 31, (40, 3), generator=torch.Generator().manual_seed(1))
        padded = torch.nn.functional.pad(sequences, (0, 4))
        assert torch.equal(self.served(padded, model), self.served(sequences, model))

    @pytest.mark.parametrize(("model", "reads"), [("NARM", 8), ("BERT4Rec", 7)])
    def test_items_that_the_model_does_not_read_do_not_change_the_draw(self, make_model, model, reads):
        model = make_model(model)
        sequences = torch.randint(1, 31, (40, reads), generator=torch.Generator().manual_seed(1))
        longer = torch.cat([torch.randint(1, 31, (40, 5)), sequences], 1)
        assert torch.equal(self.served(longer, model), self.served(sequences, model))

    def test_another_query_is_another_draw(self):
        # one ranking, query for by many queries
        ranked, query = synthetic(200)
        ranked = ranked[:1].expand(200, -1)
        lists = self.defense().answer(ranked, query)
        assert len({tuple(row) for row in lists.tolist()}) > 150

    def test_another_key_is_another_draw(self, make_model):
        model, sequences = make_model("NARM"), torch.randint(1, 31, (40, 6), generator=torch.Generator().manual_seed(1))
        one, other = self.served(sequences, model), self.served(sequences, model, seed=8)
        assert (one != other).any(1).float().mean() > 0.9
