"""Tables and pictures of results/effect.md from effect.csv and effect_analysis.csv.

    python benchmarks/effect_report.py [--page=results/effect.md]

Writes effect/*.png beside the page, and the tables between its marks `<!-- table NAME -->` and `<!-- end -->`.
"""

import json
import re
from pathlib import Path

import pandas as pd
from common import command
from matplotlib.figure import Figure

from recbole_gro.utils.command_line import Parser
from recbole_gro.utils.errors import UserError

HERE = Path(__file__).parent
TARGET, SURROGATE = "target {} ndcg@10", "surrogate {} ndcg@10"
FINAL = {
    "none-1000": "none",
    "base-1000": "gro (published, lambda 1)",
    "decoys-1000": "gro_decoys (ours) cut short at 570 steps",
    "decoys-40-1000": "gro_decoys (ours)",
}
OURS = ("decoys", "assigned", "hold", "quality")
SHOWN_IN_ANALYSIS = {"lambda-0.3": "lambda 0.3", "base": "lambda 1", "lambda-2": "lambda 2", "lambda-4": "lambda 4"}


def read():
    rows = pd.read_csv(HERE / "effect.csv")
    percent = [name for name in rows if "ndcg@" in name or "hit@" in name or "agreement@" in name]
    rows[percent] *= 100
    rows["kept"] = rows["overrides"].map(json.loads)
    return rows


def markdown(frame):
    head = (
        "| " + " | ".join(frame.columns) + " |\n|" + "|".join("---:" if i else "---" for i in range(len(frame.columns)))
    )
    return head + "|\n" + "\n".join("| " + " | ".join(map(str, row)) + " |" for row in frame.itertuples(index=False))


def final(rows):
    """Return mean and standard deviation over seeds 1, 2, 3 of what was chosen, on test; ratios of means to none's."""
    lines = []
    chosen = rows[rows["seed"].isin([1, 2, 3])]
    none = chosen[chosen["setting"] == "none-1000"].set_index("seed")
    for name, label in FINAL.items():
        own = chosen[chosen["setting"] == name].set_index("seed")
        line = {"defense": label, "seeds": len(own)}
        for side in ("target", "surrogate"):
            for metric in ("hit@10", "ndcg@10", "hit@20", "ndcg@20"):
                values = own[f"{side} test {metric}"]
                line[f"{side} {metric.replace('hit', 'HR').replace('ndcg', 'NDCG')}"] = (
                    f"{values.mean():.2f} ± {values.std():.2f}"
                )
            for part in ("valid", "test"):
                column = f"{side} {part} ndcg@10"
                line[f"{side} NDCG@10 / none's, {part}"] = f"{own[column].mean() / none[column].mean():.3f}"
        line["agreement@10"] = f"{own['test agreement@10'].mean():.0f}"
        lines.append(line)
    return markdown(pd.DataFrame(lines))


def noise(rows):
    """Return what the seed alone does: mean, standard deviation, smallest and largest of `none` over its seeds."""
    none = rows[rows["setting"] == "none"]
    columns = {TARGET: "target NDCG@10", SURROGATE: "surrogate NDCG@10", "{} agreement@10": "agreement@10"}
    lines = []
    for part in ("valid", "test"):
        for column, label in columns.items():
            values = none[column.format(part)]
            lines.append(
                {
                    "none": f"{label}, {part}",
                    "seeds": len(values),
                    "mean": f"{values.mean():.2f}",
                    "standard deviation": f"{values.std():.2f}",
                    "smallest": f"{values.min():.2f}",
                    "largest": f"{values.max():.2f}",
                }
            )
    return markdown(pd.DataFrame(lines))


def trade_off(rows):
    """Draw target against surrogate on validation, one seed, 300 sequences: what each setting buys."""
    figure = Figure(figsize=(8, 5.5))
    axes = figure.subplots()
    same_attack = rows[
        rows["kept"].map(lambda keys: keys.get("query_sequences") == 300 and keys.get("surrogate_epochs") == 20)
    ]
    same_attack = same_attack[~same_attack["setting"].str.contains("gru4rec|narm|last|length|first|sees|random")]
    none = same_attack[same_attack["setting"] == "none"]
    axes.scatter(
        none[TARGET.format("valid")],
        none[SURROGATE.format("valid")],
        marker="s",
        color="black",
        label="none, seeds 1 to 5",
    )
    one = same_attack[(same_attack["seed"] == 1) & (same_attack["setting"] != "none")]
    ours = one["setting"].str.startswith(OURS)
    for part, color, label in ((one[~ours], "tab:blue", "published GRO"), (one[ours], "tab:red", "ours")):
        axes.scatter(
            part[TARGET.format("valid")], part[SURROGATE.format("valid")], color=color, label=f"{label}, seed 1"
        )
    crowded = ~ours & (one[TARGET.format("valid")] > 5.9)
    for _, row in one[~crowded].iterrows():
        axes.annotate(
            row["setting"],
            (row[TARGET.format("valid")], row[SURROGATE.format("valid")]),
            fontsize=6,
            xytext=(3, 2),
            textcoords="offset points",
        )
    axes.set(
        xlabel="target NDCG@10, validation, %",
        ylabel="surrogate NDCG@10, validation, %",
        xlim=(0, None),
        ylim=(0, None),
    )
    axes.set_title("ml-100k, BERT4Rec, 300 query sequences: right and low is good")
    axes.legend(loc="upper left")
    return figure


def over_lambda(rows):
    """Draw published GRO over lambda: quality of both and their agreement."""
    lambdas = rows[(rows["seed"] == 1) & (rows["setting"].str.fullmatch("lambda-.*|base"))].copy()
    lambdas["lambda"] = lambdas["kept"].map(lambda keys: keys.get("gro_lambda", 1.0))
    lambdas = lambdas.sort_values("lambda")
    figure = Figure(figsize=(10, 4))
    left, right = figure.subplots(1, 2)
    for column, label in ((TARGET, "target"), (SURROGATE, "surrogate")):
        left.plot(lambdas["lambda"], lambdas[column.format("valid")], marker="o", label=label)
    left.set(xlabel="lambda", ylabel="NDCG@10, validation, %", ylim=(0, None))
    right.plot(lambdas["lambda"], lambdas["valid agreement@10"], marker="o", label="agreement@10, %")
    right.plot(
        lambdas["lambda"], 10 * lambdas["entropy of top 10s, bits"], marker="o", label="entropy of the top 10s, 0.1 bit"
    )
    right.set(xlabel="lambda", ylim=(0, None))
    for axes in (left, right):
        axes.legend()
    figure.suptitle("Published GRO over lambda, seed 1, 15 epochs from the converged target, 300 query sequences")
    return figure


def over_epochs():
    """Draw what the lists and the two gradients do, epoch by epoch."""
    epochs = pd.read_csv(HERE / "effect_analysis.csv")
    panels = [
        ("target ndcg@10", "target NDCG@10, validation"),
        ("student agreement@10", "student's agreement@10 with the target"),
        ("changed top 10", "share of the top 10 that was not there before"),
        ("entropy of top 10s, bits", "entropy of the top 10s, bits"),
        ("rank of the worst", "rank of the student's worst item in the target, median"),
        ("realised", "share of A' that is realised"),
        ("swap targets a list", "different swap targets a list (of 100 rows)"),
        ("swap gradient", "norm of the gradient of lambda L_swap by T, a list"),
    ]
    figure = Figure(figsize=(18, 8))
    grid = figure.subplots(2, 4)
    for axes, (column, title) in zip(grid.flat, panels, strict=True):
        for name, label in SHOWN_IN_ANALYSIS.items():
            own = epochs[epochs["setting"] == name]
            axes.plot(own["epoch"], own[column], label=label)
        axes.set(title=title, xlabel="epoch")
        if column == "swap gradient":
            loss = epochs[epochs["setting"] == "base"]
            axes.plot(loss["epoch"], loss["loss gradient"], color="black", linestyle="--", label="L_target, the same")
        axes.title.set_fontsize(9)
    grid.flat[-1].legend()
    return figure


def fill(page, name, table):
    """Return the page with a table between its marks."""
    marks = re.compile(rf"(<!-- table {name} -->\n).*?(<!-- end -->)", re.DOTALL)
    if not marks.search(page):
        raise UserError(f"page: it has no <!-- table {name} --> .. <!-- end -->")
    return marks.sub(lambda found: f"{found[1]}{table}\n{found[2]}", page)


def main(words):
    parser = Parser(prog="effect_report")
    parser.add_argument("--page", type=Path, default=HERE.parent / "results" / "effect.md")
    page = parser.parse_args(words).page
    if not page.is_file():
        raise UserError(f"page: {page} does not exist; it is a page with the marks of results/effect.md")
    rows, text, folder = read(), page.read_text(), page.with_suffix("")
    folder.mkdir(exist_ok=True)
    for name, table in (("final", final(rows)), ("noise", noise(rows))):
        text = fill(text, name, table)
    page.write_text(text)
    for name, figure in (("trade_off", trade_off(rows)), ("lambda", over_lambda(rows)), ("epochs", over_epochs())):
        figure.tight_layout()
        figure.savefig(folder / f"{name}.png", dpi=100)
        print(folder / f"{name}.png")


if __name__ == "__main__":
    command(__file__, main)
