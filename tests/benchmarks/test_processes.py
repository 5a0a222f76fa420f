import pytest
from benchmarks.cases import TINY, BenchmarkCases

SETTINGS = f"--models GRU4Rec {TINY} --embedding_size=16 --hidden_size=16"


@pytest.mark.every
class TestProcesses(BenchmarkCases):
    name, own_process = "processes", True
    tiny, long = f"--rounds=1 {SETTINGS}", f"--rounds=1000 {SETTINGS}"
    bad = ("--models GRU5Rec", "unknown model 'GRU5Rec'")
    prints = tuple(rf"GRU4Rec {stage}, one process / two: \d+\.\d+ " for stage in ("target", "GRO", "surrogate"))
