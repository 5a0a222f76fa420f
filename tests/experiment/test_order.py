from experiment.grid import tiny

from recbole_gro.experiment.order import trainings_first
from recbole_gro.quick_start.stage_fingerprints import Fingerprints


def names(cells, key):
    return [(values[key], seed) for values, seed in cells]


def test_every_training_from_scratch_is_started_before_a_cell_waits(tiny_data_path):
    experiment = tiny(tiny_data_path, "paper")
    ordered = trainings_first(experiment, experiment.cells())
    expected = [
        (arm, "paper", seed)
        for arm in ("none at its best epoch", "GRO without the swap loss", "GRO")
        for seed in (1, 2)
    ]
    found = [(values["arm"], values["adversary"], seed) for values, seed in ordered]
    assert found[:6] == expected
    assert sorted(found) == sorted((v["arm"], v["adversary"], seed) for v, seed in experiment.cells())


def test_defenses_that_train_from_a_target_come_before_attacks_on_what_is_trained(tiny_data_path):
    defenses = ["none", "random", "gro", "gro_decoys"]
    experiment = tiny(tiny_data_path, "defenses", defense=defenses, gro_start="converged", gro_head_k=2, gro_epochs=2)
    ordered = trainings_first(experiment, experiment.cells())
    assert names(ordered, "defense") == [
        (defense, seed) for defense in ("none", "gro", "gro_decoys", "random") for seed in (1, 2)
    ]


def test_cells_that_share_nothing_keep_their_order(tiny_data_path):
    experiment = tiny(tiny_data_path, "defenses", defense=["none"], seeds=[3, 1, 2])
    assert trainings_first(experiment, experiment.cells()) == experiment.cells()


def test_a_worker_waits_only_where_no_training_is_left_to_start(tiny_data_path):
    experiment = tiny(tiny_data_path, "paper-finetuning", gro_head_k=2, head_k=2, gro_epochs=2)
    started, waiting = set(), False
    for values, seed in trainings_first(experiment, experiment.cells()):
        config = experiment.config(values, seed)
        stages = Fingerprints(config, config["defense"][0]).stages()
        trained = {stages[stage] for stage in ("target", "defended") if stage in stages}
        assert not (waiting and trained - started)
        waiting = trained <= started
        started |= trained
