from benchmarks.cases import BenchmarkCases

COMPARED = ("known lists, table", "popularity, table", "own history, table", "model, table", "validation of a trainer")


class TestEvaluation(BenchmarkCases):
    name, tiny, long = "evaluation", "--users=60 --items=300 --rounds=1", "--users=2000 --items=300 --rounds=1000"
    prints = (r"60 rows, 300 items", *(rf"{side}.*metrics equal" for side in COMPARED), r"a run's five, table / lists")
