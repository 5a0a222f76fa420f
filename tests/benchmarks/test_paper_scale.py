import pytest
from benchmarks.cases import BenchmarkCases


@pytest.mark.every
class TestPaperScale(BenchmarkCases):
    name, tiny, long = "paper_scale", "--datasets steam --steps=1", "--steps=1000"
    bad = ("--datasets=ml-2m", "invalid choice: 'ml-2m'")
    prints = (
        r"an epoch of RecBole's BERT4Rec takes \d+\.\d times",
        r"\| steam \| [\d.e+]+, [\d.e+]+ \| [\d.]+ \| [\d.]+ \(15 epochs\)",
    )
