"""GRO as a defense (`gro`)."""

from recbole_gro.config.config_like import ConfigLike
from recbole_gro.config.models import copied_model
from recbole_gro.config.plugins import sources_of
from recbole_gro.config.settings import Settings, setting
from recbole_gro.defense.base import Defense, register_defense
from recbole_gro.defense.gro.callback import callback_settings, create_callbacks
from recbole_gro.defense.gro.restricted_swap import RESTRICTIONS
from recbole_gro.defense.gro.settings import GROTrainerSettings
from recbole_gro.defense.gro.swap_rules import create_swap_rule
from recbole_gro.defense.gro.trainer import GROTrainer

REPORTED = ("gro_start", "gro_swap", "gro_target_loss", "gro_contexts", "gro_decay", "gro_lambda", "gro_steps")


@register_defense("gro")
class GRODefense(Defense):
    """Serve a copy of the converged target, fine-tuned by a GRO trainer."""

    summary = "a copy of the target is fine-tuned beside a student trained on its lists; the last epoch is kept"
    trainer: type[GROTrainer] = GROTrainer
    output_settings = ()

    def __init__(self, config: ConfigLike):
        super().__init__(config)
        settings = self.trainer.effective_settings(config)
        # contradicting settings are reported before anything is trained
        callbacks, rule = create_callbacks(settings), create_swap_rule(settings.gro_swap, config)
        if not settings.gro_steps:  # which may raise the epochs
            rule.check_epochs(settings.gro_epochs)
        self._callees = tuple(map(type, (*callbacks, rule)))
        read = tuple(declared for callback in callbacks for declared in callback.reads)
        undeclared = rule.settings is None or any(callback.settings is None for callback in callbacks)
        names = REPORTED + (RESTRICTIONS if settings.gro_swap == "paper" else ())
        declared = type(self).training_settings or ()  # of a subclass
        of_parts: tuple[type[Settings], ...] = (
            GROTrainerSettings, *callback_settings(), *read, *(rule.settings or ()),
        )  # fmt: skip
        self.training_settings = None if undeclared else (*declared, *of_parts)
        if not sources_of(*self.classes):  # code of a user's may read the config itself
            self.fixed = self.trainer.overrides | dict.fromkeys(rule.unread)
        self.effective = {name: getattr(settings, name) for name in names} | rule.effective
        own_rule = (rule.settings or ()) if sources_of(type(rule)) else ()
        self.effective |= {name: getattr(settings, name) for each in callback_settings() for name in each.names}
        self.effective |= {name: setting(config, name) for each in own_rule for name in each.names}
        self.effective["gro_steps"] = self.effective["gro_steps"] or 0
        self.summary += f" ({', '.join(f'{name} {value}' for name, value in self.effective.items())})"

    @property
    def classes(self) -> tuple[type, ...]:
        return (*super().classes, self.trainer, *self._callees)

    @property
    def needs_target(self) -> bool:
        """Whether GRO fine-tunes the converged target."""
        return self.effective["gro_start"] == "converged"

    def protect(self, target, train_data, valid_data, show_progress: bool = False):
        protected = copied_model(target)
        trainer = self.trainer(self.config, protected)
        trainer.fit_gro(train_data, valid_data, saved=bool(self.config["output_dir"]), show_progress=show_progress)
        self.effective["gro_lambda"] = trainer.last_lambda  # gro_min_quality changes it
        return protected
