from benchmarks.cases import BenchmarkCases

COMPARED = ("known lists, table", "popularity, table", "own history, table", "model, table", "validation of GRU4Rec")


class TestEvaluation(BenchmarkCases):
    name, tiny, long = "evaluation", "--users=60 --items=300 --rounds=1", "--users=2000 --items=300 --rounds=1000"
    prints = (r"60 rows, 300 items", *(rf"{side}.*metrics equal" for side in COMPARED), r"a run's five, table / lists")

    def test_ours_alone(self, capfd):
        status, output, _ = self.run(self.words("--users=60 --items=300 --alone"), capfd)
        assert status == 0
        assert "60 rows, 300 items" in output
        assert output.count(" s\n") == 4

    def test_validation_alone(self, capfd):
        words = "--users=60 --items=300 --history=20 --rounds=1 --model=BERT4Rec --validation"
        status, output, _ = self.run(self.words(words), capfd)
        assert status == 0
        assert "validation of BERT4Rec, RecBole's / ours" in output
        assert output.count("metrics equal") == 1
