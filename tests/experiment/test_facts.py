"""Tables of the facts that cells recorded."""

from experiment.synthetic import experiment_of, grid

from recbole_gro.experiment.facts import facts_table
from recbole_gro.experiment.summary import gather


def test_differing_facts_are_summarized():
    plan = experiment_of({"defense": ["none", "random", "gro"]})
    cells = grid(plan)
    for number, one in enumerate(cells):
        one.facts["seconds"] = {"target": 1.5 * number}
        one.facts["device"] = "cpu" if number else "cuda"
    facts = dict(facts_table(gather(plan, cells)).rows)
    assert facts["seconds target"] == "0 to 12"
    assert facts["device"] == "cuda, cpu"
