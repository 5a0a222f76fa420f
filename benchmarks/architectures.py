"""What a defense is worth when the attacker's model is unknown: every target against every surrogate.

    python benchmarks/architectures.py [--defenses none gro] [--targets ..] [--surrogates ..] [--threads 1]
        [--KEY=VALUE ...]
    python benchmarks/architectures.py --report

One row of benchmarks/architectures.csv per target, defense and surrogate; the student is always of the target's
class (section 5.5). A row that is there is not run again, and the stages lie in --folder, each made once for all rows
that share it; several runs may work on one file. Every run ends with architectures.md and architectures.png from the
rows there are.
"""

import itertools
from pathlib import Path

import torch
from common import append, command, missing, output_file, positive, rows_of
from effect import make_config, measured

from recbole_gro.data import build_dataset, build_loaders
from recbole_gro.quick_start.stage_cache import StageCache
from recbole_gro.utils.command_line import Parser, options_and_settings

HERE = Path(__file__).parent
QUALITY = [f"{part} {metric}@{k}" for part in ("valid", "test") for metric in ("hit", "ndcg") for k in (10, 20)]
COLUMNS = [
    "target model", "defense", "surrogate model", "seed",
    *(f"target {name}" for name in QUALITY), *(f"surrogate {name}" for name in QUALITY),
    "valid agreement@10", "test agreement@10", "surrogate epochs", "held-out agreement@10",
    "target s", "defense s", "queries s", "surrogate s", "threads", "machine",
]  # fmt: skip
ATTACK = {"query_sequences": 300, "surrogate_epochs": 20}
# BERT4Rec trains on 2 400 windows, 38 steps an epoch; a next-item model on 97 000 prefixes, 380 steps an epoch
NEXT_ITEM = {
    "epochs": 5,
    "eval_step": 1,
    "stopping_step": 2,
    "train_batch_size": 256,
    "gro_epochs": 1,
    "train_rows": "prefixes",
}
SETTINGS = {"BERT4Rec": {}, "NARM": NEXT_ITEM, "SASRec": NEXT_ITEM, "GRU4Rec": NEXT_ITEM}


def run(cell, settings, folder):
    """Return the row of one target, defense and surrogate."""
    models = {"model": cell["target model"], "surrogate_model": cell["surrogate model"], "defense": cell["defense"]}
    config = make_config({**models, **ATTACK, **SETTINGS[models["model"]], **settings}, cell["seed"], folder)
    found, *_ = measured(config, build_loaders(config, build_dataset(config)), StageCache(folder))
    return found | cell


def share(row):
    """Return the surrogate's test NDCG@10 as a share of that of its target."""
    return float(row["surrogate test ndcg@10"]) / float(row["target test ndcg@10"])


def report(file, page, picture):
    """Write the page and the heat map from the rows there are; whole grids of a defense only."""
    cells = {(row["defense"], row["target model"], row["surrogate model"]): row for row in rows_of(file)}
    models = list(SETTINGS)
    defenses = [
        name
        for name in dict.fromkeys(defense for defense, _, _ in cells)
        if all((name, target, surrogate) in cells for target in models for surrogate in models)
    ]
    if not defenses:
        return
    tables = [line for defense in defenses for line in table(defense, models, cells)]
    own = {(defense, target): cells[defense, target, target] for defense in defenses for target in models}
    trained = sum(float(row["target s"]) for (name, _), row in own.items() if name == defenses[0])
    trained += sum(float(row["defense s"]) for row in own.values())
    attacked = sum(float(r["queries s"]) + float(r["surrogate s"]) for key, r in cells.items() if key[0] in defenses)
    text = page.read_text(encoding="utf-8")
    for mark, content in (
        ("tables", "\n".join(tables)),
        ("time", f"{trained / 60:.0f} minutes for targets and defenses, {attacked / 60:.0f} for the attacks, one "
                 f"thread each, on {cells[defenses[0], models[0], models[0]]['machine']}"),
    ):  # fmt: skip
        before, _, rest = text.partition(f"<!-- {mark} -->")
        text = f"{before}<!-- {mark} -->\n{content}\n<!-- end -->{rest.partition('<!-- end -->')[2]}"
    page.write_text(text, encoding="utf-8")
    draw(defenses, models, cells, picture)


def table(defense, models, cells):
    """Yield the lines of a defense's table: target quality, then share and agreement of each surrogate."""
    yield from ("", f"**{defense}**", "")
    yield f"| target | its NDCG@10 | {' | '.join(models)} |"
    yield f"|---|---:|{'---:|' * len(models)}"
    for target in models:
        quality = 100 * float(cells[defense, target, target]["target test ndcg@10"])
        shares = [
            f"{share(cells[defense, target, surrogate]):.2f} "
            f"({100 * float(cells[defense, target, surrogate]['test agreement@10']):.0f} %)"
            for surrogate in models
        ]
        yield f"| {target} | {quality:.2f} | {' | '.join(shares)} |"


def draw(defenses, models, cells, picture):
    """Draw one heat map per defense: rows are targets, columns surrogates."""
    from matplotlib.figure import Figure

    size = (4.2 * len(defenses) + 0.8, 4.8)
    figure = Figure(figsize=size, layout="constrained")
    axes = figure.subplots(1, len(defenses), squeeze=False, sharey=True)
    shares = {d: [[share(cells[d, t, s]) for s in models] for t in models] for d in defenses}
    for axis, defense in zip(axes[0], defenses, strict=True):
        image = axis.imshow(shares[defense], vmin=0, vmax=1.2, cmap="viridis")
        axis.set_title(defense)
        axis.set_xticks(range(len(models)), models, rotation=30)
        axis.set_xlabel("surrogate")
        for y, row in enumerate(shares[defense]):
            for x, value in enumerate(row):
                axis.text(x, y, f"{value:.2f}", ha="center", va="center", color="white" if value < 0.8 else "black")
    axes[0][0].set_yticks(range(len(models)), models)
    axes[0][0].set_ylabel("target")
    figure.colorbar(image, ax=list(axes[0]), label="surrogate's NDCG@10 / target's, test")
    figure.savefig(picture, dpi=110)


def main(words):
    parser = Parser(prog="architectures")
    parser.add_argument("--targets", nargs="+", choices=SETTINGS, default=list(SETTINGS))
    parser.add_argument("--surrogates", nargs="+", choices=SETTINGS, default=list(SETTINGS))
    parser.add_argument("--defenses", nargs="+", default=["none", "gro"])
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument(
        "--file", type=output_file, default=HERE / "architectures.csv", help="beside it lies the page, .md"
    )
    parser.add_argument("--folder", type=Path, default=Path("architectures-work"))
    parser.add_argument("--threads", type=positive)
    parser.add_argument("--report", action="store_true", help="only write the page and the picture")
    given, settings = options_and_settings(parser, words)
    if given.threads:
        torch.set_num_threads(given.threads)
    parts = itertools.product(given.targets, given.defenses, given.surrogates, [given.seed])
    wanted = [] if given.report else [dict(zip(COLUMNS, names, strict=False)) for names in parts]
    for cell in missing(given.file, wanted):
        row = run(cell, settings, given.folder)
        append(given.file, row, COLUMNS)
        quality = ", ".join(f"{side} {100 * row[f'{side} valid ndcg@10']:.2f}" for side in ("target", "surrogate"))
        seconds = ", ".join(f"{name} {row[name]:.0f}" for name in COLUMNS if name.endswith(" s"))
        print(*cell.values(), f"validation NDCG@10, percent: {quality}; {seconds}", flush=True)
    page = given.file.with_suffix(".md")
    if given.file.exists() and page.exists():
        report(given.file, page, given.file.with_suffix(".png"))


if __name__ == "__main__":
    command(__file__, main)
