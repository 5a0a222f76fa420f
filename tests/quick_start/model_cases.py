"""The suite of a model, in one line: `class TestMyModel(ModelCases): model = MyModel`."""

from pathlib import Path

import pytest

from recbole_gro.quick_start.model_trials import TRIALS_BY_ROLE, ModelTrials, write_first_users
from recbole_gro.serving.saved_target import load_target
from recbole_gro.trainer.catalogue import checkpoint_of
from recbole_gro.utils.files import save_state


class ModelCases:
    """A model as target, student and surrogate on the first 60 users of ml-100k.

    Attributes:
        model: RecBole's name, `module:Class` or a class.
        settings: keys that take precedence over those of the trials.
    """

    model: str | type
    settings: dict = {}

    @pytest.fixture(scope="class")
    def trials(self, request, tmp_path_factory) -> ModelTrials:
        folder: Path = tmp_path_factory.mktemp("trials")
        return ModelTrials(request.cls.model, write_first_users(folder), folder, **request.cls.settings)

    @pytest.mark.parametrize(
        "trial", [trial for role in TRIALS_BY_ROLE.values() for trial in role], ids=lambda trial: trial.__name__
    )
    def test_trial(self, trials, trial):
        trial(trials)

    def test_its_checkpoint_holds_plain_values(self, trials, tmp_path):
        save_state(tmp_path / "model.pth", checkpoint_of(trials.config, trials.target, trials.loaders[0]._dataset))
        assert load_target(tmp_path / "model.pth", type(trials.target)).model.n_items == trials.target.n_items
