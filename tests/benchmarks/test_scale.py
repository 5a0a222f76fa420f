from benchmarks.cases import BenchmarkCases


class TestScale(BenchmarkCases):
    name, tiny, long = "scale", "--parts 768 --steps=1", "--parts 64 --steps=1000"
    bad = ("--parts all", "'all' is no whole number of 1 or more")
    prints = (r"\| 180 \| \d+ \| \d+ \| \d+ \| \d+\.\d\d \| \d+ \|",)
