from benchmarks.cases import NARROW, BenchmarkCases

SETTINGS = f"{NARROW} --MAX_ITEM_LIST_LENGTH=10"


class TestPlainEpoch(BenchmarkCases):
    name, tiny, long = "plain_epoch", f"--rounds=1 --minutes=0 {SETTINGS}", f"--minutes=99 {SETTINGS}"
    prints = (
        r"rows per epoch: stock \d+, ours \d+",
        r"epoch, stock / ours: \d+\.",
        r"stock: validation NDCG@10 0\.\d{4}",
        r"time to that quality, stock / ours: \d+\.\d",
    )
