"""Scorers against the models they read: a suite that every model's scorer passes, and the handling of sequences."""

import pytest
import torch
from recbole.data.interaction import Interaction
from recbole.model.sequential_recommender import BERT4Rec
from torch.nn import functional

from recbole_gro import create_scorer, register_scorer
from recbole_gro.scoring import MaskedScorer, NextItemScorer, TrimmedScorer, keep_recent, pad_sequences

LONGEST = 8  # MAX_ITEM_LIST_LENGTH of the tiny models


def random_sequences(lengths, n_items, width=LONGEST, seed=0):
    """[B, width] item ids padded right with 0, and [B] lengths."""
    lengths = torch.tensor(lengths)
    items = torch.randint(1, n_items, (len(lengths), width), generator=torch.Generator().manual_seed(seed))
    return items * (torch.arange(width) < lengths.unsqueeze(1)), lengths


class ScorerCases:
    """What holds for the scorer of any model; a subclass names the model."""

    model_name: str
    settings: dict = {}
    kind: type = NextItemScorer
    loss_is_cross_entropy = True
    lengths_alike: tuple[int, ...] = tuple(range(1, LONGEST + 1))  # where RecBole's full_sort_predict says the same

    @pytest.fixture
    def model(self, make_model):
        """The model, untouched by any scorer."""
        return make_model(self.model_name, **self.settings)

    @pytest.fixture
    def scorer(self, make_model):
        return create_scorer(make_model(self.model_name, **self.settings))

    @pytest.fixture
    def train(self, make_loaders):
        return make_loaders(self.model_name, **self.settings)[1]

    @pytest.fixture
    def batch(self, train):
        return next(iter(train))

    def targets(self, batch):
        """[N] the item to predict at each training position."""
        return batch["item_id"]

    def test_the_right_scorer_is_made(self, scorer):
        assert type(scorer) is self.kind

    def test_loss_is_the_models_own(self, model, scorer, batch):
        assert torch.allclose(scorer.loss(batch), model.calculate_loss(batch), rtol=1e-4)

    def test_loss_and_scores_belong_together(self, model, scorer, batch):
        loss, scores = scorer.loss_and_scores(batch)
        assert scores.shape == (len(self.targets(batch)), scorer.n_items)
        assert torch.allclose(loss, model.calculate_loss(batch), rtol=1e-4)
        assert torch.allclose(scores, scorer.position_scores(batch), atol=1e-5)
        if self.loss_is_cross_entropy:
            assert torch.allclose(loss, functional.cross_entropy(scores, self.targets(batch)), rtol=1e-4)

    def test_loss_and_scores_belong_together_under_dropout(self, make_model, batch):
        model = make_model(self.model_name, **self.settings)
        scorer = create_scorer(model)
        model.train()
        scorer.loss_and_scores(batch)
        assert model.training
        loss, scores = scorer.loss_and_scores(batch)
        assert not torch.equal(scores, scorer.position_scores(batch)) or not any(
            isinstance(module, torch.nn.Dropout) and module.p for module in model.modules()
        )
        if self.loss_is_cross_entropy:
            assert torch.allclose(loss, functional.cross_entropy(scores, self.targets(batch)), rtol=1e-4)

    def test_gradients_are_those_of_the_models_own_loss(self, model, scorer, batch):
        model.calculate_loss(batch).backward()
        scorer.loss_and_scores(batch)[0].backward()
        theirs = dict(model.named_parameters())
        for name, weights in scorer.model.named_parameters():
            own = theirs[name].grad
            if own is None:
                assert weights.grad is None or not weights.grad.any(), name
            else:
                assert torch.allclose(weights.grad, own, rtol=1e-3, atol=1e-5), name

    def test_position_scores_teach_the_model(self, scorer, batch):
        scorer.position_scores(batch).square().sum().backward()
        assert scorer.model.item_embedding.weight.grad.abs().sum() > 0

    def test_contexts_are_what_came_before_each_target(self, scorer, train, batch):
        contexts, lengths = scorer.contexts(batch)
        items = train._dataset.history["item_id"].tolist()
        users = train._dataset.history["user_id"].tolist()
        targets = self.targets(batch).tolist()
        assert len(contexts) == len(lengths) == len(targets)
        assert lengths.min() >= 1
        runs = {
            (tuple(items[start : end + 1]), users[start])
            for end in range(len(items))
            for start in range(max(0, end - LONGEST), end)
            if users[start] == users[end]
        }
        for user, context, length, target in zip(
            self.users(scorer, batch), contexts.tolist(), lengths.tolist(), targets, strict=True
        ):
            assert ((*context[:length], target), user) in runs
            assert not any(context[length:])

    def users(self, scorer, batch):
        return batch["user_id"].tolist()

    def test_next_item_scores_are_the_models_own(self, model, scorer):
        lengths = list(self.lengths_alike)
        sequences, lengths = random_sequences(lengths, model.n_items)
        theirs = model.full_sort_predict(Interaction({"item_id_list": sequences, "item_length": lengths}))
        ours = scorer.next_item_scores(sequences, lengths)
        assert ours.shape == (len(sequences), model.n_items)
        assert torch.allclose(ours, theirs.view(-1, model.n_items), rtol=1e-4, atol=1e-4)

    def test_scores_do_not_depend_on_the_rows_beside_them(self, scorer):
        sequences, lengths = random_sequences([1, 8, 3, 5, 2], scorer.n_items)
        together = scorer.next_item_scores(sequences, lengths)
        for row in range(5):
            alone = scorer.next_item_scores(sequences[row : row + 1], lengths[row : row + 1])
            assert torch.allclose(alone[0], together[row], rtol=1e-4, atol=1e-4)

    @pytest.mark.parametrize("width", [4, 8, 13])
    def test_scores_do_not_depend_on_padding(self, scorer, width):
        sequences, lengths = random_sequences([1, 3, 4], scorer.n_items, width=4)
        padded = functional.pad(sequences, (0, width - 4))
        bare = scorer.next_item_scores(sequences, lengths)
        assert torch.allclose(bare, scorer.next_item_scores(padded, lengths), rtol=1e-4, atol=1e-4)

    def test_a_query_of_one_item_is_answered_by_that_item(self, scorer):
        items = torch.arange(1, scorer.n_items).unsqueeze(1)
        scores = scorer.next_item_scores(items, torch.ones(len(items), dtype=torch.long))
        assert len(torch.unique(scores.topk(5).indices, dim=0)) > 1
        assert (scores[1:] - scores[:1]).abs().max(1).values.min() > 1e-3

    def test_the_order_of_a_full_sequence_counts_to_its_oldest_known_item(self, scorer):
        sequences, lengths = random_sequences([LONGEST - 1], scorer.n_items)
        other = sequences.clone()
        other[0, 0] = other[0, 0] % (scorer.n_items - 1) + 1
        change = scorer.next_item_scores(other, lengths) - scorer.next_item_scores(sequences, lengths)
        assert change.abs().max() > 1e-6

    def test_long_sequences_keep_their_most_recent_items(self, scorer):
        sequences, lengths = random_sequences([13, 9, 4], scorer.n_items, width=13)
        scores = scorer.next_item_scores(sequences, lengths)
        recent = [row[:length][-LONGEST:] for row, length in zip(sequences, lengths, strict=True)]
        assert torch.allclose(scores, scorer.next_item_scores(*pad_sequences(recent)), rtol=1e-4, atol=1e-4)

    def test_next_item_scores_teach_the_model(self, scorer):
        sequences, lengths = random_sequences([1, 8, 3], scorer.n_items)
        scorer.next_item_scores(sequences, lengths).square().sum().backward()
        gradient = scorer.model.item_embedding.weight.grad
        assert gradient[sequences[sequences > 0]].abs().sum(1).min() > 0

    def test_asking_changes_no_argument(self, scorer):
        sequences, lengths = random_sequences([1, 8, 3], scorer.n_items)
        before = sequences.clone(), lengths.clone()
        scorer.next_item_scores(sequences, lengths)
        assert torch.equal(sequences, before[0])
        assert torch.equal(lengths, before[1])


class TestNARM(ScorerCases):
    model_name = "NARM"
    kind = TrimmedScorer


class TestGRU4Rec(ScorerCases):
    model_name = "GRU4Rec"
    kind = TrimmedScorer


class TestSASRec(ScorerCases):
    model_name = "SASRec"
    kind = TrimmedScorer


class TestPairwiseGRU4Rec(ScorerCases):
    model_name = "GRU4Rec"
    kind = TrimmedScorer
    settings = {"loss_type": "BPR", "train_neg_sample_args": {"distribution": "uniform"}}
    loss_is_cross_entropy = False


class TestPairwiseSASRec(ScorerCases):
    model_name = "SASRec"
    kind = TrimmedScorer
    settings = {"loss_type": "BPR", "train_neg_sample_args": {"distribution": "uniform"}}
    loss_is_cross_entropy = False


class TestSTAMP(ScorerCases):
    """One of the models that the default scorer serves."""

    model_name = "STAMP"
    settings = {"embedding_size": 16}


class TestNextItNet(ScorerCases):
    """Its cross-entropy comes with a penalty on its embeddings: no loss to be had from the scores alone."""

    model_name = "NextItNet"
    settings = {"embedding_size": 16, "block_num": 1, "dilations": [1, 2], "reg_weight": 0.1}
    loss_is_cross_entropy = False


class TestBERT4Rec(ScorerCases):
    model_name = "BERT4Rec"
    kind = MaskedScorer
    settings = {"window_shift": 0.0}
    lengths_alike = (LONGEST,)  # RecBole drops the oldest item of every sequence, here only of a full one

    def targets(self, batch):
        return batch["Pos_item_id"][batch["MASK_INDEX"] > 0]

    def users(self, scorer, batch):
        return [
            user
            for user, index in zip(batch["user_id"].tolist(), batch["MASK_INDEX"], strict=True)
            for _ in range(int((index > 0).sum()))
        ]

    def test_a_sequence_that_leaves_room_for_the_mask_loses_no_item(self, model, scorer):
        sequences, lengths = random_sequences([1, 3, LONGEST - 1], model.n_items)
        masked = sequences.scatter(1, lengths.unsqueeze(1), model.mask_token)
        hidden = model(masked)[torch.arange(3), lengths]
        expected = hidden @ model.item_embedding.weight[: model.n_items].T + model.output_bias
        assert torch.allclose(scorer.next_item_scores(sequences, lengths), expected, rtol=1e-4, atol=1e-4)

    def test_filler_of_the_mask_index_is_no_training_position(self, scorer, batch):
        n = int((batch["Mask_item_id_list"] == scorer.n_items).sum())
        assert scorer.position_scores(batch).shape == (n, scorer.n_items)
        assert (batch["MASK_INDEX"] == 0).any()


class TestPairwiseBERT4Rec(TestBERT4Rec):
    settings = {"window_shift": 0.0, "loss_type": "BPR"}
    loss_is_cross_entropy = False


class TestBERT4RecOnRecBolesMasks(TestBERT4Rec):
    settings = {"train_rows": "prefixes", "ft_ratio": 0.0, "mask_ratio": 0.5}

    def test_filler_of_the_mask_index_is_no_training_position(self, scorer, batch):
        # RecBole masks first places too and can not tell them from filler
        assert len(scorer.position_scores(batch)) == int((batch["MASK_INDEX"] > 0).sum())


# which scorer a model gets


def test_a_class_of_ones_own_gets_the_scorer_of_what_it_derives_from(make_model):
    model = make_model("BERT4Rec")

    class Mine(BERT4Rec):
        pass

    model.__class__ = Mine
    assert type(create_scorer(model)) is MaskedScorer


def test_a_scorer_can_be_registered_for_a_class_of_ones_own(make_model):
    model = make_model("NARM")

    @register_scorer("NarmThatCountsItsQuestions")
    class Counting(TrimmedScorer):
        pass

    model.__class__ = type("NarmThatCountsItsQuestions", (type(model),), {})
    assert type(create_scorer(model)) is Counting
    with pytest.raises(ValueError, match="scorer 'NARM' is registered already"):
        register_scorer("NARM")(Counting)


# sequences


@pytest.mark.parametrize("longest", [1, 2, 5])
def test_keep_recent_cuts_from_the_left_and_pads_on_the_right(longest):
    rows = [[1], [1, 2], [1, 2, 3], [1, 2, 3, 4, 5]]
    sequences, lengths = pad_sequences(rows)
    kept, kept_lengths = keep_recent(sequences, lengths, longest, width=6)
    for row, ids, length in zip(rows, kept.tolist(), kept_lengths.tolist(), strict=True):
        assert length == min(len(row), longest)
        assert ids == row[-longest:] + [0] * (6 - length)


def test_lists_and_tensors_of_ids_are_read_alike():
    ids, lengths = pad_sequences([[3, 1, 2], [5], [4, 4]])
    assert ids.tolist() == [[3, 1, 2], [5, 0, 0], [4, 4, 0]]
    assert lengths.tolist() == [3, 1, 2]
    again, same_lengths = pad_sequences(ids)
    assert torch.equal(again, ids)
    assert torch.equal(same_lengths, lengths)


@pytest.mark.parametrize(
    ("sequences", "reason"),
    [
        ([[1, 2], []], "an empty sequence has no next item"),
        (torch.tensor([[1, 2], [0, 0]]), "an empty sequence has no next item"),
        ([[0, 1]], "padded on the right"),
        (torch.tensor([[1, 2], [0, 3]]), "padded on the right"),
        ([[1, 0, 2]], "padded on the right"),
        ([], "at least one"),
        (torch.zeros(0, 4, dtype=torch.long), "at least one"),
        ([1, 2], "a list of id lists"),
        (torch.tensor([1, 2]), "a list of id lists"),
    ],
)
def test_sequences_without_a_next_item_are_refused(sequences, reason):
    with pytest.raises(ValueError, match=reason):
        pad_sequences(sequences)
