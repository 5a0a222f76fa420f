import subprocess

import pytest

from recbole_gro.report.environment import environment


def test_environment_holds_settings_versions_and_device(make_config):
    about = environment(make_config(served_k=20))
    assert about["config"]["served_k"] == 20
    assert about["config"]["gro_lambda"] == 1.0
    assert about["versions"]["torch"]
    assert about["device"] == "cpu"
    assert about["peak_memory_mib"] > 0


@pytest.mark.parametrize("error", [OSError, subprocess.SubprocessError])
def test_the_revision_is_unknown_without_git(make_config, monkeypatch, error):
    def failing(*args, **options):
        raise error

    monkeypatch.setattr(subprocess, "run", failing)
    assert environment(make_config())["revision"] is None
