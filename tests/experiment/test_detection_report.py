import csv

import pytest

from recbole_gro.experiment import detection_report
from recbole_gro.experiment.detection import Detected
from recbole_gro.experiment.detection_report import grouped, picture, write_detection_report
from recbole_gro.experiment.plan import Experiment


def found(attacker, seed, detector="mmd", items=4.0, lists=30, key_flagged=True):
    by_length = {"1": 0.5, "2": 0.75}
    return Detected(
        values={"model": "NARM", "attacker": attacker},
        seed=seed,
        detector=detector,
        auc=by_length,
        true_positives=by_length,
        false_positives={"1": 0.0, "2": 0.01},
        flagged=[0.0, 0.5],
        users_flagged=[0.0, 0.02],
        items=items,
        lists=lists,
        key_flagged=key_flagged,
        windows=1.0,
        window_items=2.0,
        user_windows=0.03,
        users_flagged_ever=0.015,
        own_keys_flagged=0.002,
        shared_keys_flagged=0.001,
        rate=0.1,
    )


PLAN = Experiment("own", "T", "detection", {"model": ["NARM", "SASRec"], "attacker": ["a", "b"]}, [1, 2])


def rows_of(report):
    """Return the rows of the tables, without those of the settings."""
    lines, _, _ = report.read_text().partition("## Settings")
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in lines.splitlines() if line.startswith("|")]
    return [row for row in rows if row[0] != "target" and ":" not in row[0]]


def test_the_report_has_means_over_seeds(tmp_path):
    plan = Experiment("own", "T", "detection", {"model": ["NARM"], "attacker": ["a", "b"]}, [1, 2])
    cells = [found("a", 1), found("a", 2, items=6.0), found("b", 1), found("b", 2, key_flagged=False)]
    write_detection_report(plan, cells, tmp_path)
    report = (tmp_path / "report.md").read_text()
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in report.splitlines() if "NARM" in line]
    assert ["model NARM", "a", "2", "5.0 (50%)"] in rows
    assert ["model NARM", "a", "2", "2.0 (100%)"] in rows
    assert ["model NARM", "a", "2", "30"] in rows
    assert ["model NARM", "b", "2", "30, 1 of 2 seeds"] in rows
    assert ["model NARM", "mmd", "2", "1.50", "2.00", "0.00", "1.00", "3.00", "0.20", "0.10"] in rows
    assert ["model NARM", "a", "mmd", "2", "0.50", "0.75"] in rows
    assert "missing" not in report
    assert "True positives at 10 % false positives" in report
    lines = (tmp_path / "results.csv").read_text().splitlines()
    assert lines[0] == "model,attacker,seed,detector,measure,items,value"
    assert "NARM,a,2,mmd,items,,6.0" in lines


def test_an_attack_that_is_never_flagged_is_named_so(tmp_path):
    plan = Experiment("own", "T", "detection", {"model": ["NARM"], "attacker": ["a"]}, [1])
    write_detection_report(plan, [found("a", 1, key_flagged=False)], tmp_path)
    assert "never" in (tmp_path / "report.md").read_text()


def test_the_figure_has_a_line_per_attack_and_one_of_users():
    axes = picture(grouped(PLAN, [found("a", 1), found("b", 1)]), "mmd").axes
    assert [len(panel.lines) for panel in axes] == [3]
    assert axes[0].lines[0].get_ydata().tolist() == [0.0, 0.5]


def test_an_attack_of_few_histories_has_no_window(tmp_path):
    few = found("a", 1)
    few.windows = few.window_items = None
    plan = Experiment("own", "T", "detection", {"model": ["NARM"], "attacker": ["a"]}, [1])
    write_detection_report(plan, [few], tmp_path)
    assert "no window" in (tmp_path / "report.md").read_text()
    assert "windows" not in (tmp_path / "results.csv").read_text().replace("user_windows", "")


@pytest.mark.parametrize("order", [1, -1])
def test_windows_are_averaged_over_the_seeds_that_have_some(tmp_path, order):
    few, many = found("a", 1), found("a", 2)
    few.windows = few.window_items = None
    plan = Experiment("own", "T", "detection", {"model": ["NARM"], "attacker": ["a"]}, [1, 2])
    write_detection_report(plan, [few, many][::order], tmp_path)
    assert "2.0 (100%)" in (tmp_path / "report.md").read_text()


def test_a_report_without_some_cells_lists_them_and_has_the_seeds_of_each_row(tmp_path):
    plan = Experiment("own", "T", "detection", {"model": ["NARM"], "attacker": ["a", "b"]}, [1, 2])
    cells = [found("a", 1), found("b", 1), found("b", 2)]
    write_detection_report(plan, cells, tmp_path, ["model NARM, attacker a, seed 2"])
    report = (tmp_path / "report.md").read_text()
    assert "Unfinished: 1 of 4 cells are missing, listed at the end." in report
    assert report.rstrip().endswith("- model NARM, attacker a, seed 2")
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in report.splitlines() if "NARM" in line]
    assert ["model NARM", "a", "1", "4.0 (50%)"] in rows
    assert ["model NARM", "b", "2", "4.0 (50%)"] in rows
    assert [
        "model NARM",
        "mmd",
        "2",
        "1.50",
        "2.00",
        "0.00",
        "1.00",
        "3.00",
        "0.20",
        "0.10",
    ] in rows  # users, of both attacks' seeds


def test_the_figure_has_the_users_of_every_panel_and_the_attacks_of_all(tmp_path):
    """Where an attack failed for one target."""
    other = found("b", 1)
    other.values = {"model": "SASRec", "attacker": "b"}
    figure = picture(grouped(PLAN, [found("a", 1), other]), "mmd")
    assert [[line.get_label() for line in axes.lines] for axes in figure.axes] == [
        ["a", "real users"],
        ["b", "real users"],
    ]
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["a", "b", "real users"]
    assert figure.axes[1].lines[1].get_ydata().tolist() == [0.0, 0.02]


def test_a_curve_stays_at_its_last_value_where_another_seed_has_longer_histories(tmp_path):
    """The longest history of the users is that of a half of them, which each seed draws."""
    short, long = found("a", 1), found("a", 2)
    short.flagged, short.users_flagged = [0.0, 0.5], [0.02]
    long.flagged, long.users_flagged = [0.5, 0.5, 1.0], [0.0, 0.04, 0.08, 0.08]
    attack, users = picture(grouped(PLAN, [short, long]), "mmd").axes[0].lines
    assert attack.get_xdata().tolist() == [1, 2, 3]
    assert attack.get_ydata() == pytest.approx([0.25, 0.5, 0.75])
    assert users.get_xdata().tolist() == [1, 2, 3, 4]
    assert users.get_ydata() == pytest.approx([0.01, 0.03, 0.05, 0.05])
    write_detection_report(PLAN, [short, long], tmp_path)
    assert ["model NARM", "a", "2", "4.0 (75%)"] in rows_of(tmp_path / "report.md")
    assert ["model NARM", "mmd", "2", "1.50", "5.00"] in [row[:5] for row in rows_of(tmp_path / "report.md")]


def test_measurements_are_written_before_pictures_are_drawn(tmp_path, monkeypatch):
    def failing(*_):
        raise RuntimeError("no font")

    monkeypatch.setattr(detection_report, "picture", failing)
    with pytest.raises(RuntimeError, match="no font"):
        write_detection_report(PLAN, [found("a", 1)], tmp_path)
    assert "NARM,a,1,mmd,items,,4.0" in (tmp_path / "results.csv").read_text().splitlines()


@pytest.mark.parametrize("curve", [[0.0, 0.5], [0.0, 0.5, 0.75, 0.75]])
def test_each_measurement_has_one_row(tmp_path, curve):
    """Whether or not the attack's whole sequences have a length of the tables."""
    one = found("a", 1)
    one.flagged = curve
    write_detection_report(PLAN, [one], tmp_path)
    with (tmp_path / "results.csv").open() as lines:
        rows = [(row["measure"], row["items"], row["value"]) for row in csv.DictReader(lines)]
    assert len(set(rows)) == len(rows)
    lengths = sorted({1, 2, len(curve)})
    assert [row[1:] for row in rows if row[0] == "flagged"] == [(str(n), str(curve[n - 1])) for n in lengths]


@pytest.mark.parametrize(
    ("vary", "fixed", "expected"),
    [
        ({"model": ["NARM"]}, {"attacker": "oracle"}, ("model NARM", "oracle")),
        ({"model": ["NARM"]}, {}, ("model NARM", "standard")),
        ({"arm": {"real": {"attacker": "oracle"}}}, {}, ("arm real", "oracle")),
    ],
)
def test_an_attack_that_does_not_vary_by_itself_is_named(tmp_path, vary, fixed, expected):
    plan = Experiment("own", "T", "detection", vary, [1], fixed=fixed)
    [values] = plan.settings()
    one = found("a", 1)
    one.values = values
    write_detection_report(plan, [one], tmp_path)
    named = [tuple(row[:2]) for row in rows_of(tmp_path / "report.md")]
    by_target = (expected[0], "mmd")
    assert named == [expected, expected, expected, by_target, expected, expected]
    assert [line.get_label() for line in picture(grouped(plan, [one]), "mmd").axes[0].lines] == [
        expected[1],
        "real users",
    ]
