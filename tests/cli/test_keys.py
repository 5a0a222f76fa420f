"""The command that keeps the API keys of a service."""

import subprocess
import sys

import pytest

from recbole_gro.cli.main import main
from recbole_gro.http_service.ledger import Ledger


@pytest.fixture
def keys(tmp_path, capsys):
    """Run the command: `printed = keys("create", "ann")`."""

    def run(*words):
        assert main(["keys", str(tmp_path / "service.db"), *words]) == 0
        return capsys.readouterr().out

    return run


def test_a_key_is_created_changed_listed_and_revoked(keys, tmp_path):
    token = keys("create", "ann", "--budget=1000", "--rate=60").strip()
    ledger = Ledger(tmp_path / "service.db")
    assert ledger.key_of(token) == 1
    key = {"name": "ann", "budget": 1000, "spent": 0, "rate": 60.0, "revoked": 0}
    assert ledger.all_keys() == [key]
    keys("set", "ann", "--budget=2000", "--rate=none")
    assert ledger.all_keys() == [{**key, "budget": 2000, "rate": None}]
    assert [cell.strip() for cell in keys("list").splitlines()[-1].split("|")[1:-1]] == ["ann", "2000", "0", "", "0"]
    keys("revoke", "ann")
    assert ledger.all_keys()[0]["revoked"] == 1


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["create"], "create takes the name of a key"),
        (["list", "ann"], "list takes no name"),
        (["create", "ann", "--budget=-1"], "--budget: '-1' is no number of lists"),
        (["create", "ann", "--budget=1.5"], "--budget: '1.5' is no number of lists"),
        (["create", "ann", "--rate=nan"], "--rate: 'nan' is no number of lists"),
        (["revoke", "ann", "--rate=1"], "revoke takes neither --budget nor --rate"),
        (["revoke", "ann"], "no such file"),
        (["drop", "ann"], "invalid choice: 'drop'"),
    ],
    ids=str,
)
def test_bad_input_ends_in_one_line(tmp_path, capsys, words, sentence):
    assert main(["keys", str(tmp_path / "service.db"), *words]) == 2
    errors = capsys.readouterr().err
    assert errors.startswith("recbole-gro keys: error: ")
    assert sentence in errors
    assert errors.count("\n") == 1
    assert not (tmp_path / "service.db").exists()


@pytest.mark.parametrize("redirected", [">/dev/full", ">&-"])
def test_a_key_that_cannot_be_printed_is_not_kept(tmp_path, redirected):
    file = tmp_path / "service.db"
    words = [sys.executable, "-m", "recbole_gro", "keys", str(file), "create", "ann"]
    shell = ["bash", "-c", f'exec "$@" {redirected}', "bash", *words]
    done = subprocess.run(shell, stderr=subprocess.PIPE, text=True, check=False)
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert done.stderr.startswith("recbole-gro keys: error: standard output ")
    assert Ledger(file).all_keys() == []


def test_a_key_that_nobody_reads_is_not_kept(tmp_path):
    file = tmp_path / "service.db"
    command = [sys.executable, "-m", "recbole_gro", "keys", str(file), "create", "ann"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        process.stdout.close()
        errors = process.stderr.read()
    assert (errors, process.returncode) == ("", 141)
    assert Ledger(file).all_keys() == []
