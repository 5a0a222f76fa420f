import pytest
from benchmarks.cases import TINY, BenchmarkCases

SERVED = "--models GRU4Rec --workers 1 --histories 1"


@pytest.mark.every
class TestHTTPService(BenchmarkCases):
    name, own_process = "http_service", True
    small = f"{SERVED} --clients=2 --epochs=1 {TINY} --defense=none --embedding_size=16 --hidden_size=16"
    tiny, long = f"{small} --seconds=1", f"{small} --seconds=1000"
    bad = ("--models GRU5Rec", "unknown model 'GRU5Rec'")
    prints = (r"GRU4Rec, 1 worker, 1 history: full load +\d+ requests/s",)
