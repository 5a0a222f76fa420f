import csv

import pytest
from benchmarks.cases import BenchmarkCases

SMALL = (
    "--lambdas 1 --seeds 1 --gro_epochs=2 --MAX_ITEM_LIST_LENGTH=6 --n_layers=1 --hidden_size=16 --inner_size=16 "
    "--file={work}/dynamics.csv --folder={work}/stages"
)


@pytest.mark.every
class TestSwapDynamics(BenchmarkCases):
    name, own_process, writes = "swap_dynamics", True, ("dynamics.csv", "dynamics.png", "stages")
    tiny, long = f"{SMALL} --epochs=1 --picture={{work}}/dynamics.png", f"{SMALL} --epochs=1000"
    bad = ("--lambdas=much", "invalid float value: 'much'")
    prints = (r"'lambda': 1.0, 'seed': 1, 'epoch': 2", r"dynamics\.png")

    def test_every_epoch_has_a_row(self, capfd):
        self.run(self.words(self.tiny), capfd)
        with open(self.work / "dynamics.csv", newline="") as file:
            rows = list(csv.DictReader(file))
        assert [row["epoch"] for row in rows] == ["1", "2"]
        for row in rows:
            assert (
                0
                <= float(row["active positions"])
                <= float(row["positions with g > 0"]) + float(row["positions with g < 0"])
            )
            assert 0 <= float(row["swap targets reached"]) <= 1
