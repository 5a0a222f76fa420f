from recbole_gro.http_service.detect_report import report_blocks, write_detection

THRESHOLDS = {"threshold": 1.5, "window_threshold": 2.5}
NONE = {"histories": 0, "unusual": 0}
LOOKS = dict.fromkeys(["1", "2", "3", "5", "10", "20"], NONE)
LOOKS |= {"3": {"histories": 30, "unusual": 4}, "5": {"histories": 2, "unusual": 0}}


def test_a_report_without_an_alarm_says_none():
    key = {"key": "", "histories": 3, "flagged": 0, "looks": LOOKS, "log_evidence": -0.5, "alarm": False}
    found = {"flagged_histories": 0, "keys": [key], "windows": 0, "flagged_windows": [], "histories": []} | THRESHOLDS
    results = {
        "false_positive_rate": 0.01,
        "window": 9,
        "queries": 3,
        "histories": 3,
        "left_out": 0,
        "unanswered": 3,
        "unknown_items": 2,
    }
    results |= {"benign": "x", "detectors": {"mmd": found}}
    blocks = list(report_blocks(results))
    assert blocks[2].rows == [["mmd", "0", "0.0%", "0 of 0", "none"]]
    assert len(blocks) == 6
    assert blocks[4].text == "Scores above 1.5 flag a history, scores above 2.5 a window."
    [first, *_] = report_blocks(results | {"queries": 1, "histories": 1})
    assert first.text.startswith("1 query makes 1 history, ")


def test_all_flagged_histories_are_in_the_csv_file(tmp_path, capsys):
    same = {"key": "ann", "history": 1, "items": 5, "alarm_after": 2}
    rows = [{**same, "time": f"t{n}", "query": n + 100, "score": 9.0 - n} for n in range(25)]
    key = {"key": "ann", "histories": 30, "flagged": 25, "looks": LOOKS, "log_evidence": 50.0, "alarm": True}
    window = {"key": "ann", "time": "t3", "query": 103, "history": 1, "score": 4.5}
    found = {
        "flagged_histories": 25,
        "keys": [key],
        "windows": 2,
        "flagged_windows": [window],
        "histories": rows,
    } | THRESHOLDS
    results = {
        "false_positive_rate": 0.01,
        "window": 9,
        "queries": 30,
        "histories": 30,
        "left_out": 0,
        "unanswered": 3,
        "unknown_items": 2,
    }
    write_detection({**results, "log": "a/own.csv", "benign": "x", "detectors": {"mmd": found}}, tmp_path)
    lines = (tmp_path / "results.csv").read_text().splitlines()
    assert lines[:2] == ["detector,key,time,query,history,items,alarm_after,score", "mmd,ann,t0,100,1,5,2,9.0"]
    assert len(lines) == 26
    report = (tmp_path / "report.md").read_text()
    assert "an alarm above 4.61" in report
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in report.splitlines()]
    assert ["ann", "30", "25", "none", "none", "4 of 30", "0 of 2", "none", "none", "50.0", "yes"] in rows
    assert "30 queries make 30 histories" in report
    assert "Scores above 1.5 flag a history, scores above 2.5 a window." in report
    assert sum("| ann" in line for line in report.splitlines()) == 1 + 1 + 20
    assert "83.3%" in capsys.readouterr().out
