import itertools

import pytest
import torch
from attack.cases import AttackerCases, RuleService
from recbole.utils import init_seed

from recbole_gro import (
    Attacker,
    BlackBox,
    ExtractionTrainer,
    UserError,
    create_attacker,
    create_query_strategy,
    create_surrogate,
    register_attacker,
)
from recbole_gro.attack.attacker import query_budget, query_length


class TestStandard(AttackerCases):
    name = "standard"

    def test_log_is_that_of_the_query_strategy(self):
        for strategy in ("autoregressive", "random"):
            log = self.query(self.attacker(query_strategy=strategy))
            generator = torch.Generator().manual_seed(3)
            expected = create_query_strategy(strategy).query(BlackBox(RuleService()), 60, 6, generator, False)
            assert torch.equal(log.sequences, expected.sequences)
            assert torch.equal(log.lists, expected.lists)

    def test_surrogate_is_that_of_a_trainer_on_the_whole_log(self):
        attacker = self.attacker(surrogate_epochs=2)
        log = self.query(attacker)
        weights = attacker.train_surrogate(log, 31, seed=5).model.state_dict()
        torch.manual_seed(5)
        surrogate, config = create_surrogate(attacker.config, 31)
        config["seed"] = 5
        trainer = ExtractionTrainer(config, surrogate)
        trainer.fit(*trainer.loaders(log))
        trainer.load_saved()
        assert all(torch.equal(weights[name], values) for name, values in trainer.model.state_dict().items())

    def test_no_surrogate_starts_from_the_weights_of_a_target_of_the_same_seed(self):
        class Watched(ExtractionTrainer):
            def fit(self, *args, **kwargs):
                self.first = {name: values.clone() for name, values in self.model.state_dict().items()}
                return super().fit(*args, **kwargs)

        attacker = self.attacker(surrogate_epochs=1)
        attacker.trainer = Watched
        first = attacker.train_surrogate(self.query(attacker), 31).first
        init_seed(attacker.config["seed"], True)  # as RecBole's quick start does before it builds a target
        target = create_surrogate(attacker.config, 31)[0].state_dict()
        assert not torch.equal(first["item_embedding.weight"], target["item_embedding.weight"])

    def test_members_of_an_ensemble_differ_from_the_first_weights_on_and_hold_out_the_same_queries(self):
        starts, held_out, seeds = [], [], []

        class Watched(ExtractionTrainer):
            def fit(self, train, valid, **kwargs):
                starts.append(self.model.state_dict()["item_embedding.weight"].clone())
                held_out.append(valid.log.sequences)
                seeds.append((train.generator.initial_seed(), self.generator.initial_seed()))
                return super().fit(train, valid, **kwargs)

        attacker = self.attacker(surrogate_epochs=1, surrogate_ensemble=3, query_sequences=10, query_length=3)
        attacker.trainer = Watched
        attacker.train_surrogate(self.query(attacker), 31)
        assert not any(torch.equal(*pair) for pair in itertools.combinations(starts, 2))
        assert len(starts) == 3
        assert all(len(set(of)) == 3 for of in zip(*seeds, strict=True))  # order of the lists, and negatives
        assert all(torch.equal(queries, held_out[0]) for queries in held_out)

    def test_a_trainer_of_a_subclass_trains_the_surrogate(self):
        class LastEpoch(ExtractionTrainer):
            def load_saved(self):
                """Keep the weights of the last epoch."""

        attacker = self.attacker(surrogate_epochs=2)
        attacker.trainer = LastEpoch
        assert type(attacker.train_surrogate(self.query(attacker), 31)) is LastEpoch


def test_budget_is_one_list_per_prefix(make_config):
    config = make_config(query_sequences=7, query_length=3)
    assert (query_length(config), query_budget(config)) == (3, 21)
    assert query_budget(make_config(query_sequences=7)) == 7 * 8  # MAX_ITEM_LIST_LENGTH


def test_an_attacker_with_sequences_of_its_own_takes_no_strategy(make_config):
    with pytest.raises(UserError, match=r"attacker: oracle\+mixed: oracle takes no query strategy, .* are real"):
        create_attacker("oracle+mixed", make_config())
    assert create_attacker("oracle+3", make_config(query_sequences=10)).config["query_length"] == 3


@pytest.mark.parametrize("name", ["standard+mixed+3", "repeat+mixed+3", "rounds+3", "head+3"])
def test_an_attack_may_have_a_length_of_its_own_within_the_same_budget(make_config, name):
    config = make_config(query_sequences=30, query_length=6, served_k=10, attacker_head_k=4, attacker_rounds=2)
    attacker, box = create_attacker(name, config), BlackBox(RuleService(), budget=query_budget(config))
    log = attacker.query(box, torch.Generator().manual_seed(3))
    assert attacker.strategy_name == ("mixed" if "mixed" in name else "autoregressive")
    assert log.sequences.shape[1] == 3
    assert box.lists_returned == 180
    assert (query_length(config), query_budget(attacker.config)) == (6, 180)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("standard+mixed+0", r"attacker: standard\+mixed\+0: sequences have 1 to 6 items, half the budget of lists"),
        ("standard+7", "sequences have 1 to 6 items"),
        ("standard+10+mixed", "unknown query strategy '10.mixed'"),
        ("standard+mixed+3+3", "unknown query strategy 'mixed.3'"),
    ],
)
def test_a_length_that_cannot_be_is_refused(make_config, name, message):
    with pytest.raises(UserError, match=message):
        create_attacker(name, make_config(query_sequences=3, query_length=4))


@pytest.mark.parametrize("name", ["standard", "head", "repeat", "filtered"])
def test_attackers_without_auxiliary_share_get_no_data(make_config, name):
    assert create_attacker(name, make_config()).auxiliary_share == 0
    assert Attacker.auxiliary_share == 0


def test_the_error_for_an_unknown_attacker_names_the_registered_ones(make_config):
    with pytest.raises(
        UserError, match=r"unknown attacker 'haed'.*'head'.*few_shot, filtered, head, oracle, repeat, rounds, standard"
    ):
        create_attacker("haed", make_config())


def test_a_training_log_may_be_changed_in_place(make_config):
    class Own(Attacker):
        def training_log(self, log):
            log.lists[:, :, 2:] = 0
            return log

    log = Attacker(make_config(query_sequences=4, query_length=3)).query(
        BlackBox(RuleService()), torch.Generator().manual_seed(1)
    )
    before = log.copy()
    Own(make_config(query_sequences=4, query_length=3, surrogate_epochs=1)).train_surrogate(log, 31)
    assert torch.equal(log.lists, before.lists)


def test_a_name_is_registered_once():
    with pytest.raises(ValueError, match="'standard' is registered already"):
        register_attacker("standard")(Attacker)


def test_an_unknown_query_strategy_is_refused_before_querying(make_config):
    with pytest.raises(UserError, match="unknown query strategy 'randon'"):
        create_attacker("standard", make_config(query_strategy="randon"))
