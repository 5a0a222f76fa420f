"""Which keys are known, and what a class of one's own reads (what is refused: test_bad_input.py)."""

import pytest
from recbole.model.sequential_recommender import FPMC, NARM, SASRec

from recbole_gro.config.known_names import GONE, TODAY, check_names, is_known, keys_read, names_in, recbole_names
from recbole_gro.config.models import sequential_models
from recbole_gro.utils.errors import SettingWarning


def test_general_keys_are_known_to_every_model_and_those_of_one_model_to_it_alone():
    assert {"encoding", "eval_args", "NEG_PREFIX"} <= recbole_names()
    assert not {"n_heads", "hidden_size", "lgb_params", "k", "n_hop", "device", "eval_setting"} & recbole_names()
    assert is_known("n_heads", [NARM, SASRec])
    assert not is_known("n_heads", [NARM])
    assert is_known("loss_type", [Reading])  # RecBole derives the input type of a class without one from it
    assert not is_known("dropout_probs", [FPMC])
    assert not {*TODAY, *GONE} & recbole_names()


class Computing:
    config_keys = ("width_1", "width_2")

    def __init__(self, config):
        self.widths = [config[f"width_{i}"] for i in (1, 2)]


class Reading(Computing):
    def __init__(self, config):
        self.depth = config["gro_depth"], config.get("query_depth", 3), config.epoch, config.dataset_depth
        if "lr" in config:
            self.depth = None


def test_a_class_reads_what_its_source_names_and_what_it_declares():
    read = {"gro_depth", "query_depth", "epoch", "dataset_depth", "lr", "width_1", "width_2"}
    assert read <= names_in(Reading)
    assert not (read - {"width_1", "width_2"}) & names_in(Computing)
    assert is_known("lr", [Computing, Reading])
    assert not is_known("lr", [Computing])


def test_a_class_without_source_reads_what_it_declares():
    namespace = {"config_keys": ("depth",)}
    exec("class Typed: config_keys = ('depth',)", namespace)
    assert names_in(namespace["Typed"]) == {"depth"}


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("gro_dephts", "did you mean 'gro_depth'?"),
        ("width_3", "did you mean 'width_"),
        ("zzz", "Reading reads dataset_depth, epoch, gro_depth, lr, query_depth, width_1, width_2 of its own"),
    ],
)
def test_a_key_that_a_class_of_ones_own_does_not_read_is_compared_with_what_its_source_names(name, hint):
    with pytest.warns(SettingWarning) as warned:
        check_names([name], [Reading])
    assert hint in str(warned[0].message)


def test_a_class_of_ones_own_may_read_nothing():
    class Plain:
        """Read nothing."""

    with pytest.warns(SettingWarning, match="unknown key 'zzz'; Plain reads no settings of its own"):
        check_names(["zzz"], [Plain])


class OwnModel:
    def __init__(self, config):
        self.sizes = config["width"], config["depth"], config.height, config["learning_rate"], config["device"]
        self.name = config.get("name", "mean")


def test_the_settings_that_a_users_class_reads_for_itself_are_those_of_its_subscripts():
    assert keys_read(OwnModel) == ["width", "depth", "height"]
    assert keys_read(sequential_models()["SASRec"]) == []
