"""The tables of results/tradeoff.md are what its formula gives for the csv files of the experiments."""

import re
import statistics

import pytest
from reported import RESULTS, values

PAGE = (RESULTS / "tradeoff.md").read_text(encoding="utf-8")
REFERENCE = {"defense": "none", "attacker": "few_shot+mixed"}
# of each column of the first table the folder of its csv and the attacker
GAINS = [
    *((".", name) for name in ("standard+autoregressive", "standard+mixed", "head+mixed", "few_shot+mixed")),
    *((".", name) for name in ("filtered+mixed", "strongest")),
    *(("short", name) for name in ("standard+mixed", "head+mixed")),
    ("head", "head+mixed"),
    ("averaged/mixed", "standard+mixed"),
]
SERVICES = {"none": "none", "decoys for flagged histories": "history", "and for the flagged API key": "key"}
ATTACKS = "standard+mixed", "standard+mimic", "few_shot+mimic", "standard+mixed+5"


def measured(side, metric="ndcg", k="10", folder=".", **wanted):
    return values(f"tradeoff/{folder}/results.csv", side=side, metric=metric, k=k, **wanted)


def cells_of(row):
    (line,) = re.findall(rf"^\| `?{re.escape(row)}`? \|(.*)\|$", PAGE[PAGE.index("| NDCG@10 kept |") :], re.MULTILINE)[
        :1
    ]
    return [cell.strip() for cell in line.split("|")]


@pytest.mark.parametrize(
    "defense", ["none", "gro_decoys", "tail_decoy", "tail_random", "gro", "truncate", "tail_shuffle"]
)
def test_costs_and_gains_of_a_defense_are_those_of_the_csv(defense):
    mixed = {"attacker": "standard+mixed"}
    kept = []
    for metric, k in (("ndcg", "10"), ("hit", "20"), ("hit", "50"), ("ndcg", "100")):
        ours, undefended = (measured("target", metric, k, defense=name, **mixed) for name in (defense, "none"))
        kept.append(statistics.mean(ours) / statistics.mean(undefended))
    untrained = statistics.mean(measured("untrained", defense="none", **mixed))
    whole = statistics.mean(measured("surrogate", **REFERENCE)) - untrained
    gains = [
        (statistics.mean(measured("surrogate", folder=folder, defense=defense, attacker=name)) - untrained) / whole
        for folder, name in GAINS
    ]
    assert cells_of(defense) == [f"{value:.2f}" for value in kept + gains]


@pytest.mark.parametrize("service", SERVICES)
def test_what_is_left_after_an_alarm_is_that_of_the_csv(service):
    def alarms(**wanted):
        folder = "alarms/short" if wanted["attacker"].endswith("+5") else "alarms"
        return values(f"detection/{folder}/results.csv", model="BERT4Rec", **wanted)

    ndcg = {"of": "surrogate", "measure": "ndcg@10"}
    untrained = statistics.mean(measured("untrained", defense="none", attacker="standard+mixed"))
    whole = statistics.mean(alarms(decoys="none", attacker="standard+mixed", **ndcg)) - untrained
    gains = []
    for name in ATTACKS:
        each = [(value - untrained) / whole for value in alarms(decoys=SERVICES[service], attacker=name, **ndcg)]
        gains.append(f"{statistics.mean(each):.2f} ± {statistics.stdev(each):.2f}")
    kept = []
    for measure in ("ndcg@10", "hit@10"):
        served, undefended = (
            alarms(of="users", measure=measure, decoys=decoys, attacker="standard+mixed")
            for decoys in ("none" if SERVICES[service] == "none" else "history", "none")
        )
        kept.append(f"{statistics.mean(served) / statistics.mean(undefended):.2f}")
    of_users = "not measured" if SERVICES[service] == "key" else ", ".join(kept)
    (line,) = re.findall(rf"^\| {service} \|(.*±.*)\|$", PAGE, re.MULTILINE)
    assert [cell.strip() for cell in line.split("|")] == [of_users, *gains]
