"""Settings of training data."""

from recbole_gro.data.settings import DataSettings


def test_a_fingerprint_of_the_data_depends_on_each_setting(make_config):
    defaults = {"core_filter": "repeated", "train_rows": "auto", "mask_last": 0.5, "window_shift": 0.5}
    assert DataSettings.fingerprint_inputs(make_config()) == defaults
    other = {"core_filter": "once", "train_rows": "prefixes", "mask_last": 0.25, "window_shift": 0.0}
    assert DataSettings.fingerprint_inputs(make_config(**other)) == other
