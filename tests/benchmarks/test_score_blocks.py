from benchmarks.cases import BenchmarkCases


class TestScoreBlocks(BenchmarkCases):
    name = "score_blocks"
    tiny = "--models NARM --items 900 --steps 1 --rounds 1 --length 5 --embedding_size=8 --hidden_size=8"
    long = "--steps 1000"
    prints = (
        r"\| NARM \| target \| 900 \| \d+\.\d\d \(\d+\.\d\d to \d+\.\d\d\) \| \de[+-]\d\d \|",
        r"\| NARM \| GRO \| 900 \|",
    )
