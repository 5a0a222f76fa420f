from benchmarks.cases import BenchmarkCases


class TestPickedScores(BenchmarkCases):
    name = "picked_scores"
    tiny = "--models NARM --items 900 --steps 1 --rounds 1 --length 5 --embedding_size=8 --hidden_size=8"
    long = "--steps 1000"
    prints = (
        r"\| NARM \| GRO \| 900 \| \d+\.\d\d \(\d+\.\d\d to \d+\.\d\d\) \| \de[+-]\d\d \|",
        r"\| NARM \| surrogate \| 900 \|",
    )
