"""The settings of an experiment, and the facts that its cells recorded, as tables and warnings."""

from collections.abc import Iterator, Sequence
from numbers import Real
from typing import Any

from recbole_gro.experiment.plan import Experiment, in_words
from recbole_gro.experiment.summary import Setting
from recbole_gro.report.document import Block, Bullets, Heading, Paragraph, Table

SHOWN_VALUES = 6


def settings_blocks(experiment: Experiment) -> Iterator[Block]:
    """Yield the sections on the differences from the paper, if there are any, and on the settings."""
    if experiment.differs:
        yield Heading("Differences from the paper")
        yield Bullets(experiment.differs)
    yield Heading("Settings")
    yield settings_table(experiment)


def settings_table(experiment: Experiment) -> Table:
    """Return the table of varied keys, groups of settings, seeds and fixed keys."""
    rows = []
    for key, values in experiment.vary.items():
        if isinstance(values, dict):
            rows += [[f"{key} {name}", in_words(settings)] for name, settings in values.items()]
        else:
            rows.append([key, ", ".join(map(str, values))])
    if experiment.seeds:
        rows.append(["seed", ", ".join(map(str, experiment.seeds))])
    rows += [[key, str(value)] for key, value in sorted(experiment.fixed.items())]
    rows += [[key, f"that of {other}"] for key, other in experiment.equal.items()]
    caption = f"Experiment {experiment.name}. Keys that vary, seeds, fixed keys; all others have their defaults."
    return Table(caption, ["key", "value"], rows, text=True)


def facts_table(settings: Sequence[Setting]) -> Table:
    """Return the table of the cells' facts: models, versions, machine, seconds."""
    recorded: dict[str, list[Any]] = {}
    for setting in settings:
        for cell in setting.cells:
            for name, fact in _flat(cell.facts):
                recorded.setdefault(name, []).append(fact)
    rows = [[name, _summed_up(facts)] for name, facts in sorted(recorded.items())]
    return Table(
        "Recorded by the cells. Where they differ: all values, or their range.", ["fact", "value"], rows, text=True
    )


def _flat(facts: dict[str, Any], before: str = "") -> Iterator[tuple[str, Any]]:
    for name, fact in facts.items():
        if isinstance(fact, dict):
            yield from _flat(fact, f"{before}{name} ")
        else:
            yield f"{before}{name}", fact


def _summed_up(facts: Sequence[Any]) -> str:
    texts = list(dict.fromkeys(_text(fact) for fact in facts))
    if len(texts) <= SHOWN_VALUES:
        return ", ".join(texts)
    if all(isinstance(fact, Real) for fact in facts):
        return f"{_text(min(facts))} to {_text(max(facts))}"
    return f"{', '.join(texts[:SHOWN_VALUES])} and {len(texts) - SHOWN_VALUES} more"


def _text(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def unconverged(settings: Sequence[Setting]) -> Iterator[Block]:
    """Yield a warning where targets or surrogates reached the maximum number of epochs before early stopping."""
    cells = [cell for setting in settings for cell in setting.cells]
    n_early = sum(bool(cell.facts.get("target_still_improving")) for cell in cells)
    if n_early:
        yield Paragraph(
            f"In {n_early} of {len(cells)} cells the undefended target reached its maximum number of epochs before "
            "early stopping, and may still have been improving: a defense that trains it further then looks like a "
            "gain."
        )
    n_cut = sum(bool(cell.facts.get("surrogate_still_improving")) for cell in cells)
    if n_cut:
        yield Paragraph(
            f"In {n_cut} of {len(cells)} cells the surrogate was not trained to convergence: it was still improving at "
            "the maximum of surrogate_epochs. With more of them its metrics rise: the service leaks more than shown."
        )
