"""An attack with auxiliary data: the training items of a few users."""

import torch
from torch import Generator, Tensor

from recbole_gro.attack.attacker import Attacker, query_length, register_attacker
from recbole_gro.attack.black_box import ListSource
from recbole_gro.attack.query_log import QueryLog
from recbole_gro.attack.settings import FewShotSettings
from recbole_gro.config.config_like import ConfigLike
from recbole_gro.scoring.sequences import keep_recent
from recbole_gro.utils.errors import UserError


@register_attacker("few_shot")
class FewShotAttacker(Attacker):
    """Query with real histories of a share of the users (`attacker_known_share`) first, then with synthetic ones.

    A real history becomes a query sequence: its most recent items, up to `query_length`. A shorter one is extended to
    that length as `query_strategy` chooses next items, which generates the rest of the sequences too. Histories beyond
    the budget are not queried.

    Raises:
        UserError: a share of 0, which gives no auxiliary data.
    """

    settings = (FewShotSettings,)

    def __init__(self, config: ConfigLike):
        super().__init__(config)
        self.auxiliary_share = FewShotSettings.of(config).attacker_known_share
        if self.auxiliary_share == 0:
            raise UserError(
                "attacker_known_share: 0 gives few_shot no auxiliary data; set a share up to 1, or attacker=standard"
            )
        self.summary = f"queries histories of {100 * self.auxiliary_share:g} % of the users first, then synthetic ones"

    def query(
        self, black_box: ListSource, generator: Generator, auxiliary: Tensor | None = None, show_progress: bool = False
    ) -> QueryLog:
        if auxiliary is None:
            return super().query(black_box, generator, None, show_progress)
        length = query_length(self.config)
        auxiliary = auxiliary[: self.n_sequences]
        histories, _ = keep_recent(auxiliary, (auxiliary != 0).sum(1), length, length)
        logs = [self.strategy.extend(black_box, histories, generator, show_progress)]
        synthetic = self.n_sequences - len(auxiliary)
        if synthetic:
            logs.append(self.strategy.query(black_box, synthetic, length, generator, show_progress))
        return QueryLog(torch.cat([log.sequences for log in logs]), torch.cat([log.lists for log in logs]))
