from benchmarks.cases import NARROW, BenchmarkCases

from recbole_gro.trainer import epoch_checkpoint
from recbole_gro.utils.files import save_state

SETTINGS = f"--query_sequences=4 --MAX_ITEM_LIST_LENGTH=6 --gro_head_k=5 {NARROW}"


class TestResume(BenchmarkCases):
    name, tiny, long = "resume", f"--epochs=1 --gro_epochs=2 {SETTINGS}", f"--epochs=1000 {SETTINGS}"
    bad = ("--epochs=0", "epochs: 0 is not allowed")
    prints = (r"epoch of target: \d+ ms to keep", r"epoch of target-gro_decoys: \d+ ms", r"query: \d+ ms to keep")

    def test_writes_are_timed_in_the_benchmark_alone(self, capfd):
        self.run(self.words(self.bad[0]), capfd)
        assert epoch_checkpoint.save_state is save_state
