from benchmarks.cases import BenchmarkCases


class TestScale(BenchmarkCases):
    name, tiny, long = "scale", "--parts 700 --steps=1", "--parts 64 --steps=1000"
    bad = ("--parts all", "'all' is no whole number of 1 or more")
    prints = (r"\| 197 \| \d+ \| \d+ \| \d+ \| \d+ \| \d+\.\d\d \| \d+\.\d\d \| \d+ \|",)

    def test_too_few_users_end_in_one_line(self, capfd):
        status, _, errors = self.run(["--parts", "1024"], capfd)
        assert status == 2
        assert errors == "scale: error: parts: 1024 leaves too few users for 26744 items; at most 700\n"
