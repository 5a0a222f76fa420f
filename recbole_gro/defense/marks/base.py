"""The base class of defenses that plant a watermark."""

from abc import abstractmethod
from typing import Any

from torch import nn

from recbole_gro.config.config_like import ConfigLike
from recbole_gro.defense.base import Defense
from recbole_gro.defense.defense_key import check_defense_key
from recbole_gro.defense.marks.marks import Marks


class MarkingDefense(Defense):
    """Plant marks that a secret key chooses in training."""

    def __init__(self, config: ConfigLike):
        super().__init__(config)
        check_defense_key(config)

    @abstractmethod
    def new_marks(self, target: nn.Module, train_data: Any) -> Marks:
        """Return the marks that the key chooses.

        Args:
            target: the undefended one.
            train_data: loader of its training rows.

        Raises:
            UserError: the catalogue has too few items.
        """
        raise NotImplementedError
