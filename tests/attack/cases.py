"""Services with known lists, and the suites of query strategies and attackers."""

import pytest
import torch
from pipeline import TINY_RUN, files_below, same_weights, weights_of

from recbole_gro import (
    BlackBox,
    BudgetSpent,
    Service,
    create_attacker,
    create_query_strategy,
    create_surrogate,
    load_target,
    run_recbole_gro,
)
from recbole_gro.attack import query_budget


class RuleService(Service):
    """Serve the k items that follow the last item of a sequence, in a ring of items 1 .. n_items - 1."""

    def __init__(self, n_items=31, k=10):
        self.n_items, self.k = n_items, k

    def recommend(self, sequences):
        last = torch.as_tensor(sequences)[:, -1:]
        return (last + torch.arange(self.k)) % (self.n_items - 1) + 1


class PaddedService(RuleService):
    """Serve the lists of RuleService with 0 in place of the last items: 1 to k items remain."""

    def recommend(self, sequences):
        lists = super().recommend(sequences)
        left = lists[:, :1] % self.k + 1
        return lists * (torch.arange(self.k) < left)


class QueryStrategyCases:
    """The suite of a query strategy: `class TestOwn(QueryStrategyCases): name = "own"`.

    Attributes:
        name: of the registered strategy.
    """

    name: str

    def query(self, n_sequences=20, length=6, seed=3, budget=None, service=None):
        self.box = BlackBox(service or RuleService(), budget=budget)
        generator = torch.Generator().manual_seed(seed)
        return create_query_strategy(self.name).query(self.box, n_sequences, length, generator, False)

    def test_shapes(self):
        log = self.query(n_sequences=5, length=4)
        assert log.sequences.shape == (5, 4)
        assert log.lists.shape == (5, 4, 10)
        assert log.n_lists == 20

    def test_every_prefix_is_counted(self):
        log = self.query(n_sequences=20, length=6)
        assert self.box.lists_returned == log.n_lists == 120

    def test_lists_are_those_served_for_the_prefixes(self):
        log = self.query()
        for s, sequence in enumerate(log.sequences):
            for t in range(len(sequence)):
                assert torch.equal(self.box.query(sequence[None, : t + 1])[0], log.lists[s, t].long())

    def test_lists_of_a_model_are_those_served_for_the_prefixes(self, make_model):
        service = Service(make_model("BERT4Rec"), 5)
        log = self.query(n_sequences=3, length=12, service=service)
        for t in range(12):
            assert torch.equal(service.recommend(log.sequences[:, : t + 1]), log.lists[:, t].long())

    def test_sequences_hold_items_only(self):
        log = self.query(n_sequences=100)
        assert int(log.sequences.min()) >= 1
        assert int(log.sequences.max()) <= 30

    def test_padding_of_lists_is_never_queried(self):
        log = self.query(n_sequences=100, service=PaddedService())
        assert int(log.lists.min()) == 0
        assert int(log.sequences.min()) >= 1

    def test_first_item_may_be_any(self):
        log = self.query(n_sequences=600, length=1)
        assert set(log.sequences[:, 0].tolist()) == set(range(1, 31))

    def test_same_seed_same_log(self):
        one, other = self.query(seed=3), self.query(seed=3)
        assert torch.equal(one.sequences, other.sequences)
        assert torch.equal(one.lists, other.lists)

    def test_other_seed_other_log(self):
        assert not torch.equal(self.query(seed=3).sequences, self.query(seed=4).sequences)

    def test_budget_holds(self):
        assert self.query(n_sequences=5, length=4, budget=20).n_lists == 20
        with pytest.raises(BudgetSpent):
            self.query(n_sequences=5, length=4, budget=19)
        assert self.box.lists_returned <= 19


class AttackerCases:
    """The suite of an attacker: `class TestOwn(AttackerCases): name = "own"`.

    Attributes:
        name: of the registered attacker.
        settings: of its tests.
    """

    name: str
    settings: dict = {}

    @pytest.fixture(autouse=True)
    def _tiny_attacker(self, make_config, tmp_path):
        self.folder, self.make_config = tmp_path / "attack", make_config

    def attacker(self, **more):
        settings = {
            "query_sequences": 60,
            "query_length": 6,
            "served_k": 10,
            "surrogate_epochs": 8,
            "surrogate_learning_rate": 0.02,
            "surrogate_batch_size": 64,
            "output_dir": str(self.folder),
            "data_path": "/no/such/folder",
        }
        return create_attacker(self.name, self.make_config("NARM", **{**settings, **self.settings, **more}))

    def auxiliary(self, attacker):
        """Return histories of five users, of 2 to 10 items, for an attacker with auxiliary data."""
        if not attacker.auxiliary_share:
            return None
        items = torch.randint(1, 31, (5, 10), generator=torch.Generator().manual_seed(6))
        return items * (torch.arange(10) < torch.tensor([[2], [4], [6], [8], [10]]))

    def query(self, attacker, service=None, seed=3):
        self.box = BlackBox(service or RuleService(), budget=query_budget(attacker.config))
        return attacker.query(self.box, torch.Generator().manual_seed(seed), self.auxiliary(attacker))

    def test_queries_stay_within_the_budget(self):
        attacker = self.attacker()
        log = self.query(attacker)
        assert self.box.lists_returned == log.n_lists * attacker.repeats
        assert 0.9 * 360 < self.box.lists_returned <= 360

    def test_log_and_training_log_have_the_same_sequences(self):
        attacker = self.attacker()
        log = self.query(attacker)
        training_log = attacker.training_log(log)
        assert log.sequences.shape == (attacker.n_sequences, 6)
        assert torch.equal(training_log.sequences, log.sequences)
        assert training_log.lists.shape[:2] == log.lists.shape[:2] == (attacker.n_sequences, 6)
        assert training_log.lists.shape[2] <= log.lists.shape[2] <= 10

    def test_lists_are_those_served_for_the_prefixes(self):
        log = self.query(self.attacker())
        for t in range(6):
            served = RuleService().recommend(log.sequences[:, : t + 1])
            assert torch.equal(log.lists[:, t].long(), served[:, : log.lists.shape[2]])

    @pytest.mark.parametrize("service", [RuleService, PaddedService])
    def test_lists_hold_different_items_and_padding_after_them(self, service):
        attacker = self.attacker()
        log = self.query(attacker, service())
        assert 1 <= int(log.sequences.min()) <= int(log.sequences.max()) <= 30
        for lists in (log.lists, attacker.training_log(log).lists):
            assert not ((lists[:, :, :-1] == 0) & (lists[:, :, 1:] != 0)).any()
            for row in lists.flatten(0, 1).tolist():
                assert len(set(row) - {0}) == sum(item != 0 for item in row)

    def test_same_seed_same_queries_regardless_of_other_draws(self):
        torch.manual_seed(1)
        one = self.query(self.attacker())
        torch.manual_seed(2)
        other = self.query(self.attacker())
        assert torch.equal(one.sequences, other.sequences)
        assert torch.equal(one.lists, other.lists)

    def test_other_seed_other_queries(self):
        assert not torch.equal(
            self.query(self.attacker(), seed=3).sequences, self.query(self.attacker(), seed=4).sequences
        )

    def test_same_seed_same_surrogate_from_the_log_alone(self):
        log = self.query(self.attacker())
        one, again, other = (
            weights_of(self.attacker(surrogate_epochs=1).train_surrogate(log, 31, seed=seed).model)
            for seed in (5, 5, 6)
        )
        assert same_weights(one, again)
        assert not same_weights(one, other)

    def test_surrogate_improves_and_is_saved(self):
        attacker = self.attacker()
        surrogate_trainer = attacker.train_surrogate(self.query(attacker), self.box.n_items)
        histories = torch.randint(1, 31, (60, 4), generator=torch.Generator().manual_seed(9))
        served = RuleService(k=5).recommend(histories)
        torch.manual_seed(5)
        untrained, _ = create_surrogate(attacker.config, 31)
        agreement = [
            (BlackBox(model, 5).query(histories).unsqueeze(2) == served.unsqueeze(1)).any(2).float().mean()
            for model in (untrained, surrogate_trainer.model)
        ]
        assert agreement[1] > agreement[0] + 0.2
        assert [name for name in files_below(self.folder) if name.endswith(".pth")] == ["surrogate.pth"]
        saved = torch.load(self.folder / "surrogate.pth", weights_only=True)["state_dict"]
        assert same_weights(saved, weights_of(surrogate_trainer.model))

    def test_an_ensemble_is_trained_from_several_seeds(self):
        small = {"surrogate_epochs": 2, "query_sequences": 20}
        attacker = self.attacker(surrogate_ensemble=2, **small)
        log = self.query(attacker)
        trainer = attacker.train_surrogate(log, 31, seed=5)
        one, other = trainer.model.members
        alone = self.attacker(**small)
        assert same_weights(weights_of(one), weights_of(alone.train_surrogate(log, 31, stage="alone", seed=5).model))
        assert not same_weights(weights_of(one), weights_of(other))
        assert alone.selected == attacker.selected
        assert attacker.n_surrogates == alone.n_surrogates + 1
        assert set(trainer.best_valid_result) == {"loss", f"agreement@{trainer.genuine_k or 10}"}
        [member] = trainer.others
        assert (trainer.improved, trainer.still_improving) == (True, True)  # after 2 epochs
        trainer.cur_step, member.untrained_loss = 99, 0.0
        assert (trainer.improved, trainer.still_improving) == (False, member.still_improving)
        checkpoints = [name for name in files_below(self.folder) if name.endswith(".pth")]
        assert checkpoints == ["alone.pth", "surrogate.pth"]
        served = load_target(self.folder / "surrogate.pth").recommend(log.sequences, 10)
        assert torch.equal(served, Service(trainer.model, 10).recommend(log.sequences))

    def test_runs_from_end_to_end(self, tiny_data_path):
        settings = {**TINY_RUN, "query_sequences": 20, **self.settings, "data_path": str(tiny_data_path)}
        [row] = run_recbole_gro(
            "BERT4Rec", "tiny", config_dict={**settings, "defense": "none", "attacker": self.name}, saved=False
        )["defenses"]
        assert row["attacker"] == self.name
        assert 0.9 * 80 <= row["lists_returned"] <= 80
        assert 0 <= row["surrogate"]["test"]["hit@10"] <= 1
