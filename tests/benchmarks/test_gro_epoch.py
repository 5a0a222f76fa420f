import pytest
from benchmarks.cases import NARROW, BenchmarkCases

from recbole_gro.defense.gro import trainer
from recbole_gro.objective.extraction import extraction_loss


class TestGROEpoch(BenchmarkCases):
    name, tiny = "gro_epoch", f"--rounds=1 {NARROW}"
    long = f"--rounds=1000 {NARROW}"
    prints = (r"epoch, GRO / plain: \d+\.\d+ ", r"GRO extraction_loss +\d+\.\d%", r"GRO swap_targets +\d+\.\d%")

    @pytest.fixture(autouse=True)
    def _steps_are_wrapped_for_the_profile_alone(self):
        yield
        assert trainer.extraction_loss is extraction_loss


class TestTwoModels(BenchmarkCases):
    name, tiny = "gro_epoch", f"--rounds=1 --two-models {NARROW}"
    long = f"--rounds=1000 --two-models {NARROW}"
    prints = (r"epoch, two models / plain: \d+\.\d+ ",)
