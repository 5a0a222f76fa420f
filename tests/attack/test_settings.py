"""Settings of the attack: ranges, and the defaults of the paper."""

import pytest

from recbole_gro import UserError
from recbole_gro.attack.settings import (
    AttackSettings,
    AveragingSettings,
    CoverageSettings,
    EnsembleSettings,
    FewShotSettings,
    HeadSettings,
    MixedSettings,
    QuerySettings,
    RepeatSettings,
    RoundsSettings,
    SurrogateSettings,
)


@pytest.mark.parametrize(
    ("key", "accepted", "refused"),
    [
        (AttackSettings.attacker, "head", 3),
        (AttackSettings.attacker, ["head", "strongest"], []),
        (AttackSettings.attacker_suite, ["rounds"], None),
        (MixedSettings.query_random_share, 1, 1.01),
        (MixedSettings.query_rank_decay, 0, -0.01),
        (CoverageSettings.query_coverage, 0, -0.01),
        (QuerySettings.query_choice, "module:function", "module"),
        (RoundsSettings.attacker_rounds, 1, 0),
        (RoundsSettings.attacker_reproduced, 1, 1.01),
        (SurrogateSettings.surrogate_model, ["NARM", "GRU4Rec"], ["NARM", "NARM"]),
        (QuerySettings.query_sequences, 2, 1),
        (QuerySettings.query_length, 1, 0),
        (QuerySettings.query_length, None, "None"),
        (HeadSettings.attacker_head_k, 1, 0),
        (RepeatSettings.attacker_repeats, 1, 0),
        (FewShotSettings.attacker_known_share, 1, 1.01),
        (FewShotSettings.attacker_known_share, 0, -0.01),
        (AveragingSettings.surrogate_averaging, 0.99, 1),
        (EnsembleSettings.surrogate_ensemble, 2, 0),
        (SurrogateSettings.surrogate_model, None, 3),
        (SurrogateSettings.surrogate_knows_features, True, "yes"),
        (SurrogateSettings.surrogate_epochs, 1, 0),
        (SurrogateSettings.surrogate_learning_rate, 1e-9, 0),
        (SurrogateSettings.surrogate_batch_size, 1, 0),
        (SurrogateSettings.surrogate_min_steps, 1, 0),
        (SurrogateSettings.surrogate_patience, 0, -1),
    ],
)
def test_ranges(key, accepted, refused):
    key.check(accepted)
    with pytest.raises(UserError, match=rf"^{key.name}: .* is not allowed; it takes "):
        key.check(refused)


def test_defaults_are_those_of_the_paper():
    queries = QuerySettings.of({})
    assert (queries.query_strategy, queries.query_sequences, queries.query_length) == ("autoregressive", 3000, None)
    assert AttackSettings.of({}).attacker == "standard"
    assert SurrogateSettings.of({}).surrogate_epochs == 200
