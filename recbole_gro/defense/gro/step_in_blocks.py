"""The step of GRO over a large catalogue on a CPU, in blocks of training positions, without tables of all scores."""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from recbole.data.interaction import Interaction
from torch import Tensor

from recbole_gro.defense.gro.callback import GROCallback
from recbole_gro.defense.gro.swap_rules import PaperSwap
from recbole_gro.objective.extraction import extraction_loss, sample_negatives
from recbole_gro.objective.swap import best_and_worst, chosen_targets, swap_loss_of
from recbole_gro.scoring.causal import SLOTS
from recbole_gro.scoring.picked_scores import FEW, Product, ScoreRecorder, picked_by
from recbole_gro.scoring.score_blocks import CrossEntropy, blocks_are_faster, score_blocks
from recbole_gro.scoring.trimmed import TrimmedScorer
from recbole_gro.utils.ranking import top_k

if TYPE_CHECKING:
    from recbole_gro.defense.gro.trainer import GROTrainer


class Seen(NamedTuple):
    """What Eq. 6 reads of the scores of N positions.

    Attributes:
        served: [N, k] lists of the target.
        negatives: [N, k] items outside them.
        listed: [N, k] the target's scores of the lists.
        by_student: [N, 2 k] the student's scores of lists and negatives.
        items: [N, 2] the student's best and worst item.
        raised: [N, 2] the target's scores of these.
    """

    served: Tensor
    negatives: Tensor
    listed: Tensor
    by_student: Tensor
    items: Tensor
    raised: Tensor


class StepInBlocks:
    """Compute the three terms of Eq. 6 as `GROTrainer.stage_loss` does, where all scores are plain products.

    Lists, negatives, swap targets and the gradient of the target's cross-entropy are computed for a block of positions
    while its scores are in the cache. The rest reads the scores of few items.

    For Eq. 6 of the paper in one process, with models of RecBole's that multiply outputs by all embeddings, and rows
    that each model reads at once: whole sequences, or masked ones.

    Args:
        trainer: whose models, settings and generator are used.
        overridable: methods of the base trainer that read all scores; a subclass with others takes no blocks.
    """

    def __init__(self, trainer: "GROTrainer", overridable: Sequence[Callable[..., Any]]):
        self.trainer, self.overridable = trainer, overridable
        self._are_products: bool | None = None  # whether models of this kind score by products; before a batch, unknown

    def losses(self, interaction: Interaction) -> tuple[Tensor, Tensor, Tensor] | None:
        """Return the three terms for a training batch, or None where they need all scores.

        Whether they do depends on nothing but the models, the settings and the batch, so that a resumed run has the
        same steps. Random draws are those of `stage_loss`; where None is returned, none was made.
        """
        trainer = self.trainer
        if not self._possible() or self._in_groups(interaction):
            return None
        if trainer.batch_part is not None or not trainer.scorer.positions_of_rows(interaction).any():
            return None
        if self._are_products is None:
            self._are_products = self._scores_are_products(interaction)
        if not self._are_products:
            return None
        state = torch.get_rng_state()
        target, student = self._products(interaction, computed=False)
        if target is None or student is None:
            torch.set_rng_state(state)
            return None
        return self._terms(target, student, trainer.scorer.positives(interaction))

    def _possible(self) -> bool:
        """Return whether catalogue, device, models and settings allow blocks."""
        trainer, rule = self.trainer, self.trainer.swap_rule
        n_items = trainer.scorer.n_items
        return (
            blocks_are_faster(n_items, trainer.device)
            and FEW * 2 * trainer.served_k <= n_items
            and type(rule) is PaperSwap
            and rule.left_out is None
            and not (trainer.paper_code_ties or rule.paper_code_ties)
            and all(getattr(type(trainer), method.__name__) is method for method in self.overridable)
            and not (trainer.scorer.has_own_code or trainer.student_scorer.has_own_code)
            and all(type(callback).target_loss is GROCallback.target_loss for callback in trainer.callbacks)
        )

    def _in_groups(self, interaction: Interaction) -> bool:
        """Return whether a model reads rows of similar length together, each group with a product of its own."""
        trainer, whole = self.trainer, SLOTS in interaction
        if isinstance(trainer.scorer, TrimmedScorer) and not whole:
            return True
        student = trainer.student_scorer
        reads_prefixes = type(student) is not type(trainer.scorer) and not (whole and student.all_prefixes_at_once)
        return isinstance(student, TrimmedScorer) and reads_prefixes

    def _scores_are_products(self, interaction: Interaction) -> bool:
        """Return whether the target's loss is cross-entropy, and the scores of both models are plain products."""
        if not self.trainer.scorer.loss_is_cross_entropy(interaction):
            return False
        with torch.no_grad(), torch.random.fork_rng(devices=()):
            return None not in self._products(interaction, computed=True)

    def _products(self, interaction: Interaction, computed: bool) -> list[Product | None]:
        """Return the operands of the target's and of the student's scores at a batch's training positions."""
        trainer, found = self.trainer, list[Product | None]()
        for scores_of in (trainer.scorer.position_scores, trainer._student_scores):
            with ScoreRecorder(trainer.scorer.n_items, trainer.device, computed) as recorder:
                scores = scores_of(interaction)
            found.append(recorder.product(scores))
        return found

    def _terms(self, target: Product, student: Product, positives: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        trainer = self.trainer
        cross_entropy, blocks = CrossEntropy(target, positives), []
        for rows, (target_scores, student_scores) in score_blocks(target, student):
            blocks.append(self._seen(target_scores, student_scores))
            cross_entropy.add(rows, target_scores)
        seen = Seen(*map(torch.cat, zip(*blocks, strict=True)))
        by_student = picked_by(student, torch.cat([seen.served, seen.negatives], 1), seen.by_student)
        listed, outside = by_student.chunk(2, 1)
        student_loss = extraction_loss(listed, outside, *trainer.margins)
        (gradient,) = torch.autograd.grad(student_loss, listed, retain_graph=True)
        swapped, raised = (
            chosen_targets(two[:, :1], two[:, 1:], unmoved, gradient)
            for two, unmoved in ((seen.items, seen.served), (seen.raised, seen.listed))
        )
        both = picked_by(target, torch.cat([seen.served, swapped], 1), torch.cat([seen.listed, raised], 1))
        swap = swap_loss_of(both, trainer.swap_rule.margin)
        return cross_entropy.mean(), student_loss, trainer.gro_lambda * swap

    @torch.no_grad()
    def _seen(self, target_scores: Tensor, student_scores: Tensor) -> Seen:
        """Return what is read of the scores [n, n_items] of a block."""
        served = top_k(target_scores, self.trainer.served_k)
        negatives = sample_negatives(served, target_scores.shape[1], self.trainer.generator)
        by_student = student_scores.gather(1, torch.cat([served, negatives], 1))
        items = torch.cat(best_and_worst(student_scores), 1)
        return Seen(
            served, negatives, target_scores.gather(1, served), by_student, items, target_scores.gather(1, items)
        )
