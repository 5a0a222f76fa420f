import csv

import pytest
from benchmarks.cases import BenchmarkCases
from benchmarks.test_effect import LONG, SETTINGS

WORDS = f"--settings base {SETTINGS}".replace("--gro_epochs=1", "--gro_epochs=2")


@pytest.mark.every
class TestEffectAnalysis(BenchmarkCases):
    name, own_process, writes = "effect_analysis", True, ("effect.csv", "stages")
    tiny, long = WORDS, f"--settings base {LONG}"
    bad = ("--settings bass", "invalid choice: 'bass'")
    prints = (r"'setting': 'base', 'epoch': 2, 'lambda': 1.0",)

    def test_every_epoch_has_a_row(self, capfd):
        self.run(self.words(self.tiny), capfd)
        with open(self.work / "effect.csv", newline="") as file:
            assert [row["epoch"] for row in csv.DictReader(file)] == ["1", "2"]
