import pytest
from benchmarks.cases import BenchmarkCases
from benchmarks.test_effect import SETTINGS

WORDS = f"--targets BERT4Rec --surrogates GRU4Rec --defenses none {SETTINGS.replace('effect.csv', 'rows.csv')}"


@pytest.mark.every
class TestArchitectures(BenchmarkCases):
    name, own_process, writes = "architectures", True, ("rows.csv", "stages")
    tiny, long = WORDS, f"{WORDS} --epochs=1000"
    bad = ("--targets BERT5Rec", "invalid choice: 'BERT5Rec'")
    prints = (r"BERT4Rec none GRU4Rec 1 validation NDCG@10, percent: target \d+\.\d\d, surrogate \d+\.\d\d",)
