"""Models with users: lists for an anonymous user."""

import pytest
import torch
from recbole.data.interaction import Interaction
from recbole.data.transform import InverseItemSequence
from scoring.cases import random_sequences

from recbole_gro import Service, create_defense, create_scorer, create_surrogate
from recbole_gro.scoring import AnonymousUserScorer


def make_tail_config():
    return {"served_k": 10, "head_k": 4, "defense_key": "seed", "seed": 1}


class AnonymousUserCases:
    """The suite of the scorer of a model with users; a subclass names the model."""

    model_name: str
    settings: dict = {}

    @pytest.fixture
    def model(self, make_model):
        return make_model(self.model_name, embedding_size=16, **self.settings)

    @pytest.fixture
    def scorer(self, model):
        return create_scorer(model)

    @pytest.fixture
    def batch(self, make_loaders):
        return next(iter(make_loaders(self.model_name, embedding_size=16, **self.settings)[1]))

    def own_scores(self, model, sequences, lengths, user):
        users = torch.full_like(lengths, user)
        query = Interaction({"user_id": users, "item_id_list": sequences, "item_length": lengths})
        return model.full_sort_predict(query).view(-1, model.n_items)

    def test_scores_are_those_of_the_average_user(self, model, scorer):
        assert isinstance(scorer, AnonymousUserScorer)
        sequences, lengths = random_sequences([1, 4, 8], model.n_items)
        scores = scorer.next_item_scores(sequences, lengths)
        with torch.no_grad():
            scorer.users.weight[1] = scorer.users.weight[1:].mean(0)
        assert torch.allclose(scores, self.own_scores(model, sequences, lengths, user=1), rtol=1e-4, atol=1e-4)

    def test_position_scores_do_not_depend_on_the_user(self, scorer, batch):
        before = scorer.position_scores(batch)
        batch.update(Interaction({"user_id": batch["user_id"].flip(0)}))
        assert torch.equal(before, scorer.position_scores(batch))

    def test_training_users_keep_their_own_loss(self, model, scorer, batch):
        loss, scores = scorer.loss_and_scores(batch)
        assert scores.shape == (len(batch), model.n_items)
        assert torch.equal(scores, scorer.position_scores(batch))
        assert torch.allclose(loss, model.calculate_loss(batch), rtol=1e-4)

    def test_all_users_have_the_same_gradient(self, scorer, batch):
        scorer.position_scores(batch).square().sum().backward()
        gradient = scorer.users.weight.grad
        assert gradient[1:].abs().sum() > 0
        assert torch.allclose(gradient[1:], gradient[1:2].expand_as(gradient[1:]))
        assert torch.isfinite(
            torch.cat([p.grad.flatten() for p in scorer.model.parameters() if p.grad is not None])
        ).all()

    def test_scores_do_not_depend_on_padding_and_other_rows(self, scorer):
        sequences, lengths = random_sequences([1, 3, 8], scorer.n_items)
        together = scorer.next_item_scores(sequences, lengths)
        alone = [scorer.next_item_scores(sequences[i : i + 1, :n], lengths[i : i + 1]) for i, n in enumerate([1, 3, 8])]
        assert torch.allclose(together, torch.cat(alone), rtol=1e-4, atol=1e-4)

    def test_prefixes_score_as_sequences_of_their_own(self, scorer):
        sequences, _ = random_sequences([5, 5], scorer.n_items, width=5)
        scores = scorer.prefix_scores(sequences, torch.tensor([[1, 4], [2, 5]]))
        alone = [
            scorer.next_item_scores(sequences[s : s + 1, :t], torch.tensor([t]))
            for s, t in [(0, 1), (0, 4), (1, 2), (1, 5)]
        ]
        assert torch.allclose(scores, torch.cat(alone), rtol=1e-4, atol=1e-4)

    def test_scores_depend_on_the_items_that_it_reads_alone(self, scorer):
        sequences, lengths = random_sequences([8] * 20, scorer.n_items)
        older, oldest, place = sequences.clone(), sequences.clone(), 8 - scorer.reads
        older[:, :place] = sequences[:, :place] % 30 + 1
        oldest[:, place] = sequences[:, place] % 30 + 1
        before, after, other = (scorer.next_item_scores(rows, lengths) for rows in (sequences, older, oldest))
        assert torch.allclose(before, after, rtol=1e-5, atol=1e-5)
        assert not torch.allclose(before, other, rtol=1e-3, atol=1e-3)

    def test_keyed_draws_are_those_of_what_it_reads(self, scorer):
        sequences, _ = random_sequences([8] * 20, scorer.n_items)
        sequences[:, 8 - scorer.reads :] = sequences[:1, 8 - scorer.reads :]
        defense = create_defense("tail_random", make_tail_config())
        lists = Service(scorer.model.eval(), 10, defense.answer).recommend(sequences)
        assert len(lists.unique(dim=0)) == (1 if scorer.reads < 8 else len(sequences.unique(dim=0)))

    def test_a_surrogate_has_the_anonymous_user_alone(self, make_config):
        config = make_config(self.model_name, embedding_size=16, **self.settings)
        surrogate, _ = create_surrogate(config, 31)
        scorer = create_scorer(surrogate.eval())
        assert len(scorer.users.weight) == 1
        assert torch.isfinite(scorer.next_item_scores(*random_sequences([1, 8], 31))).all()


class TestCaser(AnonymousUserCases):
    model_name = "Caser"
    settings = {"nv": 2, "nh": 2}


class TestHGN(AnonymousUserCases):
    model_name = "HGN"


class TestHRM(AnonymousUserCases):
    model_name = "HRM"


class TestHRMThatAverages(AnonymousUserCases):
    model_name = "HRM"
    settings = {"pooling_type_layer_1": "average"}


class TestNPE(AnonymousUserCases):
    model_name = "NPE"


class TestFOSSIL(AnonymousUserCases):
    model_name = "FOSSIL"


class TestFPMC(AnonymousUserCases):
    model_name = "FPMC"


class TestSHAN(AnonymousUserCases):
    model_name = "SHAN"

    def own_scores(self, model, sequences, lengths, user):
        """Return the scores of RecBole's full_sort_predict, for sequences padded on the left as in SHAN's training."""
        padded = InverseItemSequence(
            {"ITEM_ID_FIELD": "item_id", "LIST_SUFFIX": "_list", "ITEM_LIST_LENGTH_FIELD": "n"}
        )(None, Interaction({"item_id_list": sequences, "n": lengths}))
        return super().own_scores(model, padded["Inverse_item_id_list"], lengths, user)


class TestTransRec(AnonymousUserCases):
    model_name = "TransRec"

    def test_an_item_at_no_distance_has_a_gradient(self, scorer):
        model = scorer.model
        with torch.no_grad():
            scorer.users.weight.zero_()
            model.T.zero_()
        sequences, lengths = random_sequences([3], model.n_items)
        scores = scorer.next_item_scores(sequences, lengths)
        assert abs(float(scores[0, sequences[0, 2]] - model.bias.weight[sequences[0, 2]])) < 1e-3
        scores.sum().backward()
        assert torch.isfinite(model.item_embedding.weight.grad).all()
