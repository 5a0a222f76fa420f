"""`--plugins` of the commands that load checkpoints: models and parts from modules of the user's own."""

import sys

import pytest
from pipeline import untrained

from recbole_gro.cli.main import main
from recbole_gro.defense.base import defenses
from recbole_gro.detection import detectors
from recbole_gro.trainer.base import TargetTrainer

PARTS = """
from recbole.model.sequential_recommender import NARM
from recbole_gro import Defense, Detector, register_defense, register_detector


class OwnModel(NARM):
    "A model outside RecBole."


@register_defense("own_rolled")
class Rolled(Defense):
    summary = "every list is rolled"

    def shown(self, ranked):
        return ranked.roll(1, dims=1)


@register_detector("own_lengths")
class Lengths(Detector):
    summary = "long histories"

    def fit(self, benign):
        pass

    def scores(self, traces):
        return traces.lengths.unsqueeze(1).expand_as(traces.items).float()

    def window_scores(self, traces, size):
        return traces.lengths.reshape(-1, size).float().mean(1)
"""


@pytest.fixture
def checkpoint(make_loaders, tmp_path, monkeypatch):
    """Make a checkpoint of a model from a module that is not imported any more."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "own_parts.py").write_text(PARTS)
    config, train, valid, _ = make_loaders(
        "own_parts:OwnModel", embedding_size=16, hidden_size=16, output_dir=str(tmp_path), reproducibility=True
    )
    trainer = TargetTrainer(config, untrained(config, train))
    trainer.fit(train, valid, verbose=False)
    _forget()
    yield str(trainer.saved_model_file)
    _forget()


def _forget():
    sys.modules.pop("own_parts", None)
    for registry, name in ((defenses, "own_rolled"), (detectors, "own_lengths")):
        registry._entries.pop(name, None)


@pytest.mark.parametrize("plugins", [[], ["--plugins=[own_parts]"]], ids=["without", "with"])
class TestPlugins:
    def check(self, capsys, plugins, words):
        """Run a command; without the plugin its one line says what is needed."""
        status = main([*words, *plugins])
        if not plugins:
            assert status == 2
            assert "made by own_parts:OwnModel, a model outside RecBole; give --plugins=own_parts, in Py" in (
                capsys.readouterr().err
            )
        return status

    def test_detect(self, checkpoint, tmp_path, capsys, plugins):
        (tmp_path / "log.csv").write_text("key,history\n" + "ann,i1 i2 i3\n" * 30)
        words = [f"--target={checkpoint}", "--log=log.csv", "--detector=own_lengths", "--output_dir=found"]
        self.check(capsys, plugins, ["detect", *words, "--false_positive_rate=0.05", "--quiet"])
        assert ("| own_lengths |" in capsys.readouterr().out.replace("  ", "")) == bool(plugins)
        assert (tmp_path / "found" / "results.json").exists() == bool(plugins)

    def test_verify(self, checkpoint, tmp_path, capsys, plugins):
        words = [f"--owner={checkpoint}", f"--suspect={checkpoint}", "--key=own.key", "--probes=40", "--references=5"]
        self.check(capsys, plugins, ["verify", *words, "--output_dir=found", "--level=0.02"])
        assert ("is claimed to be a copy" in capsys.readouterr().out) == bool(plugins)

    def test_serve(self, checkpoint, monkeypatch, capsys, plugins):
        """Each process imports the modules: the application is made as a worker makes it."""
        process = pytest.importorskip("recbole_gro.http_service.process")
        made = []
        monkeypatch.setattr(process.uvicorn, "run", lambda app, **_: made.append(app))
        status = self.check(capsys, plugins, ["serve", checkpoint, "--defense=own_rolled", "--port=18765"])
        assert (status, len(made)) == ((0, 1) if plugins else (2, 0))
