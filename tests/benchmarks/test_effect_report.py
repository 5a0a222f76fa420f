import shutil

import pytest
from benchmarks.cases import BENCHMARKS, BenchmarkCases

PAGE = BENCHMARKS.parent / "results" / "effect.md"


class TestEffectReport(BenchmarkCases):
    name, tiny, writes = "effect_report", "--page={work}/effect.md", ("effect", "effect.md")
    bad = ("--page={work}/absent.md", "absent.md does not exist")
    prints = (r"trade_off\.png", r"lambda\.png", r"epochs\.png")

    @pytest.fixture(autouse=True)
    def _page(self, _places):
        shutil.copy(PAGE, self.work)

    def test_the_page_in_results_is_of_the_files(self, capfd):
        self.run(self.words(self.tiny), capfd)
        assert (self.work / "effect.md").read_text() == PAGE.read_text()

    test_an_interrupted_run_leaves_nothing = None  # it measures nothing
