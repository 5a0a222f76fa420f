"""What the README says is what the code has and what results/ hold."""

import ast
import collections
import csv
import json
import re
import statistics
from pathlib import Path

import pytest

import recbole_gro
from recbole_gro.config.reference import markdown_table
from recbole_gro.report import document

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")
PAGES = sorted([ROOT / "README.md", ROOT / "CONTRIBUTING.md", *ROOT.glob("docs/**/*.md"), *ROOT.glob("results/*.md")])
WITH_REPORTS = sorted({*PAGES, *ROOT.glob("results/**/*.md")})


def demo_table():
    """The README's table, from the demo's own results."""
    results = json.loads((ROOT / "results" / "demo" / "results.json").read_text(encoding="utf-8"))
    rows, before = [], None
    for row in [*results["defenses"], *results["references"]]:
        star = " \\*" if row.get("strongest") else ""
        target = row.get("target", {}).get("test", {}).get("ndcg@10") if row["defense"] != before else None
        reached = row.get("surrogate", {}).get("test", {})
        figures = (target, reached.get("ndcg@10"), reached.get("agreement@10"))
        rows.append(
            [row["defense"], row.get("attacker", "") + star, *("" if x is None else f"{100 * x:.2f}" for x in figures)]
        )
        before = row["defense"]
    head = ["defense", "attack", "target NDCG@10", "surrogate NDCG@10", "agreement@10"]
    return "\n".join(document.markdown_table(head, rows, 2))


def worst_shares():
    """The worst case of each defense in the table of results/tradeoff.md."""
    page = (ROOT / "results" / "tradeoff.md").read_text(encoding="utf-8")
    rows = [line.strip("| ").split(" | ") for line in page.splitlines() if line.startswith("| `")]
    return {row[0].strip("`"): max(map(float, row[5:])) for row in rows if len(row) == 15}


def test_table_is_that_of_the_demo():
    assert demo_table() in README


@pytest.mark.parametrize("defense", ["gro_decoys", "tail_decoy", "gro"])
def test_share_of_the_worst_attack_is_that_of_the_results(defense):
    shares = re.findall(rf"(0\.\d\d)[a-z ]*\s+against\s+`{defense}`", README)
    assert [*map(float, shares)] == [worst_shares()[defense]]


def test_the_tenth_attack_gains_what_the_results_say():
    def mean(file, side, **wanted):
        wanted |= {"side": side, "metric": "ndcg", "k": "10"}
        with open(ROOT / "results" / "tradeoff" / file, newline="") as table:
            rows = [row for row in csv.DictReader(table) if wanted.items() <= row.items()]
        return statistics.mean(float(row["value"]) for row in rows)

    tenth = {"defense": "tail_decoy", "attacker": "head+mixed"}
    basis = mean("results.csv", "untrained", defense="none")
    gained = mean("averaged/results.csv", "surrogate", **tenth) - basis
    reference = mean("results.csv", "surrogate", defense="none", attacker="few_shot+mixed") - basis
    found = re.search(r"A tenth, .* raises the (0\.\d\d) to (0\.\d\d) ", " ".join(README.split())).groups()
    assert [*found] == [f"{worst_shares()['tail_decoy']:.2f}", f"{gained / reference:.2f}"]


@pytest.mark.parametrize("page", ["paper", "attacks"])
def test_means_and_deviations_of_pages_are_those_of_their_csv(page):
    found = set()
    for file in (ROOT / "results" / page).rglob("results.csv"):
        values = collections.defaultdict(list)
        with open(file, newline="") as table:
            for row in csv.DictReader(table):
                value = 100 * float(row.pop("value"))
                del row["seed"]
                values[tuple(row.items())].append(value)
        for each in (one for one in values.values() if len(one) > 1):
            mean, deviation = statistics.mean(each), statistics.stdev(each)
            found |= {f"{mean:.{digits}f} ± {deviation:.{digits}f}" for digits in (1, 2)}
    text = (ROOT / "results" / f"{page}.md").read_text(encoding="utf-8")
    given = set(re.findall(r"\d+\.\d+ ± \d+\.\d+", text))
    assert len(given) > 30
    assert given <= found


def test_lists_that_a_share_costs_are_those_of_the_results():
    page = (ROOT / "results" / "budget" / "few" / "report.md").read_text(encoding="utf-8")
    interval = r"[\d,]+ \[[\d,]+, [\d,]+\]"
    half, most = re.search(rf"after ({interval}) lists,\s+80 %\s+after ({interval})", README).groups()
    half, most = re.escape(half), re.escape(most)
    assert re.search(rf"^\| none +\| standard\+random\+1 +\| +{half} \| +{most} \|", page, flags=re.MULTILINE)


def test_losses_on_ml_1m_are_those_of_the_results():
    with open(ROOT / "results" / "paper" / "queries-3000" / "results.csv", newline="") as table:
        rows = [row for row in csv.DictReader(table) if (row["metric"], row["k"]) == ("ndcg", "10")]

    def mean(arm, adversary, side):
        wanted = (arm, adversary, side)
        return statistics.mean(
            float(row["value"]) for row in rows if (row["arm"], row["adversary"], row["side"]) == wanted
        )

    def loss(adversary, side):
        kept = mean("GRO", adversary, side) / mean("GRO without the swap loss", adversary, side)
        return f"{100 * (1 - kept):.1f}"

    found = re.search(
        r"takes ([\d.]+) % of NDCG@10 from the target, ([\d.]+) % from the surrogate of the paper's attack "
        r"and ([\d.]+) % from that of mixed queries",
        " ".join(README.split()),
    )
    losses = [loss("paper", "target"), loss("paper", "surrogate"), loss("mixed", "surrogate")]
    assert [*found.groups()] == losses


def test_readme_is_short():
    assert len(README.encode()) <= 9 * 1024


def test_table_of_keys_is_the_one_the_code_checks():
    assert markdown_table() in (ROOT / "docs" / "reference" / "settings.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_python_snippets_import_names_that_exist(page):
    snippets = re.findall(r"```python\n(.*?)```", page.read_text(encoding="utf-8"), flags=re.DOTALL)
    for snippet in snippets:
        for node in ast.walk(ast.parse(snippet)):
            if isinstance(node, ast.ImportFrom) and node.module == "recbole_gro":
                assert {alias.name for alias in node.names} <= set(recbole_gro.__all__)


@pytest.mark.parametrize("page", WITH_REPORTS, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_links_between_files_lead_somewhere(page):
    for target in re.findall(r"\]\(([^)\s#]+)[^)]*\)", page.read_text(encoding="utf-8")):
        assert re.match(r"[a-z]+:", target) or (page.parent / target).exists(), target


def test_the_commands_of_the_readme_are_in_the_makefile():
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    command = "run_recbole_gro.py --model=BERT4Rec --config_files=gro.yaml"
    assert command in README
    assert command in makefile
    for target in re.findall(r"^make (\w+)", README, flags=re.MULTILINE):
        assert re.search(rf"^{target}:|^{target} | {target}:", makefile, flags=re.MULTILINE), target
