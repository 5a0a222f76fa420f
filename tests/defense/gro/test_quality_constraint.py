import pytest
from hypothesis import given
from hypothesis import strategies as st

from recbole_gro import UserError
from recbole_gro.defense.gro.quality_constraint import QualityConstraint


@given(st.floats(0.5, 1.0), st.floats(0.01, 1.0), st.floats(0.01, 2.0), st.floats(1e-3, 10))
def test_lambda_rises_exactly_where_there_is_quality_to_spare(share, converged, kept, gro_lambda):
    moved = QualityConstraint(share, converged).next_lambda(gro_lambda, kept * converged)
    assert 0.499 * gro_lambda <= moved <= 2.001 * gro_lambda
    if abs(kept - share) > 1e-6:
        assert (moved > gro_lambda) == (kept > share)


@pytest.mark.parametrize("start", [0.01, 100.0])
def test_lambda_settles_where_the_share_is_kept(start):
    # a target that keeps 1 / (1 + lambda) of its quality: 0.8 at lambda 0.25
    constraint, gro_lambda = QualityConstraint(0.8, 0.05), start
    for _ in range(60):
        gro_lambda = constraint.next_lambda(gro_lambda, 0.05 / (1 + gro_lambda))
    assert gro_lambda == pytest.approx(0.25, rel=1e-2)


def test_where_smaller_is_better_a_smaller_score_leaves_quality_to_spare():
    constraint = QualityConstraint(0.9, 2.0, bigger=False)
    assert constraint.next_lambda(1.0, 1.9) > 1 > constraint.next_lambda(1.0, 2.5)


@pytest.mark.parametrize("converged", [0.0, float("nan"), -0.1])
@pytest.mark.parametrize("bigger", [True, False])
def test_a_converged_score_without_a_share_to_keep_is_refused(converged, bigger):
    with pytest.raises(UserError, match=r"gro_min_quality: the converged target's validation score is") as error:
        QualityConstraint(0.9, converged, bigger)
    assert "\n" not in str(error.value)


def test_a_score_of_0_is_handled_after_the_first_epoch():
    assert QualityConstraint(0.9, 0.05).next_lambda(1.0, 0.0) == 0.5
    assert QualityConstraint(0.9, 0.05, bigger=False).next_lambda(1.0, 0.0) == 2.0
