import pytest
from benchmarks.cases import TINY, BenchmarkCases


class TestQueries(BenchmarkCases):
    name, writes_files = "queries", False
    tiny = f"--model=GRU4Rec --sequences=4 --rounds=1 --MAX_ITEM_LIST_LENGTH=6 {TINY} --hidden_size=16"
    long = f"--sequences=100 --rounds=1000 {TINY}"
    prints = (r"time, padded / ours: \d+\.", r"time, anew / ours: \d+\.", r"\d+ sequences per second")

    @pytest.mark.parametrize("model", ["GRU4Rec", "BERT4Rec"])
    def test_all_sides_return_the_same_lists(self, model, capfd):
        words = f"--model={model} --sequences=4 --rounds=1 --MAX_ITEM_LIST_LENGTH=6 {TINY}"
        _, output, _ = self.run(self.words(words), capfd)
        sides = 2 if model == "GRU4Rec" else 1
        assert output.count("100.00% of the sequences the same, 100.00% of the list entries") == sides
