from benchmarks.cases import BenchmarkCases


class TestEstimate(BenchmarkCases):
    name, tiny = "estimate", "--items 200 --models GRU4Rec --users=20"
    long = "--items 1700 --users=300"
    bad = ("--items some", "'some' is no whole number of 1 or more")
    prints = (r"GRU4Rec +\| +200 \| surrogate +\| +\d+\.\d\d \|", r"the estimate itself +\| +\d+\.\d\d \|")
