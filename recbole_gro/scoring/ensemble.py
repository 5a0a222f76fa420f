"""Several models of one architecture that are served as one."""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from recbole.model.abstract_recommender import SequentialRecommender
from torch import Tensor, nn

from recbole_gro.scoring.base import NextItemScorer, create_scorer, register_scorer


class Ensemble(SequentialRecommender):
    """Serve the mean of the scores of models that were trained alike, whose scores so have one scale.

    A shift of a model's scores per query leaves the ranking as it is, so with cross-entropy models it is also the
    ranking by the mean of log-probabilities.

    Args:
        members: RecBole sequential models of one class and one catalogue.
    """

    def __init__(self, members: Sequence[nn.Module]):
        nn.Module.__init__(self)
        # sizes and names of fields, which services and RecBole's trainers read of a model
        for name in vars(members[0]).keys() - vars(self).keys():
            setattr(self, name, getattr(members[0], name))
        self.members: Any = nn.ModuleList(members)

    def load_other_parameter(self, para: dict[str, Any]) -> None:
        """Give each member its values of RecBole's other_parameter, from those of `joined_checkpoints`."""
        for number, member in enumerate(self.members):
            member.load_other_parameter(para[str(number)])


@register_scorer("Ensemble")
class EnsembleScorer(NextItemScorer):
    """Score with the mean over the members of an ensemble."""

    def __init__(self, model: Ensemble):
        super().__init__(model)
        self.scorers = [create_scorer(member) for member in model.members]
        self.longest, self.all_prefixes_at_once = self.scorers[0].longest, self.scorers[0].all_prefixes_at_once

    def next_item_scores(self, sequences: Tensor, lengths: Tensor) -> Tensor:
        return torch.stack([scorer.next_item_scores(sequences, lengths) for scorer in self.scorers]).mean(0)

    def prefix_scores(self, sequences: Tensor, lengths: Tensor) -> Tensor:
        return torch.stack([scorer.prefix_scores(sequences, lengths) for scorer in self.scorers]).mean(0)


def joined_checkpoints(checkpoints: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Return the checkpoint of an ensemble from those of its members; `members` is their number."""
    states = [checkpoint["state_dict"].items() for checkpoint in checkpoints]
    return checkpoints[0] | {
        "state_dict": {f"members.{i}.{name}": values for i, state in enumerate(states) for name, values in state},
        "other_parameter": {str(i): checkpoint["other_parameter"] for i, checkpoint in enumerate(checkpoints)},
        "optimizer": None,
        "members": len(checkpoints),
    }


def build_untrained(build: Callable[[], Any], checkpoint: dict[str, Any]) -> Any:
    """Return a model, or an ensemble of as many as a checkpoint has, without its weights.

    Args:
        build: makes one model.
        checkpoint: of one model, or of `joined_checkpoints`.
    """
    members = checkpoint.get("members")
    return Ensemble([build() for _ in range(members)]) if members else build()
