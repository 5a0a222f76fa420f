"""Which keys are known, and what a class of one's own reads (what is refused: test_bad_input.py)."""

from recbole.model.sequential_recommender import FPMC, NARM, SASRec

from recbole_gro.config.known_names import GONE, TODAY, is_known, names_in, recbole_names


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
