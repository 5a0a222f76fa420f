from benchmarks.cases import BenchmarkCases

COMPARED = ("known lists, table", "popularity, table", "own history, table", "model, table", "validation of a trainer")


class TestEvaluation(BenchmarkCases):
    name, tiny, long = "evaluation", "--users=60 --items=300 --rounds=1", "--users=2000 --items=300 --rounds=1000"
    prints = (r"60 rows, 300 items", *(rf"{side}.*metrics equal" for side in COMPARED), r"a run's five, table / lists")

    def test_items_that_cannot_all_occur_end_in_one_line(self, capfd):
        status, _, errors = self.run(["--users=10", "--items=121"], capfd)
        assert status == 2
        assert errors == "evaluation: error: items: 121 do not occur with 10 users; at most 12 per user\n"
