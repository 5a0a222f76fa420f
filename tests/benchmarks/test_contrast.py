import csv

import pytest
from benchmarks.cases import BenchmarkCases

GRID = """
title: Tiny
figure: ownership
vary: {model: [GRU4Rec, SASRec]}
seeds: [1]
fixed: {epochs: 1, served_k: 20, surrogate_model: GRU4Rec, surrogate_epochs: 1, query_sequences: 10, query_length: 4}
ownership:
  references: [2]
  probes: 20
  copies: [{attacker: standard+mixed}]
  changed: []
  avoiding: []
  small: {count: 0, model: GRU4Rec}
"""


@pytest.mark.every
class TestContrast(BenchmarkCases):
    name, writes = "contrast", ("contrast.csv", "stages", "grid.yaml")
    tiny = "--dataset=tiny --data_path={data} --grid={work}/grid.yaml --file={work}/contrast.csv --folder={work}/stages"
    tiny, long = f"{tiny} --probes=20", f"{tiny} --epochs=1000"
    bad = ("--probes=many", "'many' is no whole number of 1 or more")
    prints = ("copy of another model standard.mixed +1 ", "another architecture +2 ")

    @pytest.fixture(autouse=True)
    def _grid(self, _places):
        (self.work / "grid.yaml").write_text(GRID)

    def test_each_owner_has_a_row_for_each_suspect_and_a_second_run_adds_none(self, capfd):
        for _ in range(2):
            self.run(self.words(self.tiny), capfd)
        with open(self.work / "contrast.csv", newline="") as file:
            rows = list(csv.DictReader(file))
        kinds = ["same architecture", "copy", "another architecture", "another architecture", "copy of another model"]
        for model in ("GRU4Rec", "SASRec"):
            assert sorted(row["kind"] for row in rows if row["model"] == model) == sorted(kinds)
        for row in rows:
            assert row["refused"] or 0 < float(row["p_value"]) <= 1
