import pytest
import torch
from attack.cases import AttackerCases, RuleService

from recbole_gro import QueryLog, QueryStrategy, UserError, create_attacker, register_query_strategy
from recbole_gro.attack import head
from recbole_gro.attack import query_strategies as queries
from recbole_gro.attack.head import with_random_tail


class TestHead(AttackerCases):
    name = "head"

    @pytest.fixture(autouse=True)
    def heads_shorter_than_the_lists(self, monkeypatch):
        monkeypatch.setattr(head, "HEADS", (5,))

    def test_next_items_are_in_the_shortest_head(self):
        log = self.query(self.attacker())
        assert log.lists.shape[2] == 10
        assert (log.lists[:, :-1, :5] == log.sequences[:, 1:, None]).any(2).all()

    def test_the_selected_head_and_the_agreement_are_reported(self):
        attacker = self.attacker(surrogate_epochs=1)
        attacker.train_surrogate(self.query(attacker), 31)
        assert attacker.selected["attacker_head_k"] in (5, 10)
        agreement = attacker.selected["agreement@10"]
        assert list(agreement) == ["5", "10"]
        assert agreement[str(attacker.selected["attacker_head_k"])] == max(agreement.values())

    def test_candidates_are_compared_on_the_same_held_out_heads(self, monkeypatch):
        attacker, seen = self.attacker(surrogate_epochs=1), []
        log = self.query(attacker)
        trainer_class = type(attacker.train_surrogate(log, 31))
        measured = trainer_class.held_out_figures
        monkeypatch.setattr(
            trainer_class,
            "held_out_figures",
            lambda self, held, *served: (seen.append(held.log), measured(self, held, *served))[1],
        )
        attacker.train_surrogate(log, 31)
        # each candidate is measured on its own lists before and after its epoch, then on the first 10 items as served
        assert [held.lists.shape[2] for held in seen] == [10, 10, 10, 10, 10, 10]
        assert all(torch.equal(held.sequences, seen[0].sequences) for held in seen)

    def test_agreement_is_of_served_items_alone(self):
        attacker = self.attacker(attacker_head_k=2)
        log = self.query(attacker)
        trainer = attacker.train_surrogate(log, 31)
        held_out = trainer.loaders(attacker.training_logs(log, 31, trainer.config["seed"])[2])[1]
        assert trainer.best_valid_result == trainer.held_out_figures(held_out, 2)
        with_random_items = trainer.held_out_figures(held_out)["agreement@10"]
        assert trainer.best_valid_result["agreement@2"] > with_random_items + 0.1

    def test_agreement_leaves_out_what_lists_lack(self):
        attacker = self.attacker(attacker_head_k=6)
        log = self.query(attacker)
        log.lists[:, :, 2:] = 0
        trainer = attacker.train_surrogate(log, 31)
        held_out = trainer.loaders(attacker.training_logs(log, 31, trainer.config["seed"])[6])[1]
        assert trainer.best_valid_result == trainer.held_out_figures(held_out, 2)

    def test_a_head_longer_than_every_list_is_no_candidate(self):
        attacker = self.attacker(surrogate_epochs=1)
        log = self.query(attacker)
        log.lists[:, :, 4:] = 0
        attacker.train_surrogate(log, 31)
        assert attacker.selected["attacker_head_k"] == 4

    @pytest.mark.parametrize("strategy", ["autoregressive", "mixed", "mimic", "wrapped"])
    def test_queries_are_those_of_a_service_of_heads(self, own_strategies, strategy):
        attacker = self.attacker(query_strategy=strategy)
        log = self.query(attacker)
        of_heads = self.query(create_attacker("standard", attacker.config), RuleService(k=5))
        assert torch.equal(log.sequences, of_heads.sequences)
        assert torch.equal(log.lists[:, :, :5], of_heads.lists)
        for t in range(6):
            assert torch.equal(log.lists[:, t].long(), RuleService().recommend(log.sequences[:, : t + 1]))

    @pytest.fixture
    def own_strategies(self, monkeypatch):
        """Query strategies that override `query` or `extend`, with and without `visible`."""
        monkeypatch.setattr(queries._strategies, "_entries", dict(queries._strategies._entries))

        @register_query_strategy("wrapped")
        class Wrapped(QueryStrategy):
            def extend(self, *args, **kwargs):
                return super().extend(*args, **kwargs)

        @register_query_strategy("own_extend")
        class OwnExtend(QueryStrategy):
            def extend(self, black_box, prefixes, generator, show_progress=False, *, queried=0):
                return super().extend(black_box, prefixes, generator, show_progress, queried=queried)

        @register_query_strategy("own_query")
        class OwnQuery(QueryStrategy):
            def query(self, black_box, n_sequences, length, generator, show_progress=False):
                return super().query(black_box, n_sequences, length, generator, show_progress)

    @pytest.mark.parametrize("method", ["extend", "query"])
    def test_a_strategy_that_cannot_limit_lists_is_refused(self, own_strategies, method):
        strategy = f"own_{method}"
        with pytest.raises(UserError, match=f"^query_strategy: {method} of {strategy} does not take visible, "):
            self.attacker(query_strategy=strategy)
        standard = create_attacker("standard", self.attacker().config)
        own = create_attacker(f"standard+{strategy}", self.attacker().config)
        assert torch.equal(self.query(own).sequences, self.query(standard).sequences)

    def test_a_head_past_the_list_is_refused(self):
        with pytest.raises(UserError, match="attacker_head_k: 11 is past the end of lists of 10"):
            self.attacker(attacker_head_k=11)


class TestGivenHead(AttackerCases):
    name = "head"
    settings = {"attacker_head_k": 5}

    def test_items_below_the_head_change_nothing(self):
        class Shuffled(RuleService):
            def recommend(self, sequences):
                lists = super().recommend(sequences)
                return torch.cat([lists[:, :5], lists[:, 5:].flip(1)], 1)

        attacker = self.attacker()
        one, other = self.query(attacker), self.query(self.attacker(), Shuffled())
        assert torch.equal(one.sequences, other.sequences)
        [trained], [trained_other] = (attacker.training_logs(log, 31, 1).values() for log in (one, other))
        assert torch.equal(trained.lists, trained_other.lists)
        assert not torch.equal(one.lists, other.lists)


def test_random_items_follow_the_head():
    lists = torch.stack([torch.randperm(30)[:4] + 1 for _ in range(120)]).view(20, 6, 4)
    log = QueryLog(torch.ones(20, 6, dtype=torch.long), lists)
    filled = with_random_tail(log, 10, 31, seed=1)
    assert torch.equal(filled.lists[:, :, :4], lists)
    rows = filled.lists.flatten(0, 1)
    assert all(len(set(row)) == 10 and 0 not in row for row in rows.tolist())
    # each of the 27 others in 6 of the places, if all are equally likely: 120 * 6 / 27 lists hold it, give or take
    counts = torch.bincount(rows[:, 4:].flatten(), minlength=31)[1:]
    assert counts.min() > 5
    assert len({tuple(row) for row in rows[:, 4:].tolist()}) == 120
    assert torch.equal(with_random_tail(log, 10, 31, seed=1).lists, filled.lists)
    assert not torch.equal(with_random_tail(log, 10, 31, seed=2).lists, filled.lists)


def test_short_lists_are_filled_after_their_last_item():
    log = QueryLog(torch.ones(1, 2, dtype=torch.long), torch.tensor([[[3, 1, 2], [7, 0, 0]]]))
    filled = with_random_tail(log, 5, 31, seed=1).lists[0].tolist()
    assert [filled[0][:3], filled[1][:1]] == [[3, 1, 2], [7]]
    assert all(len(set(row)) == 5 and 0 not in row for row in filled)


def test_empty_lists_stay_empty():
    log = QueryLog(torch.ones(1, 2, dtype=torch.long), torch.tensor([[[0, 0, 0], [7, 0, 0]]]))
    empty, filled = with_random_tail(log, 5, 31, seed=1).lists[0].tolist()
    assert empty == [0] * 5
    assert filled[0] == 7
    assert 0 not in filled


def test_whole_lists_stay_unchanged():
    log = QueryLog(torch.ones(1, 1, dtype=torch.long), torch.tensor([[[3, 1, 2]]]))
    assert torch.equal(with_random_tail(log, 3, 31, seed=1).lists, log.lists)
