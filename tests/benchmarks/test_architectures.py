import pytest
from benchmarks.cases import BenchmarkCases
from benchmarks.test_effect import LONG, SETTINGS

ONE = "--targets BERT4Rec --surrogates GRU4Rec --defenses none"


@pytest.mark.every
class TestArchitectures(BenchmarkCases):
    name, own_process, writes = "architectures", True, ("effect.csv", "stages")
    tiny, long = f"{ONE} {SETTINGS}", f"{ONE} {LONG}"
    bad = ("--targets BERT5Rec", "invalid choice: 'BERT5Rec'")
    prints = (r"BERT4Rec none GRU4Rec 1 validation NDCG@10, percent: target \d+\.\d\d, surrogate \d+\.\d\d",)
