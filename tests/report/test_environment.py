import shutil
import subprocess

import pytest

from recbole_gro.report import environment as module
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


@pytest.mark.skipif(shutil.which("git") is None, reason="needs git")
def test_the_revision_says_whether_files_were_changed_since(make_config, monkeypatch, tmp_path):
    def git(*command):
        who = ("-c", "user.name=a", "-c", "user.email=a@b.c", "-c", "commit.gpgsign=false")
        done = subprocess.run(["git", "-C", tmp_path, *who, *command], check=True, capture_output=True, text=True)
        return done.stdout.strip()

    package_file = tmp_path / "recbole_gro" / "report" / "environment.py"
    package_file.parent.mkdir(parents=True)
    package_file.write_text("one")
    monkeypatch.setattr(module, "__file__", str(package_file))
    assert environment(make_config())["revision"] is None  # an installed package
    git("init", "-q")
    git("add", ".")
    git("commit", "-q", "-m", "one")
    commit = git("rev-parse", "HEAD")
    assert environment(make_config())["revision"] == commit
    package_file.write_text("two")
    assert environment(make_config())["revision"] == f"{commit}-dirty"
