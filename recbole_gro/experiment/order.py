"""The order in which several workers take the cells of an experiment."""

from recbole_gro.experiment.plan import Experiment, Task
from recbole_gro.quick_start.stage_fingerprints import Fingerprints

TRAININGS = ("target", "defended")


def trainings_first(experiment: Experiment, cells: list[Task]) -> list[Task]:
    """Return cells such that those that start a training come before those that would wait for it.

    Cells share trainings, and a worker whose cell needs one that is under way idles until it ends. First come cells
    that nothing has to end for, then those whose defense trains from a target that is under way, then the others.

    Args:
        experiment: the plan that the cells belong to.
        cells: (values, seed) of each.
    """
    started: set[str] = set()
    waits = []
    for values, seed in cells:
        config = experiment.config(values, seed)
        stages = Fingerprints(config, config["defense"][0]).stages()
        needed = [stages[stage] for stage in TRAININGS if stage in stages]
        waits.append((needed[0] in started) + (needed[-1] in started))
        started.update(needed)
    return [cells[place] for place in sorted(range(len(cells)), key=waits.__getitem__)]
