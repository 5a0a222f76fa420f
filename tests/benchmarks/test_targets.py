"""Targets: the table of what is in the file, and rows that are missing are trained."""

from benchmarks.cases import TINY, BenchmarkCases, load

SETTINGS = f"--file={{work}}/targets.csv {TINY} --embedding_size=16 --hidden_size=16"


class TestTargets(BenchmarkCases):
    name, writes = "targets", ("targets.csv",)
    tiny, long = f"--models GRU4Rec --epochs=1 {SETTINGS}", f"--models GRU4Rec --epochs=1000 {SETTINGS}"
    bad = ("--models=GRU5Rec", "unknown model 'GRU5Rec'. Did you mean 'GRU4Rec'?")
    prints = (r"GRU4Rec 1 --learning_rate=\d.*valid ndcg@10 \d+\.\d\d", r"\| GRU4Rec +\| \d+\.\d\d / \d+\.\d\d +\|")

    def test_rows_that_are_there_are_not_trained_again(self, capfd):
        words = self.words(self.tiny)
        self.run(words, capfd)
        before = (self.work / "targets.csv").read_bytes()
        _, output, _ = self.run([*words, "--seeds", "1", "2"], capfd)
        assert (self.work / "targets.csv").read_bytes().startswith(before)
        assert len((self.work / "targets.csv").read_text().splitlines()) == 3
        assert "GRU4Rec 1 --" not in output
        assert "GRU4Rec 2 --" in output

    def test_the_table_has_means_over_seeds_in_percent_best_first(self):
        targets = load("targets")
        low, high = ({"model": "NARM", "setting": f"--learning_rate={rate}"} for rate in (0.1, 0.2))
        quality = {name: 0.5 for name in targets.QUALITY}
        rows = [
            {**low, **quality, "valid ndcg@10": "0.25", "converged": "True"},
            {**high, **quality, "valid ndcg@10": "0.5", "converged": "True"},
            {**high, **quality, "valid ndcg@10": "0.25", "converged": "False"},
        ]
        first, second = targets.table(rows).splitlines()[2:]
        assert [cell.strip() for cell in first.split("|")[2:6]] == ["50.00 / 37.50", "50.00 / 50.00", "", "1 of 2"]
        assert "--learning_rate=0.1" in second
