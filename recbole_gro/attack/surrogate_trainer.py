"""Training of the surrogate: Eq. 4 on a query log (Yue et al., RecSys'21, arXiv 2109.01165)."""

import math
from collections.abc import Callable, Sequence
from typing import Any

import torch
from recbole.data.interaction import Interaction
from torch import Tensor, nn

from recbole_gro.attack.averaged_weights import AveragedWeights
from recbole_gro.attack.query_log import LISTED, LISTED_LENGTH, QueryLoader, QueryLog, checked
from recbole_gro.attack.settings import AveragingSettings, SurrogateSettings
from recbole_gro.config.config_like import ConfigLike
from recbole_gro.config.loss_settings import ExtractionLossSettings
from recbole_gro.objective.extraction import extraction_loss, sample_negatives
from recbole_gro.scoring import Ensemble, create_scorer
from recbole_gro.scoring.picked_scores import PickedScores
from recbole_gro.trainer import processes
from recbole_gro.trainer.base import StageTrainer, register_trainer
from recbole_gro.utils.errors import UserError, kind_of
from recbole_gro.utils.ranking import agreement_per_list, top_k
from recbole_gro.utils.read_only import read_only

HELD_OUT = 0.1  # share of the query sequences that are held out for early stopping
AGREEMENT_K = 10  # first items of a list that agreement compares, where it has as many


@register_trainer("extraction")
class ExtractionTrainer(StageTrainer):
    """Train a surrogate on a query log: `trainer.fit(*trainer.loaders(log))`.

    Its validation data are the held-out sequences of the log; it stops when Eq. 4 on them no longer falls.

    Args:
        config: the surrogate's config; `surrogate_*` and `margin_*` are read from it.
        model: the untrained surrogate, any RecBole sequential model.
        stage: names files and the progress bar; None: surrogate.

    Attributes:
        genuine_k: first items of the log's lists that were served, where random ones follow; None: all.
        untrained_loss: Eq. 4 on held-out queries before the first epoch; None before `fit`.
        others: trainers of the other members of an ensemble.
    """

    stage = "surrogate"
    others: Sequence["ExtractionTrainer"] = ()
    genuine_k: int | None = None

    def __init__(self, config: ConfigLike, model: nn.Module, stage: str | None = None):
        super().__init__(config, model, stage)
        surrogate, loss = SurrogateSettings.of(config), ExtractionLossSettings.of(config)
        self.learning_rate = surrogate.surrogate_learning_rate
        self.epochs = surrogate.surrogate_epochs
        self.stopping_step = surrogate.surrogate_patience
        self.batch_size, self.min_steps = surrogate.surrogate_batch_size, surrogate.surrogate_min_steps
        self.margins = loss.margin_rank, loss.margin_negative
        self.paper_code_ties = loss.paper_code_ties
        self.eval_step = 1
        # some metrics of RecBole count the items and users of the training data; a query log has none to count
        self.eval_collector.data_collect = lambda train_data: None
        self.valid_metric, self.valid_metric_bigger = "held-out loss", False
        self.best_valid_score = float("inf")
        self.untrained_loss: float | None = None
        self.optimizer = self._build_optimizer()
        decay = AveragingSettings.of(config).surrogate_averaging
        self.averaged = AveragedWeights(model, self.optimizer, decay) if decay else None
        self.generator = torch.Generator(self.device).manual_seed(config["seed"])
        self.picked_scores = PickedScores(self.scorer.n_items, self.device, scores_are_read=self.scorer.has_own_code)

    def resumed_parts(self):
        return super().resumed_parts() | ({"averaged": self.averaged} if self.averaged else {})

    def resumed_generators(self):
        return {"negatives": self.generator}

    def _train_epoch(self, train_data, epoch_idx, loss_func=None, show_progress=False):
        if self.averaged:
            self.averaged.use_trained()
        return super()._train_epoch(train_data, epoch_idx, loss_func, show_progress)

    def _valid_epoch(self, valid_data, show_progress=False):
        if self.averaged:
            self.averaged.use_mean()
        return super()._valid_epoch(valid_data, show_progress)

    def _save_checkpoint(self, epoch, verbose=True, **kwargs):
        if self.averaged:
            self.averaged.use_mean()
        super()._save_checkpoint(epoch, verbose, **kwargs)

    def loaders(self, log: QueryLog) -> tuple[QueryLoader, QueryLoader]:
        """Return the training and the held-out batches of a log; all draws come from the config's seed.

        Of a few hundred lists an epoch of full batches is a step or two, and patience, which counts epochs, ended
        training before the surrogate had begun to agree (results/budget.md).

        Raises:
            UserError: a log of fewer than two sequences, with ids of no item, 0 before an item, or an item twice in a
                list.
        """
        checked(log, f"{type(self).__name__}.loaders", self.scorer.n_items)
        generator = torch.Generator().manual_seed(self.config["seed"])
        train, held = log.split(HELD_OUT, generator)
        batch_size = min(self.batch_size, max(1, train.n_lists // self.min_steps))
        shared = self.scorer.all_prefixes_at_once
        return (
            QueryLoader(train, self.config, batch_size, generator, shared),
            QueryLoader(held, self.config, self.batch_size, None, shared),
        )

    @property
    def improved(self) -> bool:
        """Whether the loss on held-out queries fell below that of the untrained model, for each of an ensemble."""
        own = self.untrained_loss is not None and self.best_valid_score < self.untrained_loss
        return own and all(one.improved for one in self.others)

    @property
    def still_improving(self) -> bool:
        """Whether training ended at `surrogate_epochs`, before early stopping, for any of an ensemble.

        More epochs may then improve the surrogate.
        """
        return self.cur_step <= self.stopping_step or any(one.still_improving for one in self.others)

    def fit(self, train_data, valid_data=None, verbose=True, saved=True, show_progress=False, callback_fn=None):
        if valid_data:
            self.untrained_loss = processes.by_first(lambda: self.held_out_figures(valid_data)["loss"])
        return super().fit(train_data, valid_data, verbose, saved, show_progress, callback_fn)

    def lead(self, others: Sequence["ExtractionTrainer"], log: QueryLog) -> None:
        """Replace the trained model by an ensemble, and the validation result by the ensemble's.

        Args:
            others: trainers of its other members, after their training.
            log: training log of all members.
        """
        self.others = others
        self.model: Any = Ensemble([one.model for one in (self, *others)])
        self.scorer = create_scorer(self.model)
        _, held_out = self.loaders(log)
        self.best_valid_result = processes.by_first(lambda: self.held_out_figures(held_out, self.genuine_k))

    def stage_loss(self, interaction: Interaction):
        if getattr(self.list_loss, "__func__", None) is not ExtractionTrainer.list_loss:
            return self._loss_and_scores(interaction, self.generator)[0]
        served, lengths = interaction[LISTED], interaction.interaction.get(LISTED_LENGTH)
        return self._extraction_loss(
            lambda items: self.picked_scores(lambda: self._scores(interaction), items), served, lengths, self.generator
        )

    def positions_of_rows(self, batch: Interaction) -> Tensor:
        rows, prefixes = batch[self.scorer.model.ITEM_SEQ_LEN].shape
        return torch.full((rows,), prefixes)

    def part_of_batch(self, batch: Interaction, rows: slice) -> Interaction:
        prefixes = batch[self.scorer.model.ITEM_SEQ_LEN].shape[1]
        lists = slice(rows.start * prefixes, rows.stop * prefixes)
        return Interaction(
            {
                name: values[lists if name in (LISTED, LISTED_LENGTH) else rows]
                for name, values in batch.interaction.items()
            }
        )

    def list_loss(
        self, scores: Tensor, served: Tensor, lengths: Tensor | None, generator: torch.Generator | None
    ) -> Tensor:
        """Return the loss of scores after histories against the lists that the service returned for them: Eq. 4.

        An attack with another loss overrides it. The surrogate is trained with it, and stops early by it on held-out
        queries, which `improved` and `still_improving` speak of too.

        Args:
            scores: [B, n_items] of the surrogate; column 0 (padding) is no item.
            served: [B, k] item ids, best first; 0 pads those with fewer than k.
            lengths: [B] items in each list, where some have fewer than k; None where all have k.
            generator: source of random draws; on held-out queries it starts from the same state every time.

        Returns:
            [] the mean over lists.
        """
        return self._extraction_loss(lambda items: scores.gather(1, items), served, lengths, generator)

    def _extraction_loss(
        self,
        scores_of: Callable[[Tensor], Tensor],
        served: Tensor,
        lengths: Tensor | None,
        generator: torch.Generator | None,
    ) -> Tensor:
        """Return Eq. 4 [] from a function that returns the scores [B, j] of items [B, j].

        Raises:
            UserError: the lists have room for the whole catalogue, of which no item is left to sample.
        """
        if served.shape[1] > (longest := self.scorer.n_items - 2):
            raise UserError(
                f"attacker: lists have {served.shape[1]} of {longest + 1} items; the loss samples items outside a "
                f"list, so at most {longest} fit (QueryLog.first)"
            )
        negatives = sample_negatives(
            served, self.scorer.n_items, generator, self.paper_code_ties, lengths, batch_part=self.batch_part
        )
        listed, outside = scores_of(torch.cat([served, negatives], 1)).chunk(2, 1)
        return extraction_loss(listed, outside, *self.margins, self.paper_code_ties, lengths=lengths)

    def _scores(self, interaction: Interaction) -> Tensor:
        """Return the surrogate's scores [B, n_items] after the histories of a query batch."""
        fields = self.scorer.model
        return self.scorer.prefix_scores(interaction[fields.ITEM_SEQ], interaction[fields.ITEM_SEQ_LEN])

    def _loss_and_scores(self, interaction: Interaction, generator: torch.Generator | None) -> tuple[Tensor, Tensor]:
        """Return the loss [] of a query batch, and the scores [B, n_items] that it is computed from."""
        scores = self._scores(interaction)
        lengths = interaction.interaction.get(LISTED_LENGTH)
        served = interaction[LISTED]
        with read_only(f"attacker: list_loss of {type(self).__name__}", served=served, lengths=lengths):
            loss = self.list_loss(scores, served, lengths, generator)
        return self._checked(loss), scores

    def _checked(self, loss: Any) -> Tensor:
        """Return a loss of an attack's own if it is one number that can be minimized.

        Raises:
            UserError: it is not.
        """
        returned = f"attacker: list_loss of {type(self).__name__} returned"
        if not isinstance(loss, Tensor) or loss.numel() != 1 or not loss.is_floating_point():
            raise UserError(f"{returned} {kind_of(loss)}; a tensor of one number is expected, the mean over lists")
        if torch.is_grad_enabled() and not loss.requires_grad:
            raise UserError(f"{returned} a number without a gradient; it is to be computed from the scores")
        return loss

    def validate(self, valid_data, show_progress=False):
        figures = self.held_out_figures(valid_data, self.genuine_k)
        if not math.isfinite(figures["loss"]):
            raise self._diverged(f"epoch {self.epoch}: the loss on held-out queries is {figures['loss']}")
        return figures["loss"], figures

    @torch.no_grad()
    def held_out_figures(self, held_out: QueryLoader, genuine_k: int | None = None) -> dict[str, float]:
        """Return `loss` (`list_loss`) and `agreement@10` on held-out queries, with the same negatives every time.

        Agreement is the share of the first 10 items of a list, or of all that it has, in the surrogate's first 10. It
        is `agreement@k` where k < 10 items of the log's lists were served. Empty lists, of queries that a live service
        did not answer, do not count.

        Args:
            held_out: loader of the queries.
            genuine_k: first items of their lists that were served, to which agreement is limited; None: all.
        """
        self.model.eval()
        generator = torch.Generator(self.device).manual_seed(self.config["seed"])
        total, agreement, n, n_with_list = 0.0, 0.0, 0, 0
        for batch in held_out:
            interaction = batch.to(self.device)
            loss, scores = self._loss_and_scores(interaction, generator)
            k = min(AGREEMENT_K, genuine_k or AGREEMENT_K, interaction[LISTED].shape[1])
            shares = agreement_per_list(top_k(scores, k), interaction[LISTED], k)
            total += loss.item() * len(shares)
            agreement += shares.nan_to_num().sum().item()
            n += len(shares)
            n_with_list += int((~shares.isnan()).sum())
        return {"loss": total / n, f"agreement@{k}": agreement / max(n_with_list, 1)}
