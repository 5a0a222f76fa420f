"""The tables of results/detection.md are what the csv files of the experiments hold."""

import re
import statistics

import pytest
from reported import RESULTS, rows_of, values

PAGE = (RESULTS / "detection.md").read_text(encoding="utf-8")
NAMES = {"autoregressive": "`autoregressive`, the paper's", "few_shot+mimic": "`few_shot+mimic`, 1 % of the users"}
FILES = {"BERT4Rec": "detection/bert4rec/results.csv", "SASRec": "detection/sasrec/results.csv"}
DETECTORS = "transitions", "coverage", "mmd", "prada"
OTHERS = "autoregressive", "mixed", "mimic"
# of each row of alarms: the target, the attack as the page names it, and the folder of its csv
ALARMS = {
    ("SASRec", "standard+mixed", ""): "sasrec",
    ("SASRec", "standard+mimic", ""): "sasrec",
    ("SASRec", "few_shot+mimic", ""): "sasrec",
    ("BERT4Rec", "standard+mixed", ""): ".",
    ("BERT4Rec", "standard+mimic", ""): ".",
    ("BERT4Rec", "few_shot+mimic", ""): ".",
    ("BERT4Rec", "standard+mixed+5", ""): "short",
    ("BERT4Rec", "standard+mixed+2", ""): "two",
    ("BERT4Rec", "standard+mixed", ", 500 lists"): "few",
    ("BERT4Rec", "standard+mixed+10", ", 500 lists"): "few",
    ("BERT4Rec", "standard+random+1", ", 1,700 lists"): "one",
    ("BERT4Rec", "standard+mimic+1", ", 1,700 lists"): "one",
    ("BERT4Rec", "few_shot+mimic+1", ", 1,700 lists"): "one",
    ("BERT4Rec", "standard+crawl+1", ", 1,700 lists"): "one",
}


def seen(model, attack, detector, measure, items=None):
    """Return a measure of each seed of the experiment on detection; that after the last item where there are many."""
    attacker = attack if "+" in attack or attack == "oracle" else f"standard+{attack}"
    wanted = {"model": model, "attacker": attacker, "detector": detector, "measure": measure}
    rows = [row for row in rows_of(FILES[model]) if wanted.items() <= row.items()]
    last = items or max((row["items"] for row in rows), key=lambda n: int(n or 0), default="")
    return values(FILES[model], **wanted, items=last) if rows else []


def key_cell(model, attack, detector):
    """Return the lists before the alarm of the key in words."""
    lists, flagged = (seen(model, attack, detector, name) for name in ("lists", "key_flagged"))
    if not any(flagged):
        return "never"
    mean = f"{statistics.mean(n for n, is_flagged in zip(lists, flagged, strict=True) if is_flagged):,.0f}"
    return mean if all(flagged) else f"{mean}, {sum(map(int, flagged))} of {len(flagged)} seeds"


def attack_row(model, attack):
    """Return the row of an attack in the table of a model."""

    def mean(measure, items=None):
        return statistics.mean(seen(model, attack, "transitions", measure, items))

    windows = seen(model, attack, "transitions", "windows")
    window = f"{mean('window_items'):.1f} ({mean('windows'):.0%})" if windows else "no window"
    history = f"{mean('items'):.1f} ({mean('flagged'):.0%})"
    cells = history, key_cell(model, attack, "transitions"), window, f"{mean('auc', '10'):.2f}"
    return f"| {NAMES.get(attack, f'`{attack}`')} | {' | '.join(cells)} | {mean('true_positives', '10'):.0%} |"


def other_rows():
    """Return the rows of the table of the other detectors."""
    rows = {}
    for attack in OTHERS:
        of = [[seen("BERT4Rec", attack, name, measure) for name in DETECTORS] for measure in ("items", "windows")]
        rows["history", attack] = [f"{statistics.mean(each):.1f}" for each in of[0]]
        rows["key", attack] = [key_cell("BERT4Rec", attack, name) for name in DETECTORS]
        rows["window", attack] = [f"{statistics.mean(each):.0%}" for each in of[1]]
    return rows


def false_positive_rows():
    """Return the rows of the table of false positives."""
    rows = []
    for model in ("BERT4Rec", "SASRec"):
        for detector in DETECTORS:
            once = seen(model, "mixed", detector, "users_flagged")
            ever, windows, own, shared = (
                seen(model, "mixed", detector, name)
                for name in ("users_flagged_ever", "user_windows", "own_keys_flagged", "shared_keys_flagged")
            )
            name = model if detector == DETECTORS[0] else ""
            cells = [f"{100 * statistics.mean(each):.2f}" for each in (ever, once, windows, own, shared)]
            rows.append("| " + f"{name} | `{detector}` | ".lstrip() + " | ".join(cells) + " |")
    return rows


def alarm_row(model, attacker, lists):
    """Return the row of an attack in the table of lists after an alarm."""

    def measured(decoys, measure):
        file = f"detection/alarms/{ALARMS[model, attacker, lists]}/results.csv"
        return values(file, model=model, attacker=attacker, decoys=decoys, of="surrogate", measure=measure)

    cells = []
    for decoys in ("none", "history", "key"):
        ndcg = [100 * value for value in measured(decoys, "ndcg@10")]
        agreement = statistics.mean(measured(decoys, "agreement@10"))
        cells.append(f"{statistics.mean(ndcg):.2f} ± {statistics.stdev(ndcg):.2f} ({100 * agreement:.0f} %)")
        if decoys != "none":
            cells.append(f"{statistics.mean(measured(decoys, 'true_lists')):,.0f}")
    return f"| {model} | `{attacker}`{lists} | 1, 2, 3 | {' | '.join(cells)} |"


def lines_below(heading):
    """Return the lines of the table below a line of the page."""
    _, _, rest = PAGE.partition(heading)
    assert rest, heading
    return rest.strip().partition("\n\n")[0].splitlines()


@pytest.mark.parametrize("model", ["BERT4Rec", "SASRec"])
def test_what_is_seen_of_each_attack_is_that_of_the_csv(model):
    lines = lines_below(f"| {model} | history |")[1:]
    attacks = {row["attacker"] for row in rows_of(FILES[model]) if row["model"] == model}
    assert len(lines[1:]) == len(attacks)
    for line in lines[1:]:
        assert line == attack_row(model, re.match(r"\| `([^`]+)`", line)[1])


def test_what_other_detectors_see_is_that_of_the_csv():
    lines = lines_below("| BERT4Rec | `transitions` | `coverage` |")[1:]
    shown = {(line[2:].split(",")[0], re.search("`(.*?)`", line)[1]): line.split(" | ")[1:] for line in lines[1:]}
    assert {name: " | ".join(cells).removesuffix(" |") for name, cells in shown.items()} == {
        name: " | ".join(cells) for name, cells in other_rows().items()
    }


def test_false_positives_are_those_of_the_csv():
    lines = lines_below("| target | detector | users ever |")[2:]
    for line, row in zip(lines, false_positive_rows(), strict=True):
        shown, found = (each.split("|") for each in (line, row))
        assert shown[:3] == found[:3]
        for cells in zip(shown[3:-1], found[3:-1], strict=True):  # the csv has four digits of each seed
            assert float(cells[0]) == pytest.approx(float(cells[1]), abs=0.011)


@pytest.mark.parametrize("row", ALARMS, ids=lambda row: f"{row[0]} {row[1]}{row[2]}")
def test_what_an_attack_gets_after_an_alarm_is_that_of_the_csv(row):
    assert alarm_row(*row) in PAGE.splitlines()
