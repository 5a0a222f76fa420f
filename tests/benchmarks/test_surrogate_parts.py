from benchmarks.cases import BenchmarkCases


class TestSurrogateParts(BenchmarkCases):
    name = "surrogate_parts"
    tiny, long = "--model=GRU4Rec --steps=1 --sequences=40", "--steps=100000 --sequences=1000"
    bad = ("--steps=0", "'0' is no whole number of 1 or more")
    prints = (r"GRU4Rec: \d+\.\d ms a step of \d+ lists", r"linear layers: \d+\.\d %", r"all else: \d+\.\d %")

    def test_too_few_sequences_for_the_warm_up_end_in_one_line(self, capfd):
        status, _, errors = self.run(["--model=GRU4Rec", "--sequences=4"], capfd)
        assert status == 2
        assert "sequences: 4 make 1 batches; more than 3 are needed" in errors
