import numpy as np
import pytest
import torch
from recbole.model.sequential_recommender import GRU4Rec

from recbole_gro import Defense, UserError, register_defense
from recbole_gro.defense import create_defense
from recbole_gro.quick_start.repeatable import check_repeatable


class Shuffled(Defense):
    """Shuffles lists by its own generator, whose state it returns or not, torch's or an unseeded one."""

    training_settings, output_settings = (), ()
    kind = "state"

    def __init__(self, config):
        super().__init__(config)
        self.own = torch.Generator().manual_seed(1)

    def shown(self, ranked):
        if self.kind == "numpy":
            draws = torch.from_numpy(np.random.default_rng().random(ranked.shape))
        else:
            draws = torch.rand(ranked.shape, generator=None if self.kind == "torch" else self.own)
        return ranked.gather(1, draws.argsort(1))

    def state_dict(self):
        return {"own": self.own.get_state()} if self.kind == "state" else {}

    def load_state_dict(self, state):
        if state:
            self.own.set_state(state["own"])


@pytest.mark.parametrize(("kind", "repeats"), [("state", True), ("torch", True), ("none", False), ("numpy", False)])
def test_draws_of_a_defense_that_its_state_does_not_hold_are_refused(make_config, make_model, own_parts, kind, repeats):
    register_defense("shuffled")(type("OfUser", (Shuffled,), {"kind": kind}))
    config, model = make_config("GRU4Rec", head_k=2), make_model("GRU4Rec")
    defenses = {name: create_defense(name, config) for name in ("none", "tail_shuffle", "shuffled+truncate")}
    before = torch.get_rng_state()
    if repeats:
        check_repeatable(model, 5, defenses)
    else:
        with pytest.raises(UserError, match=r"^defense: shuffled\+truncate gives an equal query different lists after"):
            check_repeatable(model, 5, defenses)
    assert torch.equal(torch.get_rng_state(), before)


def test_a_state_of_a_defense_that_cannot_be_saved_is_refused(make_config, make_model, own_parts):
    methods = {"kind": "state", "state_dict": lambda self: {"own": self.own.get_state(), "shown": np.float64(1)}}
    register_defense("shuffled")(type("OfUser", (Shuffled,), methods))
    config, name = make_config("GRU4Rec", head_k=2), "shuffled+truncate"
    with pytest.raises(UserError, match=r"^defense: shuffled\+truncate: state_dict holds other than plain values and"):
        check_repeatable(make_model("GRU4Rec"), 5, {name: create_defense(name, config)})


class Noisy(GRU4Rec):
    """Adds unseeded noise to its scores."""

    def full_sort_predict(self, interaction):
        scores = super().full_sort_predict(interaction)
        return scores + torch.from_numpy(np.random.default_rng().random(scores.shape)).float()


def test_a_model_that_scores_equal_histories_differently_is_refused(make_loaders):
    config, train, *_ = make_loaders("GRU4Rec")
    with pytest.raises(UserError, match=r"^model: Noisy gives equal histories different scores"):
        check_repeatable(Noisy(config, train._dataset), 10, {})


class Centred(GRU4Rec):
    """Scores depend on what else is in the batch."""

    def full_sort_predict(self, interaction):
        scores = super().full_sort_predict(interaction)
        return scores - scores.mean(0)


def test_a_model_whose_scores_depend_on_the_other_rows_is_refused(make_loaders):
    config, train, *_ = make_loaders("GRU4Rec")
    with pytest.raises(UserError, match=r"^model: Centred: scores depend on the other rows of a batch \(by up to"):
        check_repeatable(Centred(config, train._dataset), 10, {})
