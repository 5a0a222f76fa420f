"""Attackers of effect.py that the package does not offer."""

from recbole_gro import Attacker, ExtractionTrainer, Settings, key, register_attacker


class LearnsFirstSettings(Settings):
    """What `learns_first` reads."""

    section = "Benchmarks"
    learns_first: int = key(20, "int >= 1", "learns_first: first positions of a list that the surrogate is trained on")


@register_attacker("learns_first")
class LearnsFirst(Attacker):
    """Generate queries from whole lists and train on their first positions alone."""

    settings = (LearnsFirstSettings,)

    def learned(self, log):
        return log.first(LearnsFirstSettings.of(self.config).learns_first)


class LastPassTrainer(ExtractionTrainer):
    """ExtractionTrainer that keeps the last epoch, whatever the loss on held-out queries."""

    def load_saved(self):
        self.best_valid_result = self.last_valid[1]
        self._save_checkpoint(self.epochs - 1, verbose=False)


@register_attacker("last_pass")
class LastPass(Attacker):
    """Keep the surrogate of the last epoch."""

    settings = ()
    trainer = LastPassTrainer
