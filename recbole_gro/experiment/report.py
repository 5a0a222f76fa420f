"""The report of an experiment: tables, tests and pictures of its cells, as a page and as a csv file."""

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from recbole_gro.experiment.budget import budget_blocks
from recbole_gro.experiment.captions import UNDEFINED, comparison_caption, results_caption
from recbole_gro.experiment.cells import Cell
from recbole_gro.experiment.facts import facts_table, settings_blocks, unconverged
from recbole_gro.experiment.figures import pictures
from recbole_gro.experiment.plan import Experiment, in_words
from recbole_gro.experiment.reference_rows import ReferenceRow, reference_rows
from recbole_gro.experiment.statistics import LEVEL, Interval, Spread, holm, spread
from recbole_gro.experiment.summary import (
    BOTH,
    METRICS,
    SIDES,
    Setting,
    agreement_k,
    comparisons,
    cut_offs,
    gather,
    headline_k,
    longest_k,
)
from recbole_gro.experiment.trade_off import trade_off_blocks
from recbole_gro.quick_start.references import UNDEFENDED, create_references
from recbole_gro.report.document import Block, Bullets, Heading, Paragraph, Picture, Table, csv_text, write_document
from recbole_gro.report.run_report import LABELS

SMALLEST_P = 1e-4


def write_report(experiment: Experiment, cells: Sequence[Cell], folder: Path, missing: Sequence[str] = ()) -> None:
    """Write the files of `write_document` on the finished cells.

    Args:
        experiment: the plan of the cells.
        cells: finished cells, in any order; `facts` hold `served_k`.
        folder: of the report; made if it does not exist.
        missing: descriptions of unfinished cells.

    Raises:
        ValueError: no cell, a cell of another experiment, or cells of one setting with different test users.
    """
    settings = gather(experiment, cells)
    if not settings:
        raise ValueError(f"experiment {experiment.name} has no cell to report on")
    write_document(experiment.title, _blocks(experiment, settings, missing), results_csv(experiment, settings), folder)


def results_csv(experiment: Experiment, settings: Sequence[Setting]) -> str:
    """Return one row per measurement: varied keys, seed, side, metric, k, value as a share.

    Sides are target, surrogate and the names of references. Agreement is the surrogate's with the served lists, and a
    reference's with those of the undefended target. The column is not called model, which is a key that may vary.
    """
    measured_at = cut_offs(experiment)
    rows = (
        [*setting.values.values(), cell.seed, *measurement]
        for setting in settings
        for cell in setting.cells
        for measurement in _measurements(setting.with_seeds([cell.seed]), measured_at)
    )
    return csv_text([*experiment.vary, "seed", "side", "metric", "k", "value"], rows)


def _measurements(setting: Setting, measured_at: Sequence[int]) -> Iterator[tuple[str, str, int, float]]:
    """Yield (side, metric, k, value) of a setting with one seed."""
    (cell,) = setting.cells
    for side in cell.ranks:
        for metric in METRICS:
            for k in measured_at:
                if k <= setting.served_k:
                    yield side, metric, k, setting.spread(metric, side, k).mean
    for side, agreement in {"surrogate": cell.agreement, **cell.reference_agreement}.items():
        for k in sorted(agreement):
            yield side, "agreement", k, agreement[k]


def _blocks(experiment: Experiment, settings: Sequence[Setting], missing: Sequence[str]) -> Iterator[Block]:
    k = headline_k(settings)
    yield from unfinished(missing, sum(len(setting.cells) for setting in settings))
    yield Heading("Results")
    yield Paragraph(
        f"± is the deviation between seeds; brackets are {LEVEL:.0%} intervals: of ratios and of the gain for other "
        f"users of these trained models, of differences and of {BOTH} below for other users and other seeds (for other "
        "users alone, with one seed)."
    )
    yield results_table(experiment, settings, k)
    yield from unconverged(settings)
    yield Heading("Paired comparisons")
    yield comparison_table(experiment, settings, k)
    yield Heading("Pictures")
    if experiment.figure == "tradeoff":
        yield from trade_off_blocks(settings, experiment.settings())
    elif experiment.figure == "budget":
        yield from budget_blocks(settings, k, experiment.settings())
    else:
        yield from _pictures(experiment, settings, k)
    yield from settings_blocks(experiment)
    yield Heading("Run with")
    yield facts_table(settings)
    yield from missing_cells(missing)


def unfinished(missing: Sequence[str], n_done: int) -> Iterator[Block]:
    """Yield the first paragraph of a report without some cells.

    Args:
        missing: their descriptions.
        n_done: number of the others.
    """
    if missing:
        yield Paragraph(f"Unfinished: {len(missing)} of {len(missing) + n_done} cells are missing, listed at the end.")


def missing_cells(missing: Sequence[str]) -> Iterator[Block]:
    """Yield the end of a report without some cells, whose descriptions it lists."""
    if missing:
        yield Heading("Missing cells")
        yield Bullets(missing)


def results_table(experiment: Experiment, settings: Sequence[Setting], k: int) -> Table:
    """Return one row per setting and per reference.

    Columns are HR@k and NDCG@k of target and surrogate, NDCG of the target at the longest cut-off, agreement, the ratio
    of NDCG@k of both, and the gain.
    """
    columns = [(side, metric, k) for side in SIDES for metric in METRICS]
    if longest := longest_k(experiment, settings, k):
        columns.insert(len(METRICS), ("target", "ndcg", longest))
    agreement_at = agreement_k(settings, k)
    head = [*_named_by(experiment), *(f"{side} {LABELS[metric]}@{at}" for side, metric, at in columns)]
    if agreement_at:
        head.append(f"agreement@{agreement_at}")
    gained = all(setting.has_untrained for setting in settings)
    head += [f"surrogate / target NDCG@{k}", *(["gain"] if gained else []), "seeds", "users"]
    rows = []
    for setting in settings:
        row = [*map(str, setting.values.values())] or [str(experiment.fixed.get("defense", UNDEFENDED))]
        row += [_mean(setting.spread(metric, side, at)) for side, metric, at in columns]
        if agreement_at:
            row.append(_mean(setting.agreement(agreement_at)))
        row += [_interval(setting.ratio(k)), *([_interval(setting.gain(k))] if gained else [])]
        rows.append([*row, f"{len(setting.seeds)}", f"{setting.users}"])
    references = list(reference_rows(settings))
    rows += [_reference_row(reference, head, columns, agreement_at) for reference in references]
    names = [reference.name for reference in references]
    caption = results_caption(settings, k, longest=longest, agreement_at=agreement_at, gained=gained, references=names)
    return Table(caption, head, rows, labels=len(_named_by(experiment)))


def _named_by(experiment: Experiment) -> list[str]:
    """Return the columns that name a row of the results: the varied keys."""
    return list(experiment.vary) or ["defense"]


def _reference_row(
    row: ReferenceRow, head: list[str], columns: Sequence[tuple[str, str, int]], agreement_at: int | None
) -> list[str]:
    """Return the cells of a reference: in the columns of what it is compared with, target or surrogate."""
    side = "target" if create_references({"references": row.name})[row.name].is_service else "surrogate"
    cells = dict.fromkeys(head, "") | row.labels
    named = "defense" if "defense" in cells else head[0]
    cells[named] = f"{row.title} ({cells[named]})" if cells[named] and named != "defense" else row.title
    for _, metric, at in (column for column in columns if column[0] == side):
        cells[f"{side} {LABELS[metric]}@{at}"] = _mean(row.setting.spread(metric, row.name, at))
    agreement = [cell.reference_agreement.get(row.name, {}) for cell in row.setting.cells]
    if side == "surrogate" and agreement_at and all(agreement):
        cells[f"agreement@{agreement_at}"] = _mean(spread([of_seed[agreement_at] for of_seed in agreement]))
    cells |= {"seeds": f"{len(row.setting.seeds)}", "users": f"{row.setting.users}"}
    return list(cells.values())


def comparison_table(experiment: Experiment, settings: Sequence[Setting], k: int) -> Block:
    """Return one row per setting, baseline and side: differences from the baseline, their p-values, and ratios."""
    longest = longest_k(experiment, settings, k)
    compared = comparisons(settings, experiment.against, k, longest)
    baselines = in_words({key: " or ".join(map(str, values)) for key, values in experiment.against.items()})
    if not compared:
        without = f"no setting has a baseline ({baselines}) with the same other values, seed and users"
        return Paragraph(f"No test: {without}.")
    tested = [comparison for comparison in compared if comparison.side != BOTH]
    # the target's test is the same in the rows of several attacks on it, and counts once
    raw = {(one.values_digest, metric): one.p_values[metric] for one in tested for metric in METRICS}
    corrected = dict(zip(raw, holm([*raw.values()]), strict=True))
    head = [*experiment.vary, "against", "side"]
    for metric in METRICS:
        head += [f"{LABELS[metric]}@{k} difference", f"p of {LABELS[metric]}@{k}", f"{LABELS[metric]}@{k} ratio"]
    head += [*([f"NDCG@{longest} difference"] if longest else []), "seeds", "users"]
    rows = []
    for comparison in compared:
        setting = comparison.setting
        row = [*map(str, setting.values.values()), comparison.baseline, comparison.side]
        for metric in METRICS:
            test = ["", ""]
            if comparison in tested:
                difference = _points(comparison.differences[metric])
                test = [difference, _p_value(corrected[comparison.values_digest, metric])]
            row += [*test, _interval(comparison.ratios[metric])]
        if longest:
            row.append(_points(comparison.longest) if comparison.longest else "")
        rows.append([*row, f"{len(setting.seeds)}", f"{setting.users}"])
    caption = comparison_caption(baselines, int(np.isfinite([*raw.values()]).sum()), longest)
    return Table(caption, head, rows, labels=len(experiment.vary) + 2)


def _pictures(experiment: Experiment, settings: Sequence[Setting], k: int) -> Iterator[Picture]:
    at = "" if experiment.figure == "k" else f"@{k}"
    if experiment.figure == "target":
        measured = f"HR{at} and NDCG{at} of the surrogate against those of the target"
        of, places = measured, "x axis: the target as served; y axis: the surrogate."
    else:
        measured = f"HR{at} and NDCG{at} against {experiment.figure}"
        of, places = (
            f"{measured} of target and surrogate",
            "Top: the target as served; bottom: the surrogate; the same scale.",
        )
    for number, (name, drawn) in enumerate(pictures(experiment, settings, k).items(), start=1):
        yield Picture(
            f"figure-{number}.png",
            drawn,
            f"{of}: {name}",
            f"{name}: {measured}, test, percent. {places} "
            "Error bars: one sample standard deviation over seeds, none for a single seed.",
        )


def _mean(spread: Spread) -> str:
    deviation = UNDEFINED if np.isnan(spread.deviation) else f"{100 * spread.deviation:.2f}"
    return f"{100 * spread.mean:.2f} ± {deviation}"


def _interval(interval: Interval, digits: str = ".3f") -> str:
    if np.isnan(interval.value):
        return UNDEFINED
    ends = UNDEFINED if np.isnan(interval.low) else f"{interval.low:{digits}}, {interval.high:{digits}}"
    return f"{interval.value:{digits}} [{ends}]"


def _points(difference: Interval) -> str:
    return _interval(Interval(*(100 * end for end in difference)), "+.2f")


def _p_value(p: float) -> str:
    if np.isnan(p):
        return UNDEFINED
    return f"{p:.2g}" if p >= SMALLEST_P else f"<{SMALLEST_P:g}"
