"""Attackers of effect.py that the package does not offer."""

from recbole_gro import Attacker, ExtractionTrainer, Settings, key, register_attacker
from recbole_gro.utils.files import load_state, save_state


class FirstPositionsSettings(Settings):
    """What `first_positions` reads."""

    section = "Benchmarks"
    first_positions: int = key(20, "int >= 1", "first_positions: positions of a list that are trained on")


@register_attacker("first_positions")
class FirstPositions(Attacker):
    """Generate queries from whole lists and train on their first positions alone."""

    settings = (FirstPositionsSettings,)

    def training_log(self, log):
        return log.first(FirstPositionsSettings.of(self.config).first_positions)


class LastEpochTrainer(ExtractionTrainer):
    """ExtractionTrainer that keeps the last epoch, whatever the loss on held-out queries."""

    def load_saved(self):
        self.best_valid_result = self.last_valid[1]
        best = load_state(self.saved_model_file)
        save_state(self.saved_model_file, {**best, "state_dict": self.model.state_dict()})


@register_attacker("last_epoch")
class LastEpoch(Attacker):
    """Keep the surrogate of the last epoch."""

    settings = ()
    trainer = LastEpochTrainer
