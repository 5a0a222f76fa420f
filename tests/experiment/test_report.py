import csv
import io
import re
import shutil
import subprocess
from dataclasses import replace
from html import unescape
from html.parser import HTMLParser

import numpy as np
import pytest
from experiment.synthetic import experiment_of, grid
from matplotlib.image import imread

from recbole_gro.evaluator.ranks import hits, ndcg
from recbole_gro.experiment import report
from recbole_gro.experiment.report import comparison_table, results_csv, results_table, write_report
from recbole_gro.experiment.statistics import holm
from recbole_gro.experiment.summary import BOTH, comparisons, gather, headline_k
from recbole_gro.report.document import Paragraph, Table

AWKWARD = '<b>&"$x$|*_`'
DEFENSES = ["none", "random", "gro"]
CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
NUMBER = re.compile(r"\d+(?:\.\d+)?")


class Page(HTMLParser):
    """The texts of a page by tag, and its attributes; tags must close in order."""

    EMPTY = {"meta", "img", "br"}

    def __init__(self, text):
        super().__init__()
        self.open, self.texts, self.attributes = [], [], []
        self.feed(text)
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.attributes.append((tag, dict(attrs)))
        if tag not in self.EMPTY:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.texts.append((self.open[-1] if self.open else "", data))

    def all(self, tag):
        return [text for of, text in self.texts if of == tag]


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    """An experiment with an awkward name and a missing cell, its cells, and the folder of its report."""
    plan = experiment_of({"defense": ["none", AWKWARD], "gro_lambda": [0.01, 1.0]}, figure="gro_lambda")
    cells = grid(plan, users=200)[:-1]
    folder = tmp_path_factory.mktemp("report") / "made" / "here"
    write_report(plan, cells, folder, [f"defense {AWKWARD}, gro_lambda 1.0, seed 3"])
    return plan, cells, folder


def test_the_report_is_four_files(written):
    *_, folder = written
    assert sorted(file.name for file in folder.iterdir()) == ["figure-1.png", "report.html", "report.md", "results.csv"]
    assert imread(folder / "figure-1.png").std() > 0.01


def test_the_csv_file_holds_the_metrics_of_the_cells(written):
    plan, cells, folder = written
    with open(folder / "results.csv", newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == len(cells) * (5 * 2 * 6 + 4 * 3)
    read = {
        (*(row[key] for key in plan.vary), row["seed"], row["side"], row["metric"], row["k"]): row["value"]
        for row in rows
    }
    assert len(read) == len(rows)
    for one in cells:
        named = (*map(str, one.values.values()), str(one.seed))
        for k in (1, 5, 10, 20, 50, 100):
            for side, ranks in one.ranks.items():
                assert float(read[(*named, side, "hit", str(k))]) == pytest.approx(hits(ranks, k).mean(), abs=1e-15)
                assert float(read[(*named, side, "ndcg", str(k))]) == pytest.approx(ndcg(ranks, k).mean(), abs=1e-15)
        for side, agreement in {"surrogate": one.agreement, **one.reference_agreement}.items():
            assert {k: float(read[(*named, side, "agreement", str(k))]) for k in agreement} == agreement


def test_html_is_one_file_that_loads_nothing(written):
    *_, folder = written
    page = Page((folder / "report.html").read_text(encoding="utf-8"))
    sources = [value for _, found in page.attributes for name, value in found.items() if name in ("src", "href")]
    assert sources
    assert all(source.startswith("data:image/png;base64,") for source in sources)
    assert not {"script", "link", "iframe"} & {tag for tag, _ in page.attributes}
    assert page.all("title") == ["Synthetic defenses"]
    assert all(found.get("scope") in ("col", "row") for tag, found in page.attributes if tag == "th")
    assert all(found.get("alt") for tag, found in page.attributes if tag == "img")


def test_html_holds_the_numbers_of_markdown(written):
    *_, folder = written
    page = Page((folder / "report.html").read_text(encoding="utf-8"))
    shown = " ".join(text for tag, text in page.texts if tag != "style")
    tables = [line for line in (folder / "report.md").read_text(encoding="utf-8").splitlines() if line.startswith("|")]
    assert len(tables) > 10
    numbers = NUMBER.findall(" ".join(tables))
    assert len(numbers) > 100
    assert set(numbers) <= set(NUMBER.findall(shown))


def test_names_are_shown_literally(written):
    *_, folder = written
    html, markdown = ((folder / f"report.{kind}").read_text(encoding="utf-8") for kind in ("html", "md"))
    assert AWKWARD in Page(html).all("th")
    assert "<b>" not in html + markdown
    row = next(line for line in markdown.splitlines() if "$x$" in line)
    assert unescape(row.split(" | ")[0].lstrip("| ").replace("\\", "")).strip() == AWKWARD


def test_missing_cells_are_listed(written):
    plan, cells, folder = written
    page = Page((folder / "report.html").read_text(encoding="utf-8"))
    assert f"defense {AWKWARD}, gro_lambda 1.0, seed 3" in page.all("li")
    assert any("1 of 12 cells are missing" in text for text in page.all("p"))
    assert "Missing cells" in (folder / "report.md").read_text(encoding="utf-8")
    table = results_table(plan, gather(plan, cells), 10)
    assert [row[-2] for row in table.rows] == ["3", "3", "3", "2", *["3"] * 3]


def test_surrogates_that_did_not_converge_are_reported(written, tmp_path):
    plan, cells, folder = written
    assert "convergence" not in (folder / "report.md").read_text(encoding="utf-8")
    cut = [
        replace(cell, facts={**cell.facts, "surrogate_still_improving": place < 4}) for place, cell in enumerate(cells)
    ]
    write_report(plan, cut, tmp_path)
    assert "In 4 of 11 cells the surrogate was not trained to convergence" in (tmp_path / "report.md").read_text(
        encoding="utf-8"
    )


def test_targets_that_may_still_have_been_improving_are_reported(written, tmp_path):
    plan, cells, folder = written
    assert "undefended target reached" not in (folder / "report.md").read_text(encoding="utf-8")
    cut = [replace(cell, facts={**cell.facts, "target_still_improving": place < 3}) for place, cell in enumerate(cells)]
    write_report(plan, cut, tmp_path)
    report = (tmp_path / "report.md").read_text(encoding="utf-8")
    assert "In 3 of 11 cells the undefended target reached its maximum number of epochs" in report


def test_the_report_names_its_methods_and_settings(written):
    *_, folder = written
    page = Page((folder / "report.html").read_text(encoding="utf-8"))
    captions = " ".join(page.all("span"))
    for part in ("other seeds", "McNemar's exact test", "Holm", "bootstrap", "resamples of the users"):
        assert part in captions
    assert "The data are synthetic." in page.all("li")
    assert "Differences from the paper" in page.all("h2")
    assert {"versions torch", "device", "gro_lambda"} <= set(page.all("th"))
    assert {"2.9.0", "cpu", "0.01, 1.0"} <= set(page.all("td"))


def test_no_section_on_differences_without_differences(tmp_path):
    plan = experiment_of({"defense": DEFENSES}, seeds=[1], differs=[])
    write_report(plan, grid(plan, users=50), tmp_path)
    for kind in ("md", "html"):
        text = (tmp_path / f"report.{kind}").read_text(encoding="utf-8")
        assert "Differences from the paper" not in text


@pytest.mark.parametrize("split", ["leave-one-out", "ratio split 8, 1, 1 in time order"])
def test_the_caption_names_the_split_of_the_cells(split):
    plan = experiment_of({"defense": DEFENSES})
    cells = [replace(one, facts={**one.facts, "split": split}) for one in grid(plan, users=50)]
    caption = results_table(plan, gather(plan, cells), 10).caption
    assert f"full ranking over all items, {split}, of the served list" in caption


def test_the_results_table_shows_mean_and_deviation_over_seeds():
    plan = experiment_of({"defense": DEFENSES})
    settings = gather(plan, grid(plan)[::-1])
    table = results_table(plan, settings, 10)
    assert [row[0] for row in table.rows] == [*DEFENSES, "untrained", "independent", "popularity"]
    by_seed = [100 * hits(one.surrogate_ranks, 10).mean() for one in settings[2].cells]
    shown = table.rows[2][table.head.index("surrogate HR@10")]
    assert shown == f"{np.mean(by_seed):.2f} ± {np.std(by_seed, ddof=1):.2f}"


def test_references_stand_below_the_settings_once_per_result():
    """References do not depend on the defense; the untrained surrogate does on its model."""
    plan = experiment_of({"surrogate_model": ["NARM", "SASRec"], "defense": ["none", "gro"]})
    cells = grid(plan)
    for one in cells:
        if one.values["surrogate_model"] == "SASRec":
            one.reference_ranks["untrained"] = np.zeros_like(one.target_ranks)
        if one.values["defense"] == "gro":  # trained without the undefended target, so agreement was not measured
            one.reference_agreement.clear()
    table = results_table(plan, gather(plan, cells), 10)
    shown = [dict(zip(table.head, row, strict=True)) for row in table.rows[4:]]
    assert [(row["surrogate_model"], row["defense"]) for row in shown] == [
        ("NARM", "untrained"), ("SASRec", "untrained"), ("", "independent"), ("", "popularity"),
    ]  # fmt: skip
    narm, sasrec, independent, popularity = shown
    by_seed = [100 * ndcg(one.reference_ranks["untrained"], 10).mean() for one in cells[:3]]
    assert narm["surrogate NDCG@10"] == f"{np.mean(by_seed):.2f} ± {np.std(by_seed, ddof=1):.2f}"
    assert sasrec["surrogate NDCG@10"] == "0.00 ± 0.00"
    assert (independent["agreement@10"], independent["target NDCG@10"]) == ("35.00 ± 0.00", "")
    assert (popularity["agreement@10"], popularity["surrogate NDCG@10"]) == ("", "")
    assert popularity["target NDCG@10"]
    assert "untrained: a surrogate before its first epoch" in table.caption


@pytest.mark.parametrize(
    ("vary", "names"),
    [
        ({"gro_lambda": [0.1, 1.0]}, ["untrained", "independent", "popularity"]),
        ({"model": ["NARM"]}, ["untrained (NARM)", "independent (NARM)", "popularity (NARM)"]),
        ({}, ["untrained", "independent", "popularity"]),
    ],
)
def test_references_are_named_where_no_defense_varies(vary, names):
    plan = experiment_of(vary)
    assert [row[0] for row in results_table(plan, gather(plan, grid(plan)), 10).rows[-3:]] == names


def test_the_gain_is_what_the_surrogate_has_beyond_the_untrained_one():
    """Of 100 users the target has the item first for 80, the surrogate for 50, the untrained one for 30."""
    plan = experiment_of({"defense": ["none"]}, seeds=[1])
    [cell] = grid(plan, users=100)
    first = {
        side: (np.arange(100) < n).astype(int) for side, n in (("target", 80), ("surrogate", 50), ("untrained", 30))
    }
    cell = replace(
        cell, target_ranks=first["target"], surrogate_ranks=first["surrogate"],
        reference_ranks={"untrained": first["untrained"]},
    )  # fmt: skip
    table = results_table(plan, gather(plan, [cell]), 10)
    row = dict(zip(table.head, table.rows[0], strict=True))
    assert row["gain"].startswith("0.400 [")
    assert row["surrogate / target NDCG@10"].startswith("0.625 [")
    unmeasured = results_table(plan, gather(plan, [replace(cell, reference_ranks={})]), 10)
    assert "gain" not in unmeasured.head
    assert "Gain" in table.caption
    assert "Gain" not in unmeasured.caption


def test_a_gain_over_nearly_nothing_has_no_interval_and_the_caption_says_why():
    """The target has the item first for 33 of 100 users and the untrained one for 30 others."""
    plan = experiment_of({"defense": ["none"]}, seeds=[1])
    [cell] = grid(plan, users=100)
    target, untrained = np.arange(100) < 33, np.arange(100) >= 70
    cell = replace(
        cell, target_ranks=target.astype(int), surrogate_ranks=target.astype(int),
        reference_ranks={"untrained": untrained.astype(int)},
    )  # fmt: skip
    table = results_table(plan, gather(plan, [cell]), 10)
    row = dict(zip(table.head, table.rows[0], strict=True))
    assert "n/a" in row["gain"]
    assert "n/a" not in row["surrogate / target NDCG@10"]
    assert "n/a there: in some resample the target has nothing beyond the untrained one" in table.caption


def test_comparison_table_shows_corrected_p_values():
    plan = experiment_of({"defense": DEFENSES, "query_sequences": [100, 300]})
    settings = gather(plan, grid(plan))
    table, compared = comparison_table(plan, settings, 10), comparisons(settings, plan.against, 10)
    tested = [comparison for comparison in compared if comparison.side != BOTH]
    corrected = holm([comparison.p_values[metric] for comparison in tested for metric in ("hit", "ndcg")])
    at = [table.head.index(f"p of {metric}@10") for metric in ("HR", "NDCG")]
    shown = [row[column] for row in table.rows if BOTH not in row for column in at]
    assert {row[column] for row in table.rows if BOTH in row for column in at} == {""}
    assert shown == [f"{p:.2g}" if p >= 1e-4 else "<0.0001" for p in corrected]


def test_equal_targets_are_no_tests_and_are_not_counted():
    plan = experiment_of({"defense": ["none", "gro"]})
    cells = grid(plan)
    for one in cells:
        one.target_ranks = cells[0].target_ranks
    table = comparison_table(plan, gather(plan, cells), 10)
    p_values = [table.head.index(f"p of {metric}@10") for metric in ("HR", "NDCG")]
    shown = {row[table.head.index("side")]: [row[column] for column in p_values] for row in table.rows}
    assert shown["target"] == ["n/a", "n/a"]
    assert "n/a" not in shown["surrogate"]
    assert "; all 2 different ones corrected by Holm, n/a where no user differs" in table.caption


def test_the_target_of_several_attacks_is_one_test():
    plan = experiment_of({"defense": ["none", "gro"], "attacker": ["standard", "head"]})
    cells = grid(plan)
    targets = {(one.values["defense"], one.seed): one.target_ranks for one in cells}
    for one in cells:
        one.target_ranks = targets[one.values["defense"], one.seed]
    settings = gather(plan, cells)
    table, compared = comparison_table(plan, settings, 10), comparisons(settings, plan.against, 10)
    target, *surrogates = [one.p_values for one in compared if one.side != BOTH and not is_second_target(one)]
    different = [p_values[metric] for p_values in (target, *surrogates) for metric in ("hit", "ndcg")]
    assert len(different) == 6
    assert "; all 6 different ones corrected by Holm" in table.caption
    columns = [table.head.index(f"p of {metric}@10") for metric in ("HR", "NDCG")]
    shown = {(row[1], row[3]): [row[column] for column in columns] for row in table.rows}
    corrected = [f"{p:.2g}" if p >= 1e-4 else "<0.0001" for p in holm(different)]
    assert shown["standard", "target"] == shown["head", "target"] == corrected[:2]
    assert [*shown["standard", "surrogate"], *shown["head", "surrogate"]] == corrected[2:]


def is_second_target(comparison):
    return comparison.side == "target" and comparison.setting.values["attacker"] == "head"


def test_one_seed_has_no_deviation():
    plan = experiment_of({"defense": DEFENSES}, seeds=[5])
    settings = gather(plan, grid(plan))
    *defenses, _, _, popularity = results_table(plan, settings, 10).rows
    assert all(row[1].endswith("± n/a") for row in [*defenses, popularity])
    assert isinstance(comparison_table(plan, settings, 10), Table)


@pytest.mark.parametrize("vary", [{"gro_lambda": [0.1, 1.0]}, {"defense": ["gro", "random"]}, {}])
def test_no_comparison_without_an_undefended_setting(vary):
    plan = experiment_of(vary, seeds=[1])
    assert isinstance(comparison_table(plan, gather(plan, grid(plan)), 10), Paragraph)


def test_metrics_end_at_the_length_of_the_served_list():
    plan = experiment_of({"defense": DEFENSES})
    settings = gather(plan, grid(plan, served_k=5))
    assert headline_k(settings) == 5
    table = results_table(plan, settings, 5)
    assert {"target HR@5", "agreement@1"} <= set(table.head)
    rows = list(csv.DictReader(io.StringIO(results_csv(plan, settings))))
    assert {row["k"] for row in rows} == {"1", "5"}


def test_arms_are_compared_with_each_baseline_and_drawn_against_the_target(tmp_path):
    groups = {"control": {"defense": "gro", "gro_lambda": 0.0}, "swapped": {"defense": "gro"}, "plain": {}}
    plan = experiment_of(
        {"arm": groups}, "target", against={"arm": ["plain", "control"]}, equal={"gro_epochs": "epochs"}
    )
    plan.fixed["epochs"] = 1
    cells = grid(plan, users=400)
    for one in cells:  # of every ten users, 3 have the item first in the surrogate of `swapped`, 4 in that of `control`
        n_first = {"swapped": 3, "control": 4, "plain": 6}[one.values["arm"]]
        one.surrogate_ranks = (np.arange(400) % 10 < n_first).astype(int)
    write_report(plan, cells, tmp_path)
    table = comparison_table(plan, gather(plan, cells), 10)
    rows = [dict(zip(table.head, row, strict=True)) for row in table.rows]
    surrogates = [row for row in rows if row["side"] == "surrogate"]
    assert [(row["arm"], row["against"], row["HR@10 difference"].split()[0]) for row in surrogates] == [
        ("control", "plain", "-20.00"), ("swapped", "plain", "-30.00"), ("swapped", "control", "-10.00"),
    ]  # fmt: skip
    assert rows[-2]["NDCG@10 ratio"].startswith("0.750 [")
    beyond = [row for row in rows if row["side"] == BOTH][-1]["NDCG@10 ratio"]
    kept = float(rows[-3]["NDCG@10 ratio"].split()[0])
    assert float(beyond.split()[0]) == pytest.approx(0.75 / kept, abs=0.002)
    text = (tmp_path / "report.md").read_text(encoding="utf-8")
    assert "NDCG@10 of the surrogate against those of the target: Synthetic defenses](figure-1.png)" in text
    for key, value in {"arm control": "defense gro, gro_lambda 0.0", "gro_epochs": "that of epochs"}.items():
        assert re.search(rf"\| {key} +\| {value}", text.replace("\\", ""))


def test_each_picture_is_a_file(monkeypatch, tmp_path):
    monkeypatch.setattr(report, "pictures", lambda *_: {"NARM": b"one", "SASRec": b"two"})
    plan = experiment_of({"defense": DEFENSES}, seeds=[1])
    write_report(plan, grid(plan, users=50), tmp_path)
    assert [file.read_bytes() for file in sorted(tmp_path.glob("figure-*.png"))] == [b"one", b"two"]
    text = (tmp_path / "report.md").read_text(encoding="utf-8")
    assert text.index("](figure-1.png)") < text.index("NARM: HR and NDCG against k") < text.index("](figure-2.png)")


def test_nothing_is_written_without_cells(tmp_path):
    with pytest.raises(ValueError, match="no cell"):
        write_report(experiment_of({"defense": DEFENSES}), [], tmp_path)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(CHROMIUM is None, reason="no chromium, chromium-browser or google-chrome to open the page with")
@pytest.mark.parametrize("size", [(1200, 1600), (500, 1600)])
def test_page_opens_in_a_browser(written, tmp_path, size):
    *_, folder = written
    shot = tmp_path / "page.png"
    # root, as in a container, has no sandbox; the page is our own and loads nothing
    command = [CHROMIUM, "--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars"]
    command += [f"--user-data-dir={tmp_path / 'profile'}", f"--window-size={size[0]},{size[1]}", f"--screenshot={shot}"]
    subprocess.run([*command, (folder / "report.html").as_uri()], check=True, capture_output=True, timeout=120)
    pixels = imread(shot)
    assert pixels.shape[:2] == (size[1], size[0])
    grey = pixels[..., :3].mean(axis=2)
    assert 0.005 < (grey < 0.5).mean() < 0.5
    assert grey[:200].std() > 0.01
    assert grey[-400:].std() > 0.01
