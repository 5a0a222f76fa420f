import csv

import pytest
from benchmarks.cases import BenchmarkCases
from benchmarks.test_effect import SETTINGS

FILES = SETTINGS.replace("effect.csv", "effect_analysis.csv")


@pytest.mark.every
class TestEffectAnalysis(BenchmarkCases):
    name, own_process, writes = "effect_analysis", True, ("effect_analysis.csv", "stages")
    tiny, long = f"--settings base {FILES} --gro_epochs=2", f"--settings base {FILES} --epochs=1000"
    bad = ("--settings bass", "invalid choice: 'bass'")
    prints = (r"'setting': 'base', 'epoch': 2, 'lambda': 1.0",)

    def test_every_epoch_has_a_row(self, capfd):
        self.run(self.words(self.tiny), capfd)
        with open(self.work / "effect_analysis.csv", newline="") as file:
            assert [row["epoch"] for row in csv.DictReader(file)] == ["1", "2"]
