"""The check that a user's model and defenses answer equal queries alike, whatever else is in a batch."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from recbole_gro.config.models import reference_to
from recbole_gro.defense import Defense, create_defense
from recbole_gro.defense.combined import restore_state, saved_state
from recbole_gro.scoring import create_scorer
from recbole_gro.serving.service import Output, Service, as_ranked
from recbole_gro.utils.errors import UserError
from recbole_gro.utils.random_state import random_state, set_random_state

QUERY = [[1], [2], [1, 2]]
OF_A_LENGTH = torch.tensor([[1, 2], [2, 1], [1, 1]]), torch.tensor([2, 2, 2])  # and lengths
TOLERANCE = 1e-4  # of scores, relative and absolute: sums of other rows are added in another order
OWN = __name__.partition(".")[0]


def check_repeatable(model: nn.Module, k: int, defenses: Mapping[str, Defense]) -> None:
    """Check that a query gets the same lists again, from equal states of the random generators and of the defense.

    Models and defenses of this package and of RecBole are not checked, nor is anything on a GPU, where sums may be
    added in any order.

    Args:
        model: of a run, untrained.
        k: length of its lists.
        defenses: of the run, by name.

    Raises:
        UserError: the model or a defense draws what no seed decides, the model's scores depend on the other rows of a
            batch, or the state of a defense cannot be saved.
    """
    if next(model.parameters()).device.type != "cpu":
        return
    if ":" in reference_to(type(model)):
        if not _lists(model, k).equal(_lists(model, k)):
            raise UserError(
                f"model: {type(model).__name__} gives equal histories different scores in evaluation mode; a figure of "
                "it could not be repeated"
            )
        together, alone = rows_together_and_alone(model, *OF_A_LENGTH)
        if not torch.allclose(together, alone, rtol=TOLERANCE, atol=TOLERANCE):
            raise UserError(
                f"model: {type(model).__name__}: scores depend on the other rows of a batch (by up to "
                f"{float((together - alone).abs().max()):.2g}); full_sort_predict is to score each row by itself"
            )
    for name, defense in defenses.items():
        if all(type(part).__module__.partition(".")[0] == OWN for part in defense.parts):
            continue
        trial = create_defense(name, defense.config)  # the run's own may count queries
        state, lists = saved_state(trial), []
        for _ in range(2):
            lists.append(_lists(model, k, trial.answer))
            restore_state(trial, state)
        if not lists[0].equal(lists[1]):
            raise UserError(
                f"defense: {name} gives an equal query different lists after load_state_dict(state_dict()); state_dict "
                "is to hold all that they depend on, such as the state of its generator"
            )


def _lists(model: Any, k: int, output: Output = as_ranked) -> Tensor:
    """Return the lists of a new service for `QUERY`; the random generators are as before."""
    state = random_state()
    try:
        return torch.as_tensor(Service(model, k, output).recommend(QUERY)).clone()
    finally:
        set_random_state(state)


@torch.no_grad()
def rows_together_and_alone(model: Any, sequences: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
    """Return the scores [B, n_items] after sequences of one batch, and those of one batch per sequence.

    Args:
        model: any sequential model; its mode stays as it is.
        sequences: [B, L] item ids, padded right with 0.
        lengths: [B] items in each.
    """
    state, training, scorer = random_state(), model.training, create_scorer(model.eval())
    try:
        together = scorer.next_item_scores(sequences, lengths)
        alone = [scorer.next_item_scores(sequences[i : i + 1], lengths[i : i + 1]) for i in range(len(sequences))]
        return together, torch.cat(alone)
    finally:
        model.train(training)
        set_random_state(state)
