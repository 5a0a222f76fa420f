"""An attacker who knows some real users: their items, as far as the target was trained on them."""

import torch

from recbole_gro.attack.attacker import Attacker, query_length, register_attacker
from recbole_gro.attack.query_log import QueryLog
from recbole_gro.attack.query_strategies import ask_and_continue
from recbole_gro.attack.settings import FewShotSettings
from recbole_gro.config.settings import setting
from recbole_gro.scoring.sequences import keep_recent
from recbole_gro.utils.errors import UserError


@register_attacker("few_shot")
class FewShotAttacker(Attacker):
    """Knows the training items of a share of the users (`attacker_known_share`), and asks about these and made-up ones.

    A known history is a query sequence: its most recent items, up to the length of one. A shorter one goes on to that
    length as the autoregressive strategy does, with items of the lists returned. What is left of the budget goes to
    `query_strategy`. Where the budget has fewer sequences than he knows users, he asks about that many of them.

    Raises:
        UserError: a share of 0, which leaves him nothing that the standard attacker has not.
    """

    settings = (FewShotSettings,)

    def __init__(self, config):
        super().__init__(config)
        self.known_share = setting(config, "attacker_known_share")
        if self.known_share == 0:
            raise UserError(
                "attacker_known_share: 0 leaves few_shot nothing to know; give more, at most 1, or attacker=standard"
            )
        self.summary = (
            f"asks about histories of {100 * self.known_share:g} % of the users first, about made-up ones with what "
            f"his budget leaves"
        )

    def ask(self, black_box, generator, known=None, show_progress=False):
        if known is None:
            return super().ask(black_box, generator, None, show_progress)
        length = query_length(self.config)
        known = known[: self.n_sequences]
        begun, _ = keep_recent(known, (known != 0).sum(1), length, length)
        logs = [ask_and_continue(black_box, begun, generator, show_progress)]
        made_up = self.n_sequences - len(known)
        if made_up:
            logs.append(self.strategy(black_box, made_up, length, generator, show_progress))
        return QueryLog(torch.cat([log.sequences for log in logs]), torch.cat([log.lists for log in logs]))
