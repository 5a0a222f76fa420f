import csv
import itertools
import json
import random
import re

import numpy as np
import pytest
import torch

from recbole_gro import UserError
from recbole_gro.detection.calibration import CalibratedDetector
from recbole_gro.detection.histories import padded
from recbole_gro.detection.traces import Tracer
from recbole_gro.http_service.detect import calibrate, detection_settings, run_detect, token_ids
from recbole_gro.serving.saved_target import load_target

DETECTORS = {"transitions", "coverage", "mmd", "prada"}
SETTINGS = {"false_positive_rate": "0.05", "detection_window": "10"}


@pytest.fixture
def log(tmp_path):
    """A log of two keys: ann sends every prefix of histories of tiny's users, bob repeats one item."""
    draw, rows = random.Random(1), []
    for _ in range(30):
        item, history = draw.randrange(30), []
        for _ in range(8):
            history.append(f"i{item}")
            rows.append(("ann", " ".join(history)))
            item = (item + draw.choice([1, 1, 2, 3])) % 30
    rows += [("bob", " ".join([f"i{draw.randrange(30)}"] * 8)) for _ in range(20)]
    file = tmp_path / "own.csv"
    file.write_text("key,history\n" + "".join(f"{key},{history}\n" for key, history in rows))
    return str(file)


def test_a_log_is_judged_by_history_window_and_key(checkpoint_of, log, tmp_path):
    folder = tmp_path / "out"
    results = run_detect(checkpoint_of("GRU4Rec"), log, output=str(folder), settings=SETTINGS)
    assert json.loads((folder / "results.json").read_text()) == results
    assert set(results["detectors"]) == DETECTORS
    assert (results["queries"], results["window"], results["false_positive_rate"]) == (260, 10, 0.05)
    found = results["detectors"]["coverage"]
    assert [key["key"] for key in found["keys"]] == ["ann", "bob"]
    assert all(row["score"] >= round(found["threshold"], 3) for row in found["histories"])
    assert all(part["score"] > found["window_threshold"] for part in found["flagged_windows"])
    assert [key["alarm"] for key in found["keys"]] == [False, True]
    ann, bob = found["keys"]
    assert (ann["histories"], bob["histories"]) == (30, results["histories"] - 30)
    assert found["windows"] == 3 + bob["histories"] // 10
    assert {row["key"] for row in found["histories"][: bob["flagged"]]} == {"bob"}
    report = (folder / "report.md").read_text()
    assert "| coverage" in report
    assert "bob" in report
    with (folder / "results.csv").open() as lines:
        rows = list(csv.DictReader(lines))
    assert len(rows) == sum(one["flagged_histories"] for one in results["detectors"].values())
    assert all(int(row["alarm_after"]) <= int(row["items"]) for row in rows)
    with open(log) as lines:
        logged = list(csv.DictReader(lines))
    for row in rows:  # back to the row that it comes from
        of_log = logged[int(row["query"]) - 1]
        assert (row["key"], int(row["items"])) == (of_log["key"], len(of_log["history"].split()))


def test_lists_of_the_length_of_a_service_are_judged_as_it_judges_them(checkpoint_of, log, tmp_path):
    pytest.importorskip("starlette")
    from recbole_gro.http_service.options import Options
    from recbole_gro.http_service.service import DefendedService

    rate, served = 0.05, {"served_k": "4"}
    options = {"detector": "transitions", "false_positive_rate": rate, "ledger": str(tmp_path / "own.db")}
    service = DefendedService(Options(checkpoint_of("GRU4Rec"), settings=served, **options))
    threshold = round(service.detector.threshold, 4)
    service.close()

    def detected(name, settings):
        own = {"detector": "transitions", "false_positive_rate": rate, **settings}
        results = run_detect(checkpoint_of("GRU4Rec"), log, output=str(tmp_path / name), settings=own)
        return results["detectors"]["transitions"]["threshold"]

    assert detected("served", served) == threshold
    assert detected("of the run", {}) != threshold


def test_settings_choose_detectors_and_benign_users(checkpoint_of, log, tmp_path, tiny_data_path):
    benign = tiny_data_path / "tiny" / "tiny.inter"
    settings = {**SETTINGS, "detector": "coverage"}
    given = run_detect(checkpoint_of("GRU4Rec"), log, str(benign), str(tmp_path / "a"), settings)
    own = run_detect(checkpoint_of("GRU4Rec"), log, None, str(tmp_path / "b"), settings)
    assert set(given["detectors"]) == {"coverage"}
    assert given["detectors"] == own["detectors"]  # the same users


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"detector": "nobody"}, "unknown detector 'nobody'"),
        ({"false_positive_rate": "2"}, "false_positive_rate: 2 is not allowed; it takes a number above 0 and below 1"),
        ({"false_positive_rate": "0"}, "false_positive_rate: 0 is not allowed; it takes a number above 0 and below 1"),
        ({"head_k": "3"}, "head_k: no setting of detection; it reads detection_window, detector, false_positive_rate"),
        ({"false_positive_rate": "0.001"}, "too few for false_positive_rate=0.001, which takes 999"),
    ],
)
def test_invalid_settings_are_refused_and_nothing_is_written(checkpoint_of, log, tmp_path, settings, message):
    with pytest.raises(UserError, match=message):
        run_detect(checkpoint_of("GRU4Rec"), log, output=str(tmp_path / "out"), settings=settings)
    assert not (tmp_path / "out").exists()


def test_absent_users_are_named(checkpoint_of, log, tmp_path):
    with pytest.raises(UserError, match=r"benign: none\.inter: no such file"):
        run_detect(checkpoint_of("GRU4Rec"), log, "none.inter")


def test_a_log_of_few_histories_has_no_window(checkpoint_of, tmp_path):
    file = tmp_path / "own.csv"
    file.write_text("history\ni1 i2 i3\ni4\n")
    settings = {**SETTINGS, "detector": "mmd"}
    results = run_detect(checkpoint_of("GRU4Rec"), str(file), output=str(tmp_path / "out"), settings=settings)
    assert (results["detectors"]["mmd"]["windows"], results["histories"]) == (0, 2)


def test_users_of_another_catalogue_are_refused(checkpoint_of, log, write_dataset):
    folder = write_dataset({"ann": ["x", "y"], "bob": ["y", "x"]}, name="mine")
    with pytest.raises(UserError, match="no user has an item of the target's catalogue"):
        run_detect(checkpoint_of("GRU4Rec"), log, str(folder / "mine" / "mine.inter"))


def test_users_most_of_whose_items_are_of_another_catalogue_are_refused(checkpoint_of, log, write_dataset, capsys):
    def judged(histories):
        folder = write_dataset(histories, name="mine")
        settings = {**SETTINGS, "detector": "coverage"}
        return run_detect(checkpoint_of("GRU4Rec"), log, str(folder / "mine" / "mine.inter"), settings=settings)

    users = {f"u{user}": [f"i{(user + step) % 30}" for step in range(4)] for user in range(60)}
    with pytest.raises(UserError, match=r"^benign: 360 of the 600 items in .* are not in the target's catalogue; give"):
        judged({user: [*items, *"abcdef"] for user, items in users.items()})
    assert judged({user: [*items, *"ab"] for user, items in users.items()})["detectors"]
    printed = "benign: 120 of the 360 items in .* are not in the target's catalogue; thresholds .* of 60 of 60 users"
    assert re.search(printed, capsys.readouterr().out)


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        ([], ""),
        (["ann,i1 x"],
         "1 item of 1 history that the catalogue does not have; line 262: 'x' in the history 'i1 x' is no item of the "
         "catalogue, which has 'i1'; items stand between blanks, those with blanks in a JSON list"),
        (["ann,x", "ann,", "ann,i1 y z"],
         "2 histories without an item of the target's catalogue, and 3 items of 2 histories that the catalogue does "
         "not have; line 262: 'x' is no item of the catalogue, which has 'i1'; items stand between blanks, those with "
         "blanks in a JSON list"),
        (["ann,"], "1 history without an item of the target's catalogue"),
    ],
)  # fmt: skip
def test_what_is_left_out_of_a_log_is_said_in_one_line(checkpoint_of, log, tmp_path, capsys, rows, said):
    with open(log, "a") as file:
        file.writelines(f"{row}\n" for row in rows)
    settings = {**SETTINGS, "detector": "coverage"}
    run_detect(checkpoint_of("GRU4Rec"), log, output=str(tmp_path / "out"), settings=settings)
    out = re.sub(r"which has 'i\d+'", "which has 'i1'", capsys.readouterr().out)
    lines = [line for line in out.splitlines() if line.startswith("log: ")]
    assert lines == [f"log: left out: {said}"] * bool(said)


def test_a_folder_with_other_work_is_left_alone(checkpoint_of, log, tmp_path):
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "results.json").write_text("mine")
    with pytest.raises(UserError, match=r"^output_dir: .*run is not empty; name a new folder"):
        run_detect(checkpoint_of("GRU4Rec"), log, output=str(tmp_path / "run"), settings=SETTINGS)
    assert [file.name for file in (tmp_path / "run").iterdir()] == ["results.json"]
    assert (tmp_path / "run" / "results.json").read_text() == "mine"


def test_a_file_in_place_of_the_output_folder_is_refused(checkpoint_of, log, tmp_path):
    (tmp_path / "taken").write_text("")
    with pytest.raises(UserError, match="taken is a file; it takes a folder"):
        run_detect(checkpoint_of("GRU4Rec"), log, output=str(tmp_path / "taken"))


def test_a_folder_that_cannot_be_made_is_named_before_the_log_is_judged(checkpoint_of, log, monkeypatch):
    monkeypatch.setattr("recbole_gro.http_service.detect.calibrate", None)
    with pytest.raises(UserError, match=r"^output_dir: /proc/nowhere cannot be made"):
        run_detect(checkpoint_of("GRU4Rec"), log, output="/proc/nowhere", settings=SETTINGS)


def test_a_checkpoint_without_tokens_is_refused(checkpoint_of, log, monkeypatch):
    import recbole_gro.http_service.detect as module

    target = module.load_target(checkpoint_of("GRU4Rec"))
    target.item_tokens = None
    monkeypatch.setattr(module, "load_target", lambda file: target)
    with pytest.raises(UserError, match="target: the checkpoint holds no item tokens"):
        run_detect("surrogate.pth", log)


def test_a_history_that_grows_beyond_what_the_model_reads_counts_once(checkpoint_of, tmp_path):
    draw, histories = random.Random(2), {}
    for key in ("ann", "bob"):
        item = draw.randrange(30)
        histories[key] = [(item := (item + draw.choice([1, 1, 2, 3])) % 30) for _ in range(40)]
    histories["bob"][20:28] = [7] * 8
    versions = [(key, [f"i{item}" for item in row[:n]]) for key, row in histories.items() for n in range(1, 41)]
    log = tmp_path / "own.csv"
    log.write_text("key,history\n" + "".join(f"{key},{' '.join(row)}\n" for key, row in versions))
    results = run_detect(checkpoint_of("GRU4Rec"), str(log), output=str(tmp_path / "out"), settings=SETTINGS)
    assert (results["queries"], results["histories"]) == (80, 2)
    target = load_target(checkpoint_of("GRU4Rec"))
    own, ids = detection_settings(target, SETTINGS), token_ids(target)
    tracer = Tracer(target.model, target.config["served_k"])
    for name, detector in calibrate(target, tracer, None, own).items():
        found = results["detectors"][name]
        assert [(key["key"], key["histories"]) for key in found["keys"]] == [("ann", 1), ("bob", 1)]
        assert found["windows"] == 0
        after = {}  # the first alarm of any version, each of them judged alone
        for key, row in versions:
            alarm = int(detector.judged(tracer.trace(padded([[ids[item] for item in row]], tracer.longest))).alarms[0])
            if alarm:
                after.setdefault(key, []).append(max(0, len(row) - tracer.longest) + alarm)
        assert {one["key"]: one["alarm_after"] for one in found["histories"]} == {
            key: min(places) for key, places in after.items()
        }
        assert all(one["items"] == 40 for one in found["histories"])


def test_windows_that_slide_along_histories_are_judged_as_those(checkpoint_of, tmp_path):
    """As clients do that send the 5 most recent items at each step."""
    draw = torch.Generator().manual_seed(6)
    users = torch.randint(30, (8, 25), generator=draw).tolist()
    sent = [[f"i{item}" for item in user[max(0, end - 5) : end]] for end in range(1, 26) for user in users]
    file = tmp_path / "own.csv"
    file.write_text("history\n" + "\n".join(map(" ".join, sent)) + "\n")
    settings = {**SETTINGS, "detector": ["transitions", "coverage"], "detection_window": 8}
    results = run_detect(checkpoint_of("GRU4Rec"), str(file), output=str(tmp_path / "out"), settings=settings)
    assert (results["queries"], results["histories"]) == (200, 8)
    for found in results["detectors"].values():
        assert found["windows"] == 1
        assert all(one["items"] == 25 and 1 <= one["alarm_after"] <= 25 for one in found["histories"])


def test_a_key_whose_thousands_of_histories_are_all_flagged_is_flagged(checkpoint_of, tmp_path, monkeypatch):
    judged = CalibratedDetector.judged
    all_flagged = {"alarms": torch.ones(2000, dtype=torch.long)}
    monkeypatch.setattr(CalibratedDetector, "judged", lambda *own: judged(*own)._replace(**all_flagged))
    histories = itertools.islice(itertools.product(range(30), repeat=3), 2000)
    file = tmp_path / "own.csv"
    file.write_text("history\n" + "\n".join(" ".join(f"i{item}" for item in row) for row in histories) + "\n")
    settings = {**SETTINGS, "detector": "coverage"}
    results = run_detect(checkpoint_of("GRU4Rec"), str(file), output=str(tmp_path / "out"), settings=settings)
    [key] = results["detectors"]["coverage"]["keys"]
    assert (key["flagged"], key["alarm"]) == (2000, True)
    reached = {n: of["histories"] for n, of in key["looks"].items()}
    assert reached == {"1": 2000, "2": 2000, "3": 2000, "5": 0, "10": 0, "20": 0}


def test_a_detector_that_draws_gives_the_same_figures_again_and_leaves_the_generators(
    checkpoint_of, log, tmp_path, guess
):
    checkpoint, settings = checkpoint_of("GRU4Rec"), {**SETTINGS, "detector": guess, "false_positive_rate": "0.95"}
    found = []
    for seed in (1, 2):
        torch.manual_seed(seed), np.random.seed(seed), random.seed(seed)
        found.append(run_detect(checkpoint, log, output=str(tmp_path / str(seed)), settings=settings))
        after = float(torch.rand(())), np.random.random(), random.random()
        torch.manual_seed(seed), np.random.seed(seed), random.seed(seed)
        assert after == (float(torch.rand(())), np.random.random(), random.random())
    assert found[0] == found[1]
    assert 0 < found[0]["detectors"][guess]["flagged_histories"] < found[0]["histories"]
