"""Settings of Eq. 4, which attack and defense share."""

from recbole_gro.config.loss_settings import ExtractionLossSettings


def test_defaults_are_the_papers():
    settings = ExtractionLossSettings.of({})
    assert (settings.margin_rank, settings.margin_negative, settings.paper_code_ties) == (0.5, 0.5, False)


def test_a_config_sets_them(make_config):
    settings = ExtractionLossSettings.of(make_config(margin_rank=0.25, paper_code_ties=True))
    assert (settings.margin_rank, settings.margin_negative, settings.paper_code_ties) == (0.25, 0.5, True)
