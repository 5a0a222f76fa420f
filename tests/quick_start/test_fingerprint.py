"""What a fingerprint covers: change it and exactly what depends on it changes."""

import pytest
from conftest import synthetic_histories, write_inter

from recbole_gro import Defense, register_defense
from recbole_gro.config.settings import Settings, key
from recbole_gro.quick_start.fingerprint import Fingerprints, data_fingerprint

STAGES = ("target", "defended", "service", "evaluation", "queries", "surrogate")


@pytest.fixture(autouse=True)
def parts_outside_the_package(own_parts):
    """A defense that declares an output-side setting, and one that declares nothing."""

    class NoiseSettings(Settings):
        noise_of_lists: float = key(0.1, "float >= 0", "scale of the noise")
        noise_scale: float = key(0.1, "float >= 0", "a name that one of RecBole's models has for a setting too")

    @register_defense("fingerprint_noise")
    class NoiseDefense(Defense):
        training_settings = ()
        output_settings = (NoiseSettings,)

    @register_defense("fingerprint_undeclared")
    class UndeclaredDefense(Defense):
        pass


@pytest.fixture
def prints(make_config):
    """Make {stage: fingerprint}: `prints("gro", gro_lambda=2.0)`."""

    def make(defense="gro", **settings):
        found = Fingerprints(make_config(**settings, defense=[defense]), defense)
        return {stage: getattr(found, stage) for stage in STAGES}

    return make


def changed(one, other):
    return {stage for stage in STAGES if one[stage] != other[stage]}


AFTER = {stage: set(STAGES[place:]) for place, stage in enumerate(STAGES)}
UNMEASURED = {"queries", "surrogate"}  # no query depends on what is measured


@pytest.mark.parametrize(
    ("defense", "settings", "stages"),
    [
        ("gro", {"learning_rate": 0.01}, AFTER["target"]),
        ("gro", {"window_shift": 0.1}, AFTER["target"]),
        ("gro", {"seed": 8}, AFTER["target"]),
        ("gro", {"hidden_size": 32}, AFTER["target"]),
        ("gro", {"gro_lambda": 2.0}, AFTER["defended"]),
        ("gro", {"gro_steps": 7}, AFTER["defended"]),
        ("gro", {"margin_rank": 0.1}, AFTER["defended"]),
        ("none", {"gro_lambda": 2.0}, set()),
        ("none", {"margin_rank": 0.1}, {"surrogate"}),
        ("none", {"head_k": 2}, set()),
        ("none", {"served_k": 6}, AFTER["service"]),
        ("tail_decoy", {"head_k": 2}, AFTER["service"]),
        ("gro", {"metrics": ["Recall", "NDCG"]}, {"evaluation"}),
        ("gro", {"query_sequences": 4}, UNMEASURED),
        ("gro", {"query_strategy": "random"}, UNMEASURED),
        ("gro", {"attacker": "filtered"}, UNMEASURED),
        ("gro", {"surrogate_model": "NARM"}, {"surrogate"}),
        ("gro", {"surrogate_epochs": 3}, {"surrogate"}),
        ("gro", {"show_progress": True, "state": "DEBUG", "access_log": True}, set()),
        ("fingerprint_noise", {"noise_of_lists": 0.2}, AFTER["service"]),
        ("none", {"noise_of_lists": 0.2}, set()),
        ("fingerprint_undeclared", {"noise_of_lists": 0.2}, AFTER["defended"] - {"defended"}),
        ("none", {"noise_scale": 0.2}, AFTER["target"]),
    ],
)
def test_a_setting_changes_what_depends_on_it(prints, defense, settings, stages):
    small = {"head_k": 3} if defense == "tail_decoy" else {}
    assert changed(prints(defense, **small), prints(defense, **{**small, **settings})) == stages


def test_a_default_that_is_spelled_out_changes_nothing(prints):
    assert changed(prints(), prints(gro_lambda=1.0, window_shift=0.5, learning_rate=0.001)) == set()


@pytest.mark.parametrize(
    ("name", "stages"), [("student_config", AFTER["defended"]), ("surrogate_config", {"surrogate"})]
)
def test_the_contents_of_a_file_count(prints, tmp_path, name, stages):
    file = tmp_path / "small.yaml"
    file.write_text("hidden_size: 8\n")
    before = prints(**{name: str(file)})
    file.write_text("hidden_size: 4\n")
    assert changed(before, prints(**{name: str(file)})) == stages
    moved = tmp_path / "moved.yaml"
    moved.write_text("hidden_size: 8\n")
    assert changed(before, prints(**{name: str(moved)})) == set()


def test_the_data_count_and_not_where_they_are(prints, make_config, tmp_path):
    histories = synthetic_histories()
    here, there = (write_inter(tmp_path / name, histories) for name in ("here", "there"))
    before = prints(data_path=str(here))
    assert changed(before, prints(data_path=str(there))) == set()
    file = there / "tiny" / "tiny.inter"
    file.write_text(file.read_text().replace("i1\t2", "i2\t2", 1))
    assert changed(before, prints(data_path=str(there))) == set(STAGES)
    (here / "tiny" / "tiny.item").write_text("item_id:token\ni1\n")
    assert set(data_fingerprint(make_config(data_path=str(here)))) == {"tiny.inter", "tiny.item"}


def test_the_version_counts(prints, monkeypatch):
    before = prints()
    monkeypatch.setattr("recbole_gro.__version__", "0.0.0")
    assert changed(before, prints()) == set(STAGES)


def test_gro_from_scratch_needs_no_target(make_config):
    def stages(**settings):
        return list(Fingerprints(make_config(defense=["gro"], **settings), "gro").stages())

    assert stages() == ["target", "defended", "queries", "surrogate"]
    assert stages(gro_start="untrained") == ["defended", "queries", "surrogate"]
    assert stages(gro_start="untrained", attack=False) == ["defended"]
