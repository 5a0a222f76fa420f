from benchmarks.cases import BenchmarkCases


class TestScale(BenchmarkCases):
    name, tiny, long = "scale", "--parts 768 --steps=1", "--parts 64 --steps=1000"
    bad = ("--parts all", "invalid int value: 'all'")
    prints = (r"\| 180 \| \d+ \| \d+ \| \d+ \| \d+\.\d\d \| \d+ \|",)
