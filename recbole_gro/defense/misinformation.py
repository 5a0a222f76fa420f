"""Ours: wrong lists for sequences that no user has, as adaptive misinformation (Kariyappa and Qureshi, CVPR 2020)."""

import math
from typing import Any

import torch
from recbole.data.interaction import Interaction
from torch import Tensor, nn
from torch.nn.functional import pad
from torch.optim.lr_scheduler import LambdaLR

from recbole_gro.config.models import copied_model
from recbole_gro.config.settings import Settings
from recbole_gro.defense.base import Defense, register_defense
from recbole_gro.defense.gro.decoys import STEPS
from recbole_gro.defense.gro.hold import as_served
from recbole_gro.defense.gro.settings import StepSettings
from recbole_gro.objective.extensions import hold_loss
from recbole_gro.scoring import create_scorer
from recbole_gro.serving.service import Service
from recbole_gro.serving.settings import ServiceSettings
from recbole_gro.trainer.base import StageTrainer, register_trainer

USERS, QUERIES = 128, 64  # contexts per step
SEQUENCES = 48  # query sequences per epoch
# random share and rank decay of query sequences; 0 twice: those that never leave the lists are most like users
KINDS = torch.cartesian_prod(torch.tensor([0.0, 0.0, 0.3, 1.0]), torch.tensor([0.0, 1.0]))
DIRECTIONS = 64  # of the scores, which a rotation mixes


def query_sequences(service: Service, n_sequences: int, length: int, generator: torch.Generator) -> Tensor:
    """Generate sequences [S, L] as attacks without data do.

    The first item is drawn from the catalogue. So is each next one with a random share; else it is drawn from the
    list returned, at rank r with weight r^-decay. Shares and decays alternate among `KINDS`.

    Args:
        service: returns the lists.
        n_sequences: number of sequences S.
        length: items per sequence L.
        generator: source of the draws.
    """
    share, decay = KINDS[torch.arange(n_sequences) % len(KINDS)].unsqueeze(2).unbind(1)
    weights = torch.arange(1.0, service.k + 1).pow(-decay)
    sequences = torch.randint(1, service.n_items, (n_sequences, 1), generator=generator)
    while sequences.shape[1] < length:
        lists = service.recommend(sequences).cpu()
        listed = lists.gather(1, torch.multinomial(weights, 1, generator=generator))
        anywhere = torch.randint(1, service.n_items, listed.shape, generator=generator)
        at_random = torch.rand(listed.shape, generator=generator) < share
        sequences = torch.cat([sequences, anywhere.where(at_random, listed)], 1)
    return sequences


@register_trainer("misinformation")
class MisinformationTrainer(StageTrainer):
    """Fine-tune a copy of the converged target to rank as before for users, and wrongly for generated queries.

    For histories of training users the loss is the divergence from the converged target (`hold_loss`). For prefixes of
    generated query sequences, renewed every epoch from the lists of the model as it then is, it is the divergence from
    wrong scores: those of the converged target, centered, in their principal directions, rotated at random. Wrong lists
    so depend on the history as right ones do. The learning rate falls to 0.

    Args:
        config: RecBole's Config or ours.
        model: the copy to train.
        converged: the target.
        stage: names files and the progress bar.
    """

    stage = "target-misinformation"

    def __init__(self, config: Any, model: nn.Module, converged: nn.Module, stage: str | None = None):
        super().__init__(config, model, stage)
        self.steps, self.served_k = StepSettings.of(config).gro_steps or STEPS, ServiceSettings.of(config).served_k
        self.length: int = config["MAX_ITEM_LIST_LENGTH"]
        self.converged = create_scorer(converged.eval())
        self.generator = torch.Generator().manual_seed(config["seed"])
        self.sequences = self._generated(converged)
        with torch.no_grad():
            scores = self.converged.next_item_scores(*self._queries(16 * QUERIES))[:, 1:]
        self.mean = scores.mean(0)
        self.directions = torch.linalg.svd(scores - self.mean, full_matrices=False).Vh[:DIRECTIONS]
        drawn = torch.randn(2 * [len(self.directions)], generator=self.generator)
        self.rotation = torch.linalg.qr(drawn).Q.to(self.device)

    def fit(self, train_data, valid_data=None, verbose=True, saved=True, show_progress=False, callback_fn=None):
        self.epochs = math.ceil(self.steps / len(train_data))
        steps = self.epochs * len(train_data)
        schedule = self.schedule = LambdaLR(self.optimizer, lambda step: 1 - step / steps)
        self.optimizer.register_step_post_hook(lambda *_: schedule.step())
        return super().fit(train_data, None, verbose, saved, show_progress, callback_fn)

    def resumed_parts(self):
        return {**super().resumed_parts(), "schedule": self.schedule}

    def resumed_generators(self):
        return {"queries": self.generator}

    def stage_loss(self, interaction: Interaction):
        if self._batch == 1:  # of an epoch, after the resume checkpoint of the one before
            self.sequences = self._generated(self.model)
        users, lengths = self.scorer.contexts(interaction)
        rows = torch.randperm(len(users), generator=self.generator)[:USERS].to(self.device)
        rows = rows[lengths[rows] > 0]
        scores, converged = self._scores(*self._queries(QUERIES))
        return hold_loss(*self._scores(users[rows], lengths[rows])), hold_loss(scores, self.wrong(converged))

    def wrong(self, scores: Tensor) -> Tensor:
        """Return wrong scores [N, n_items] in place of the converged target's [N, n_items]."""
        along = (scores[:, 1:] - self.mean) @ self.directions.T
        return pad(along @ self.rotation @ self.directions, (1, 0))

    def _scores(self, sequences: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        """Return the scores [N, n_items] of the model and of the converged target."""
        with torch.no_grad():
            converged = self.converged.next_item_scores(sequences, lengths)
        with as_served(self.model):
            return self.scorer.next_item_scores(sequences, lengths), converged

    def _generated(self, model: nn.Module) -> Tensor:
        service = Service(model, self.served_k)
        return query_sequences(service, SEQUENCES, self.length, self.generator).to(self.device)

    def _queries(self, n: int) -> tuple[Tensor, Tensor]:
        """Return n random prefixes [n, L] of the generated sequences, and their lengths [n]."""
        rows = torch.randint(SEQUENCES, (n,), generator=self.generator).to(self.device)
        lengths = torch.randint(1, self.length + 1, (n,), generator=self.generator).to(self.device)
        return self.sequences[rows] * (torch.arange(self.length, device=self.device) < lengths.unsqueeze(1)), lengths


@register_defense("misinformation")
class Misinformation(Defense):
    """Serve a copy of the converged target, fine-tuned by MisinformationTrainer."""

    summary = "ours: a copy of the target is trained to answer generated queries wrongly, and users as before"
    training_settings: tuple[type[Settings], ...] = (ServiceSettings, StepSettings)
    output_settings = ()

    def __init__(self, config: Any):
        super().__init__(config)
        self.effective = {"gro_steps": StepSettings.of(config).gro_steps or STEPS}

    def protect(self, target, train_data, valid_data, show_progress: bool = False):
        protected = copied_model(target)
        trainer = MisinformationTrainer(self.config, protected, copied_model(target))
        trainer.fit(train_data, saved=bool(self.config["output_dir"]), show_progress=show_progress)
        return protected
