import pytest
from hypothesis import given
from hypothesis import strategies as st

from recbole_gro import GROTrainer, UserError
from recbole_gro.defense.gro.quality_constraint import QualityConstraint


@given(st.floats(0.5, 1.0), st.floats(0.01, 1.0), st.floats(0.01, 2.0), st.floats(1e-3, 10))
def test_lambda_rises_exactly_above_the_share(share, converged, kept, gro_lambda):
    moved = QualityConstraint(share, converged).next_lambda(gro_lambda, kept * converged)
    assert 0.499 * gro_lambda <= moved <= 2.001 * gro_lambda
    if abs(kept - share) > 1e-6:
        assert (moved > gro_lambda) == (kept > share)


@pytest.mark.parametrize("start", [0.01, 100.0])
def test_lambda_converges_where_the_share_is_kept(start):
    # a target that keeps 1 / (1 + lambda) of its quality: 0.8 at lambda 0.25
    constraint, gro_lambda = QualityConstraint(0.8, 0.05), start
    for _ in range(60):
        gro_lambda = constraint.next_lambda(gro_lambda, 0.05 / (1 + gro_lambda))
    assert gro_lambda == pytest.approx(0.25, rel=1e-2)


def test_lambda_rises_below_the_score_where_smaller_is_better():
    constraint = QualityConstraint(0.9, 2.0, bigger=False)
    assert constraint.next_lambda(1.0, 1.9) > 1 > constraint.next_lambda(1.0, 2.5)


class ScoresGiven(GROTrainer):
    """Validation scores are those of `given`, in turn; records lambda after each."""

    def evaluate(self, eval_data, load_best_model=True, model_file=None, show_progress=False):
        super().evaluate(eval_data, load_best_model=False)
        self.lambdas = [*getattr(self, "lambdas", []), self.gro_lambda]
        return {"ndcg@5": self.given[len(self.lambdas) - 1]}


def test_lambda_follows_the_validation_scores(make_trainer):
    trainer, train, valid = make_trainer(cls=ScoresGiven, gro_min_quality=0.9, gro_epochs=4, eval_step=3)
    trainer.given = [0.5, 0.5, 0.45, 0.30, 0.5]  # first the converged target's
    trainer.fit_gro(train, valid)
    assert trainer.lambdas == pytest.approx([1, 1, 2, 2, 1])
    assert trainer.gro_lambda == pytest.approx(2)  # of an epoch that there is not
    assert trainer.last_lambda == pytest.approx(1)  # of the last epoch, which is what results report


def test_the_constraint_needs_validation_data(make_trainer):
    trainer, train, _ = make_trainer(gro_min_quality=0.9)
    with pytest.raises(UserError, match="gro_min_quality: there are no validation data"):
        trainer.fit_gro(train)


@pytest.mark.parametrize("bigger", [True, False])
def test_a_share_of_a_score_of_zero_is_refused(make_trainer, bigger):
    trainer, train, valid = make_trainer(cls=ScoresGiven, gro_min_quality=0.9)
    trainer.given, trainer.valid_metric_bigger = [0.0], bigger
    with pytest.raises(UserError, match=r"gro_min_quality: .*ndcg@5 0 on validation") as error:
        trainer.fit_gro(train, valid)
    assert "\n" not in str(error.value)


def test_a_score_of_zero_is_as_good_as_can_be_where_smaller_is_better():
    assert QualityConstraint(0.9, 2.0, bigger=False).next_lambda(1.0, 0.0) == pytest.approx(2)


def test_metrics_of_the_training_data_are_measured(make_trainer):
    metrics = ["Hit", "NDCG", "ItemCoverage", "AveragePopularity"]
    trainer, train, valid = make_trainer(gro_min_quality=0.9, gro_epochs=1, metrics=metrics)
    trainer.fit_gro(train, valid, saved=False)
    assert {"itemcoverage@5", "averagepopularity@5"} <= set(trainer.last_valid[1])
