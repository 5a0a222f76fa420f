"""The suite of scorers: every scorer against its model."""

import pytest
import torch
from recbole.data.interaction import Interaction
from torch.nn import functional

from recbole_gro import create_scorer
from recbole_gro.scoring import NextItemScorer, packing, pad_sequences, score_blocks
from recbole_gro.scoring import sequences as grouping
from recbole_gro.scoring.causal import NEXT_ITEMS, SLOTS
from recbole_gro.scoring.picked_scores import PickedScores
from recbole_gro.utils.patching import replaced

LONGEST = 8  # MAX_ITEM_LIST_LENGTH of the tiny models


def random_sequences(lengths, n_items, width=LONGEST, seed=0):
    """Return item ids [B, width] padded right with 0, and lengths [B]."""
    lengths = torch.tensor(lengths)
    items = torch.randint(1, n_items, (len(lengths), width), generator=torch.Generator().manual_seed(seed))
    return items * (torch.arange(width) < lengths.unsqueeze(1)), lengths


def attributes_of(model):
    """Return the attributes of each part of a model by name, with the values of its modes and functions."""
    return [
        {name: value if callable(value) or isinstance(value, bool) else None for name, value in vars(part).items()}
        for part in model.modules()
    ]


def record_reads(gru, monkeypatch):
    """Return a list that gets the shape [rows, items] of every input that a GRU reads."""
    shapes, forward = [], gru.forward

    def recorded(items, state=None):
        shapes.append(tuple(items.shape[:2]))
        return forward(items, state)

    monkeypatch.setattr(gru, "forward", recorded)
    return shapes


class ScorerCases:
    """The suite of a scorer; a subclass names the model."""

    model_name: str
    settings: dict = {}
    kind: type = NextItemScorer
    loss_is_cross_entropy = True
    lengths_alike: tuple[int, ...] = tuple(range(1, LONGEST + 1))  # where RecBole's full_sort_predict agrees

    @pytest.fixture
    def model(self, make_model):
        """Return the model, not used by any scorer."""
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

    def own_loss(self, model, batch):
        """Return the model's loss [], computed without a scorer."""
        return model.calculate_loss(batch)

    def own_scores(self, model, query):
        """Return the model's scores [B, n_items] for a query of item_id_list and item_length, without a scorer."""
        return model.full_sort_predict(Interaction(query)).view(-1, model.n_items)

    def items_of(self, scorer):
        """Return the model's embedding of items."""
        return scorer.model.item_embedding

    def targets(self, batch):
        """Return the item to predict at each training position, [N]."""
        return batch["item_id"]

    def test_the_scorer_of_the_model_is_created(self, scorer):
        assert type(scorer) is self.kind

    def test_loss_is_the_models_own(self, model, scorer, batch):
        assert torch.allclose(scorer.loss(batch), self.own_loss(model, batch), rtol=1e-4)

    def test_loss_in_blocks_is_the_models_own(self, model, scorer, batch):
        with replaced(score_blocks, "LARGE", 1), replaced(score_blocks, "AT_ONCE", 3):
            loss = scorer.loss(batch)
        expected = self.own_loss(model, batch)
        assert torch.allclose(loss, expected, rtol=1e-4)
        ours, theirs = (
            torch.autograd.grad(value, [*owner.parameters()], allow_unused=True)
            for value, owner in ((loss, scorer.model), (expected, model))
        )
        for one, other in zip(ours, theirs, strict=True):
            zero = torch.zeros(())
            assert torch.allclose(zero if one is None else one, zero if other is None else other, atol=1e-4)

    def test_loss_and_scores_belong_together(self, model, scorer, batch):
        loss, scores = scorer.loss_and_scores(batch)
        assert scores.shape == (len(self.targets(batch)), scorer.n_items)
        assert torch.allclose(loss, self.own_loss(model, batch), rtol=1e-4)
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

    def test_scores_of_a_few_items_are_those_of_all_items(self, scorer, batch):
        scorer.model.eval()
        prefixes = random_sequences([3, 5, 8, 8], scorer.n_items)
        for score in (lambda: scorer.position_scores(batch), lambda: scorer.next_item_scores(*prefixes)):
            n = len(score())
            items = torch.randint(1, scorer.n_items, (n, 2), generator=torch.Generator().manual_seed(2))
            picked_scores = PickedScores(scorer.n_items, torch.device("cpu"))
            for _ in range(2):
                picked, expected = picked_scores(score, items), score().gather(1, items)
                assert torch.allclose(picked, expected, atol=1e-5)
                ours, theirs = (self._gradients(scores, scorer.model) for scores in (picked, expected))
                assert all(torch.allclose(one, other, atol=1e-4) for one, other in zip(ours, theirs, strict=True))

    def _gradients(self, scores, model):
        """Return the gradients of a function of scores with respect to a model's parameters."""
        given = [part for part in model.parameters() if part.requires_grad]
        found = torch.autograd.grad(scores.sin().sum(), given, allow_unused=True)
        return [torch.zeros_like(part) if one is None else one for part, one in zip(given, found, strict=True)]

    def test_left_out_items_are_no_negatives_of_the_others(self, scorer, batch):
        targets = self.targets(batch)
        left_out = torch.zeros(scorer.n_items, dtype=torch.bool)
        left_out[targets[0]] = left_out[1] = True
        scorer.model.eval()
        loss, scores = scorer.loss_and_scores(batch, left_out)
        if not self.loss_is_cross_entropy:
            assert torch.allclose(loss, scorer.loss_and_scores(batch)[0])
            return
        losses = []
        for row, target in zip(scores, targets.tolist(), strict=True):
            candidates = (
                row[~left_out] if not left_out[target] else torch.cat([row[~left_out], row[target : target + 1]])
            )
            losses.append(candidates.logsumexp(0) - row[target])
        assert torch.allclose(loss, torch.stack(losses).mean(), rtol=1e-4)

    def test_gradients_are_those_of_the_models_own_loss(self, model, scorer, batch):
        self.own_loss(model, batch).backward()
        scorer.loss_and_scores(batch)[0].backward()
        parameters = dict(model.named_parameters())
        for name, weights in scorer.model.named_parameters():
            own = parameters[name].grad
            if own is None:
                assert weights.grad is None or not weights.grad.any(), name
            else:
                assert torch.allclose(weights.grad, own, rtol=1e-3, atol=1e-5), name

    def test_position_scores_have_gradients(self, scorer, batch):
        scorer.position_scores(batch).square().sum().backward()
        assert self.items_of(scorer).weight.grad.abs().sum() > 0

    def test_contexts_are_the_items_before_each_target(self, scorer, train, batch):
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
        own = self.own_scores(model, {"item_id_list": sequences, "item_length": lengths})
        scores = scorer.next_item_scores(sequences, lengths)
        assert scores.shape == (len(sequences), model.n_items)
        assert torch.allclose(scores, own, rtol=1e-4, atol=1e-4)

    def test_evaluation_scores_are_those_of_full_sort_predict(self, make_loaders, model, scorer):
        _, _, _, test = make_loaders(self.model_name, **self.settings)
        rows = next(iter(test))[0]
        own = model.full_sort_predict(rows).view(-1, model.n_items)
        assert len({*rows["item_length"].tolist()}) > 1
        found = scorer.evaluation_scores(rows).view(-1, model.n_items)
        assert torch.allclose(found, own, rtol=1e-4, atol=1e-4)

    def test_scores_do_not_depend_on_the_other_rows(self, scorer):
        sequences, lengths = random_sequences([1, 8, 3, 5, 2], scorer.n_items)
        together = scorer.next_item_scores(sequences, lengths)
        for row in range(5):
            alone = scorer.next_item_scores(sequences[row : row + 1], lengths[row : row + 1])
            assert torch.allclose(alone[0], together[row], rtol=1e-4, atol=1e-4)

    @pytest.mark.parametrize("width", [4, 8, 13])
    def test_scores_do_not_depend_on_padding(self, scorer, width):
        sequences, lengths = random_sequences([1, 3, 4], scorer.n_items, width=4)
        padded = functional.pad(sequences, (0, width - 4))
        unpadded = scorer.next_item_scores(sequences, lengths)
        assert torch.allclose(unpadded, scorer.next_item_scores(padded, lengths), rtol=1e-4, atol=1e-4)

    def test_scores_of_one_item_depend_on_that_item(self, scorer):
        items = torch.arange(1, scorer.n_items).unsqueeze(1)
        scores = scorer.next_item_scores(items, torch.ones(len(items), dtype=torch.long))
        assert len(torch.unique(scores.topk(5).indices, dim=0)) > 1
        assert (scores[1:] - scores[:1]).abs().max(1).values.min() > 1e-3

    def test_scores_depend_on_the_oldest_item_that_is_read(self, scorer):
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

    def test_next_item_scores_have_gradients(self, scorer):
        sequences, lengths = random_sequences([1, 8, 3], scorer.n_items)
        scorer.next_item_scores(sequences, lengths).square().sum().backward()
        gradient = self.items_of(scorer).weight.grad
        assert gradient[sequences[sequences > 0]].abs().sum(1).min() > 0

    def test_scoring_changes_no_argument(self, scorer):
        sequences, lengths = random_sequences([1, 8, 3], scorer.n_items)
        before = sequences.clone(), lengths.clone()
        scorer.next_item_scores(sequences, lengths)
        assert torch.equal(sequences, before[0])
        assert torch.equal(lengths, before[1])

    def test_grouped_and_packed_rows_give_the_scores_of_padded_rows(self, scorer, batch, monkeypatch):
        sequences, lengths = random_sequences([3, 1, 8, 2, 8, 5, 1, 4, 7, 2, 6], scorer.n_items)
        results = []
        for rows, worth_it in ((10_000, 0), (2, 10)):
            monkeypatch.setattr(grouping, "ROWS_PER_GROUP", rows)
            monkeypatch.setattr(packing, "WORTH_IT", worth_it)
            scorer.model.zero_grad()
            loss, scores = scorer.loss_and_scores(batch)
            (loss + scorer.loss(batch)).backward()
            gradients = {name: weights.grad for name, weights in scorer.model.named_parameters()}
            results.append((loss, scores, scorer.next_item_scores(sequences, lengths), gradients))
        (loss, scores, after, gradients), (grouped_loss, grouped_scores, grouped_after, grouped_gradients) = results
        assert torch.allclose(loss, grouped_loss, rtol=1e-4)
        assert torch.allclose(scores, grouped_scores, atol=1e-5)
        assert torch.allclose(after, grouped_after, atol=1e-5)
        for name, gradient in gradients.items():
            if gradient is None:
                assert grouped_gradients[name] is None
            else:
                assert torch.allclose(gradient, grouped_gradients[name], rtol=1e-3, atol=1e-5), name

    @pytest.mark.parametrize("width", [1, 6, LONGEST, LONGEST + 5])
    def test_prefixes_score_as_sequences_of_their_own(self, scorer, width):
        sequences, _ = random_sequences([width] * 3, scorer.n_items, width=width)
        lengths = torch.randint(1, width + 1, (3, 4), generator=torch.Generator().manual_seed(1))
        scores = scorer.prefix_scores(sequences, lengths)
        assert scores.shape == (12, scorer.n_items)
        alone = [
            scorer.next_item_scores(sequence[:t].unsqueeze(0), torch.tensor([t]))
            for sequence, each in zip(sequences, lengths.tolist(), strict=True)
            for t in each
        ]
        assert torch.allclose(scores, torch.cat(alone), rtol=1e-4, atol=1e-5)

    def test_prefix_scores_have_the_gradients_of_sequences_of_their_own(self, scorer):
        sequences, _ = random_sequences([6] * 2, scorer.n_items, width=6)
        lengths, gradients = torch.tensor([[2, 6, 3], [1, 4, 2]]), []
        rows = sequences.repeat_interleave(3, 0) * (torch.arange(6) < lengths.flatten().unsqueeze(1))
        for score in (
            lambda: scorer.prefix_scores(sequences, lengths),
            lambda: scorer.next_item_scores(rows, lengths.flatten()),
        ):
            scorer.model.zero_grad()
            score().square().mean().backward()
            gradients.append(self.items_of(scorer).weight.grad)
        assert torch.allclose(*gradients, rtol=1e-3, atol=1e-6)

    def test_a_scorer_changes_neither_attributes_nor_modes_of_the_model(self, model, batch):
        model.train()
        next(iter(model.children())).eval()
        self.own_loss(model, batch)  # a model may store tensors of its last forward pass
        before = attributes_of(model)
        scorer = create_scorer(model)
        scorer.loss_and_scores(batch)
        scorer.loss(batch)
        sequences, lengths = random_sequences([4] * 3, scorer.n_items, width=4)
        scorer.next_item_scores(sequences, lengths)
        scorer.prefix_scores(sequences, torch.tensor([[1, 3]] * 3))
        assert attributes_of(model) == before

    def test_scoring_leaves_the_model_unchanged(self, scorer):
        sequences, lengths = random_sequences([4] * 3, scorer.n_items, width=4)
        before = scorer.next_item_scores(sequences, lengths)
        scorer.prefix_scores(sequences, torch.tensor([[1, 3]] * 3))
        assert torch.equal(scorer.next_item_scores(sequences, lengths), before)


class WholeSequenceCases(ScorerCases):
    """The suite on batches of whole sequences, whose positions are prefixes that the model reads one by one."""

    settings = {"train_rows": "sequences"}

    def own_loss(self, model, batch):
        width, losses = batch["item_id_list"].shape[1], []
        for slot, item in zip(batch[SLOTS].tolist(), batch[NEXT_ITEMS], strict=True):
            prefix = batch["item_id_list"][slot // width, : slot % width + 1]
            row = {"item_id_list": prefix, "item_length": torch.tensor(len(prefix)), "item_id": item}
            losses.append(model.calculate_loss(Interaction({name: field.unsqueeze(0) for name, field in row.items()})))
        return torch.stack(losses).mean()

    def targets(self, batch):
        return batch[NEXT_ITEMS]

    def users(self, scorer, batch):
        return batch["user_id"][batch[SLOTS] // batch["item_id_list"].shape[1]].tolist()

    def test_gradients_are_the_same_to_the_last_bit_on_two_threads(self, scorer):
        """Many prefixes read the same outputs, whose gradients are added up."""
        sequences, _ = random_sequences([LONGEST] * 3, scorer.n_items)
        lengths = torch.randint(1, LONGEST + 1, (3, 2400), generator=torch.Generator().manual_seed(3))
        scorer.model.eval()
        threads, found = torch.get_num_threads(), []
        try:
            torch.set_num_threads(2)
            for _ in range(5):
                found.append(self._gradients(scorer.prefix_scores(sequences, lengths), scorer.model))
        finally:
            torch.set_num_threads(threads)
        for again in found[1:]:
            assert all(torch.equal(one, other) for one, other in zip(found[0], again, strict=True))

    def test_scores_at_each_position_are_those_of_its_prefix(self, model, scorer, batch):
        sequences, lengths = scorer.contexts(batch)
        own = self.own_scores(model, {"item_id_list": sequences, "item_length": lengths})
        assert len(own) > len(batch["user_id"])
        assert torch.allclose(scorer.position_scores(batch), own, rtol=1e-4, atol=1e-5)
