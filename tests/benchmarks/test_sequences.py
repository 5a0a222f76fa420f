from benchmarks.cases import TINY, BenchmarkCases

SETTINGS = f"--models GRU4Rec {TINY} --embedding_size=16 --hidden_size=16"


class TestSequences(BenchmarkCases):
    name, tiny, long = "sequences", f"--rounds=1 --seconds=0 {SETTINGS}", f"--rounds=1000 {SETTINGS}"
    prints = (
        r"\d+ prefixes, \d+ sequences",
        r"epoch, prefixes / sequences: \d+\.\d+ ",
        r"prefixes: best validation score 0\.\d{4} at \d+ s; 1 epochs, time was up",
        r"sequences: best validation score 0\.\d{4} at \d+ s; 1 epochs, time was up",
        r"reached by sequences",
    )

    def test_a_curve_ends_after_epochs_without_a_better_score(self, capfd):
        _, output, _ = self.run(self.words(f"--parts curves --patience=1 --seconds=99 {SETTINGS}"), capfd)
        assert output.count("1 epochs without a better one") == 2
