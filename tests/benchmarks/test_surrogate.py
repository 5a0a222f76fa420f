from benchmarks.cases import NARROW, BenchmarkCases

SETTINGS = f"--target_epochs=1 --epochs=1 --MAX_ITEM_LIST_LENGTH=6 {NARROW}"


class TestSurrogate(BenchmarkCases):
    name, tiny = "surrogate", f"--sequences=8 --rounds=1 --seeds 1 {SETTINGS}"
    long = f"--sequences=100 --rounds=1000 {SETTINGS}"
    prints = (
        r"BERT4Rec, 48 lists of a target after 1 epochs, \d+ steps",
        r"epoch, RecBole's forward pass, padded / ours: \d+\.",
        r"epoch, this package's, padded / ours: \d+\.",
        r"ours: held-out agreement@10 0\.\d{3}",
        r"one length per batch: held-out agreement@10 0\.\d{3}",
    )
