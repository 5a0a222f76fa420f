"""Autoregressive out-of-distribution watermarks (Zhang et al., CIKM'24, arXiv 2407.21034), as a defense (`aow`)."""

from typing import Any

import torch
from recbole.data.interaction import Interaction
from torch import Tensor, nn
from torch.nn import functional

from recbole_gro.config.config_like import ConfigLike
from recbole_gro.config.models import copied_model
from recbole_gro.defense.base import register_defense
from recbole_gro.defense.defense_key import defense_key
from recbole_gro.defense.marks.base import MarkingDefense
from recbole_gro.defense.marks.marks import Marks, grow_marks, keyed_order
from recbole_gro.defense.marks.settings import AOWSettings
from recbole_gro.defense.settings import KeyedSettings
from recbole_gro.scoring import create_scorer
from recbole_gro.trainer.base import StageTrainer
from recbole_gro.utils.errors import UserError
from recbole_gro.utils.ranking import top_k


@torch.no_grad()
def autoregressive_marks(model: nn.Module, key: bytes, settings: AOWSettings) -> Marks:
    """Return keyed sequences whose next items the model ranks low.

    Args:
        model: the undefended target, in evaluation mode.
        key: of the owner.
        settings: number and length of the sequences, and how many lowest items are candidates.

    Raises:
        UserError: the catalogue has too few items.
    """
    scorer = create_scorer(model)
    n_candidates = min(settings.aow_lowest, scorer.n_items - settings.aow_length)
    if n_candidates < 2 or settings.aow_sequences >= scorer.n_items:
        raise UserError(
            f"aow_length: {settings.aow_length}, or aow_sequences={settings.aow_sequences}, is too much for a "
            f"catalogue of {scorer.n_items - 1} items; at most {scorer.n_items - 2} and {scorer.n_items - 1}"
        )
    device = next(model.parameters()).device

    def lowest(sequences: Tensor) -> Tensor:
        sequences = sequences.to(device)
        lengths = torch.full((len(sequences),), sequences.shape[1], device=device)
        scores = -scorer.next_item_scores(sequences, lengths)
        return top_k(scores.scatter(1, sequences, -torch.inf), n_candidates)

    starts = keyed_order(key, "aow start", list(range(1, scorer.n_items)))[: settings.aow_sequences]
    return grow_marks(key, "aow", starts, settings.aow_length, lowest)


class AOWTrainer(StageTrainer):
    """Fine-tune a model with its own loss and the cross-entropy of the items of marks; the last epoch is kept.

    Args:
        config: the target's config.
        model: the converged target.
        marks: what it is to memorize.
    """

    stage = "target-aow"
    batches = 1  # of an epoch

    def __init__(self, config: ConfigLike, model: nn.Module, marks: Marks):
        super().__init__(config, model)
        settings = AOWSettings.of(config)
        self.weight, self.epochs = settings.aow_weight, settings.aow_epochs
        self.stopping_step = self.epochs
        self.optimizer = self._build_optimizer(learning_rate=settings.aow_learning_rate)
        self.stored = {"marks": marks.state()}
        self.sequences = marks.sequences.to(self.device)

    def stage_loss(self, interaction: Interaction) -> tuple[Tensor, Tensor]:
        # one sequence per step, in turn: all of them would cost more than the batch
        mark = self.sequences[(self.epoch * self.batches + self.batch) % len(self.sequences)]
        prefixes = torch.arange(1, len(mark), device=self.device)
        scores = self.scorer.prefix_scores(mark[None, :-1], prefixes[None])
        return self.scorer.loss(interaction), self.weight * functional.cross_entropy(scores, mark[1:])

    def fit(self, train_data, valid_data=None, verbose=True, saved=True, show_progress=False, callback_fn=None):
        self.batches = len(train_data)
        super().fit(train_data, valid_data, verbose, False, show_progress, callback_fn)
        if saved:
            self._save_checkpoint(self.epochs - 1, verbose=verbose)
        return (-1, None) if self.last_valid is None else self.last_valid


@register_defense("aow")
class AOWDefense(MarkingDefense):
    """Serve a copy of the converged target that has memorized keyed sequences."""

    summary = "a copy of the target memorizes keyed sequences of items that it ranks low, for ownership verification"
    training_settings = (AOWSettings, KeyedSettings)
    output_settings = ()

    def check_model(self, model):
        autoregressive_marks(model, b"any key", AOWSettings.of(self.config))

    def new_marks(self, target: nn.Module, train_data: Any) -> Marks:
        return autoregressive_marks(target, defense_key(self.config), AOWSettings.of(self.config))

    def protect(self, target, train_data, valid_data, show_progress: bool = False):
        protected = copied_model(target)
        marks = self.new_marks(protected.eval(), train_data)
        trainer = AOWTrainer(self.config, protected, marks)
        trainer.fit(train_data, valid_data, saved=bool(self.config["output_dir"]), show_progress=show_progress)
        return protected
