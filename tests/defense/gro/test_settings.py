import pytest

from recbole_gro import DecoyGROTrainer, GROTrainer
from recbole_gro.defense.gro.settings import GROSettings, GROTrainerSettings, StudentSettings, VariantSettings


def test_a_trainer_has_the_settings_of_the_paper_and_of_the_variants():
    assert set(GROTrainerSettings.names) == {*GROSettings.names, *VariantSettings.names}
    assert set(StudentSettings.names) < set(GROSettings.names)
    assert {"served_k", "margin_rank", "margin_negative", "margin_swap", "paper_code_ties"} < set(GROSettings.names)


@pytest.mark.parametrize(
    ("trainer", "gro_lambda", "gro_swap"), [(GROTrainer, 3.0, "paper"), (DecoyGROTrainer, 0.1, "decoys")]
)
def test_a_trainer_overrides_settings_of_the_config(trainer, gro_lambda, gro_swap):
    settings = trainer.effective_settings({"gro_lambda": 3.0, "gro_epochs": 4})
    assert (settings.gro_lambda, settings.gro_swap, settings.gro_epochs) == (gro_lambda, gro_swap, 4)
