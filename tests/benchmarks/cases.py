"""The suite of a command under benchmarks/."""

import getpass
import importlib.util
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest
from pipeline import files_below

from recbole_gro.utils.command_line import exit_code
from recbole_gro.utils.random_state import global_state_kept

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"
TINY = "--dataset=tiny --data_path={data} --served_k=20"
NARROW = f"{TINY} --n_layers=1 --hidden_size=16 --inner_size=16"
in_a_checkout = pytest.mark.skipif(not BENCHMARKS.is_dir(), reason="a source distribution has no benchmarks")


def load(name):
    """Import a benchmark under a name of its own; BENCHMARKS must be on sys.path."""
    spec = importlib.util.spec_from_file_location(f"benchmark_{name}", BENCHMARKS / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@in_a_checkout
class BenchmarkCases:
    """The suite of a benchmark, in one line: `class TestMine(BenchmarkCases): name, tiny = "mine", "--rounds=1"`.

    Attributes:
        name: of the script.
        tiny: words of a run with a tiny budget.
        prints: patterns of its output.
        bad: invalid words, and what the one line of the error names.
        long: words of a run that is interrupted.
        own_process: it registers parts or declares settings that are not the package's.
        writes: files and folders that it is meant to leave.
        writes_files: whether it has files while it runs.
    """

    name: str
    tiny = ""
    prints: tuple[str, ...] = ()
    bad = ("--rounds=many", "'many' is no whole number of 1 or more")
    long = ""
    own_process = False
    writes: tuple[str, ...] = ()
    writes_files = True

    @pytest.fixture(autouse=True)
    def _places(self, tmp_path, tiny_data_path, monkeypatch):
        self.work, self.scratch, self.data = tmp_path / "work", tmp_path / "scratch", tiny_data_path
        self.work.mkdir()
        self.scratch.mkdir()
        monkeypatch.chdir(self.work)
        monkeypatch.setattr(tempfile, "tempdir", str(self.scratch))
        monkeypatch.syspath_prepend(str(BENCHMARKS))

    def words(self, text):
        return text.format(data=self.data, work=self.work).split()

    def start(self, words):
        environment = {**os.environ, "TMPDIR": str(self.scratch), "PYTHONUNBUFFERED": "1", "OMP_NUM_THREADS": "1"}
        script = str(BENCHMARKS / f"{self.name}.py")
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
        return subprocess.Popen([sys.executable, script, *words], env=environment, **pipes)

    def run(self, words, capfd):
        """Return exit status, output and errors of a command."""
        if self.own_process:
            process = self.start(words)
            output, errors = process.communicate()
            return process.returncode, output, errors
        with global_state_kept():
            status = exit_code(self.name, load(self.name).main, words)
        return (status, *capfd.readouterr())

    def left(self):
        """Return what lies in both folders and is not meant to; torch keeps a cache of its own there."""
        files = files_below(self.work) + files_below(self.scratch)
        meant = {*self.writes, *(f"{name}.lock" for name in self.writes), f"torchinductor_{getpass.getuser()}"}
        return [name for name in files if name.partition("/")[0] not in meant]

    def test_a_tiny_run_prints_its_figures_and_leaves_nothing(self, capfd):
        status, output, errors = self.run(self.words(self.tiny), capfd)
        assert status == 0, errors
        for pattern in self.prints:
            assert re.search(pattern, output), (pattern, output)
        assert self.left() == []

    def test_invalid_input_ends_in_one_line(self, capfd):
        status, _, errors = self.run(self.words(self.bad[0]), capfd)
        assert status == 2
        [line] = errors.splitlines()
        assert line.startswith(f"{self.name}: error: ")
        assert self.bad[1] in line
        assert self.left() == []

    @pytest.mark.every
    @pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
    def test_an_interrupted_run_leaves_nothing(self, number):
        process = self.start(self.words(self.long or self.tiny))
        while process.poll() is None and not self.left():
            if not self.writes_files and process.stdout.readline():
                break
            time.sleep(0.05)
        process.send_signal(number)
        assert process.wait(timeout=120) == 130, process.stderr.read()
        assert process.stderr.read().splitlines()[-1] == f"{self.name}: stopped"
        assert self.left() == []
