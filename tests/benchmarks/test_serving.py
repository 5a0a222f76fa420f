from benchmarks.cases import BenchmarkCases


class TestServing(BenchmarkCases):
    name, tiny, writes_files = "serving", "--items=2000 --sequences=8 --rounds=1", False
    long = "--items=2000 --sequences=1000 --rounds=1000"
    prints = (
        r"BERT4Rec, 2000 items",
        r"800 lists of 1682 items, all / by groups: \d+\..*same: True",
        r"tail_decoy: \d+\.\d ms more",
    )
