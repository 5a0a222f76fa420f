from recbole_gro.report.environment import environment


def test_environment_holds_what_is_needed_to_run_it_again(make_config):
    told = environment(make_config(served_k=20))
    assert told["config"]["served_k"] == 20
    assert told["config"]["gro_lambda"] == 1.0
    assert told["versions"]["torch"]
    assert told["device"] == "cpu"
