"""GRO (Zhang et al., WSDM'24): train the target so that a student copying its lists comes out bad."""

from recbole_gro.config.models import copied_model
from recbole_gro.defense.base import Defense, register_defense
from recbole_gro.defense.gro.settings import GROSettings, VariantSettings
from recbole_gro.defense.gro.swap_rules import create_swap_rule
from recbole_gro.defense.gro.trainer import GROTrainer

# keys that a kind of GRO may choose for itself
SETTLED = ("gro_start", "gro_swap", "gro_target_loss", "gro_decay", "gro_lambda", "gro_steps")


@register_defense("gro")
class GRODefense(Defense):
    """A copy of the converged target, fine-tuned by a GRO trainer; its ranking is served as it is."""

    summary = "a copy of the target is trained on beside a student that copies its lists; the last epoch is kept"
    trainer: type[GROTrainer] = GROTrainer
    training_settings = (GROSettings, VariantSettings)
    output_settings = ()

    @property
    def needs_target(self) -> bool:
        """Whether GRO fine-tunes the converged target."""
        return self.settled["gro_start"] == "converged"

    def __init__(self, config):
        super().__init__(config)
        self.trainer.check_start(config)
        self.settled = {name: self.trainer.settled(config, name) for name in SETTLED}
        # an unknown rule, or one that cannot work, ends the run before anything is trained
        self.settled |= create_swap_rule(self.settled["gro_swap"], config).settled
        self.summary += f" ({', '.join(f'{name} {value}' for name, value in self.settled.items())})"

    def protect(self, target, train_data, valid_data, show_progress: bool = False):
        protected = copied_model(target)
        trainer = self.trainer(self.config, protected)
        trainer.fine_tune(train_data, valid_data, saved=bool(self.config["output_dir"]), show_progress=show_progress)
        self.settled["gro_lambda"] = trainer.gro_lambda  # where gro_min_quality left it
        return protected
