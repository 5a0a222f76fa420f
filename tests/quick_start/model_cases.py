"""The suite that every model gets, by one line: `class TestMine(ModelCases): model = Mine`."""

from pathlib import Path

import pytest

from recbole_gro.quick_start.conformance import ROLES, Trial, first_users


class ModelCases:
    """A model as target, student and surrogate on the first 60 users of ml-100k.

    Attributes:
        model: RecBole's name, `module:Class` or a class.
        settings: keys of the model over those of the trials.
    """

    model: str | type
    settings: dict = {}

    @pytest.fixture(scope="class")
    def trial(self, request, tmp_path_factory) -> Trial:
        folder: Path = tmp_path_factory.mktemp("trial")
        return Trial(request.cls.model, first_users(folder), folder, **request.cls.settings)

    @pytest.mark.parametrize(
        "check", [check for checks in ROLES.values() for check in checks], ids=lambda c: c.__name__
    )
    def test_of_a_role(self, trial, check):
        check(trial)
