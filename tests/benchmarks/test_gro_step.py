from benchmarks.cases import BenchmarkCases


class TestGROStep(BenchmarkCases):
    name, tiny, long, writes_files = "gro_step", "--sizes 4,30,5 --rounds=1", "--sizes 50,3416,100 --rounds=1000", False
    prints = (
        r"same A' where g != 0 \(\d+% of rows\): True",
        r"time, dense / closed: \d+\.",
        r"memory added, dense \d+",
    )

    def test_a_list_longer_than_the_catalogue_ends_in_one_line(self, capfd):
        status, _, errors = self.run(["--sizes", "4,30,40"], capfd)
        assert status == 2
        assert "--sizes: invalid size value: '4,30,40'" in errors
