import hashlib
import json
import re
from pathlib import Path

import pytest
from ownership.runs import marked, trained
from pipeline import files_below

from recbole_gro.cli.main import main
from recbole_gro.ownership.method import methods


def test_verify_and_recompute(make_loaders, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    owner = trained(make_loaders, tmp_path)
    words = [f"--owner={owner}", f"--suspect={owner}", "--key=verify.key", "--probes=40", "--references=5"]
    assert main(["verify", *words, "--output_dir=out", "--level=0.02"]) == 0
    assert json.loads((tmp_path / "out" / "results.json").read_text())["verdict"]["level"] == 0.02
    assert "is claimed to be a copy" in capsys.readouterr().out
    assert main(["verify", *words, "--output_dir=out", "--level=0.02", "--quiet"]) == 0
    said = capsys.readouterr().out.splitlines()
    assert said[0].startswith("commitment: sha256 ")
    assert said[1].startswith(f"{owner} is claimed to be a copy of the owner's model: p ")
    assert len(said) == 2
    assert main(["verify", "--recompute=out/results.json"]) == 0
    said = capsys.readouterr().out
    assert "Recomputed: nothing differs (" in said
    report = Path("out/report.md").read_text().replace("\n", " ")
    for file in ("out/commitment.json", "verify.key", owner):
        digest = hashlib.sha256(Path(file).read_bytes().strip() if file == "verify.key" else Path(file).read_bytes())
        assert digest.hexdigest() in said
        assert digest.hexdigest() in report


def test_a_secret_in_place_of_a_file_is_not_shown(make_loaders, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    words = [f"--owner={trained(make_loaders, tmp_path)}", "--suspect=a.pth", f"--key={'ab' * 32}"]
    assert main(["verify", *words]) == 2
    said = "".join(capsys.readouterr())
    assert "key: it takes a file; what is given looks like the secret itself" in said
    assert "abab" not in said


def test_longer_lists_are_read_where_k_says_so(make_loaders, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    owner = trained(make_loaders, tmp_path)
    words = [f"--owner={owner}", f"--suspect={owner}", "--key=verify.key", "--probes=40", "--references=5"]
    assert main(["verify", *words, "--output_dir=out", "--k=20"]) == 0
    results = json.loads((tmp_path / "out" / "results.json").read_text())
    assert {len(row) for row in results["suspect_lists"]} == {20}
    assert results["commitment"]["suspect"]["k"] == 20
    capsys.readouterr()
    assert main(["verify", *words, "--output_dir=out", "--k=12"]) == 2
    assert "holds a commitment to something else (suspect)" in capsys.readouterr().err
    assert main(["verify", "--recompute=out/results.json", f"--owner={owner}"]) == 0


def test_without_a_suspect_a_marked_model_is_checked_alone(make_loaders, make_model, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("RECBOLE_GRO_DEFENSE_KEY", raising=False)
    words = ["--method=aow", f"--owner={marked(make_loaders, make_model, tmp_path)}", "--key=defense.key"]
    before = files_below(tmp_path)
    assert main(["verify", *words]) == 0
    assert "target-aow.pth shows its marks: p = " in capsys.readouterr().out
    assert main(["verify", *words, "--probes=1", "--level=1e-12"]) == 1
    assert "No self-check: no suspect could be claimed" in capsys.readouterr().out
    assert files_below(tmp_path) == before


def test_references_elsewhere_recompute(make_loaders, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    owner = trained(make_loaders, tmp_path)
    words = [f"--owner={owner}", f"--suspect={owner}", "--key=verify.key", "--probes=40", "--references=5"]
    assert main(["verify", *words, "--output_dir=out"]) == 0
    (tmp_path / "out" / "references").rename(tmp_path / "moved")
    given = ",".join(f"moved/seed-{seed}/target.pth" for seed in range(2, 7))
    assert main(["verify", "--recompute=out/results.json", f"--owner={owner}", f"--references={given}"]) == 0
    assert "nothing differs (models, probes and verdict)" in capsys.readouterr().out


def test_no_verdict_has_a_status_of_its_own(make_loaders, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    owner = trained(make_loaders, tmp_path)
    words = [f"--owner={owner}", "--suspect=ownership.runs:changing", "--key=verify.key", "--probes=40"]
    assert main(["verify", *words, "--references=5", "--output_dir=out", "--only_commit"]) == 0
    for more in (["--references=5", "--output_dir=out", *words], ["--recompute=out/results.json"]):
        assert main(["verify", *more]) == 1
        assert "No verdict: the suspect's lists differ when it is queried twice" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], "owner: not set"),
        (["--owner=a.pth", "--key=k"], "suspect: not set"),
        (["--owner=a.pth", "--key=k", "--method=aow", "--suspect="], "--suspect: it is empty"),
        (["--owner=a.pth", "--method=aow"], "key: not set"),
        (
            ["--owner=a.pth", "--key=k", "--method=aow", "--output_dir=out"],
            "output_dir: the check of a model's own marks does not read it; leave it out, or name a --suspect",
        ),
        (["--owner=a.pth", "--key=k", "--method=aow", "--references=5"], "references: the check of a model's own"),
        (["--owner=a.pth", "--key=k", "--method=aow", "--only_commit"], "only_commit: the check of a model's own"),
        (["--owner=a.pth", "--key=k", "--method=awo"], "unknown verification method 'awo'. Did you mean 'aow'?"),
        (["--owner=a.pth", "--suspect=b.pth", "--key=k", "--references=,"], "references: empty; give checkpoints"),
        (["--owner=missing.pth", "--suspect=b.pth", "--key=k"], "checkpoint missing.pth: no such file"),
        (
            ["--owner=a.pth", "--suspect=b.pth", "--key=k", "--references=-1"],
            "references: there is no checkpoint -1; give checkpoints, separated by commas, or how many to train, a "
            "whole number >= 5",
        ),
        (
            ["--owner=a.pth", "--suspect=b.pth", "--key=k", "--references=two", "--min_references=3"],
            "a whole number >= 3",
        ),
        (["--refrences=5"], "unknown key 'refrences'; did you mean 'references'?"),
        (["--recompute=a.json", "--only_commit"], "only_commit: --recompute does not read it; it takes --owner, --ref"),
        (["--recompute=a.json", "--key=k"], "key: --recompute does not read it"),
        (["--recompute=a.json", "--level=0.1"], "level: --recompute does not read it"),
        (["--recompute=missing.json"], "missing.json holds no evidence of a verification: No such file or directory"),
    ],
)
def test_invalid_words_are_named(tmp_path, monkeypatch, capsys, words, message):
    monkeypatch.chdir(tmp_path)
    assert main(["verify", *words]) == 2
    assert message in capsys.readouterr().err


def test_the_method_of_the_documentation(make_loaders, tmp_path, monkeypatch, capsys):
    page = Path(__file__).parents[2].joinpath("docs", "how-to", "verify.md").read_text(encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    (tmp_path / "my_methods.py").write_text(re.findall(r"```python\n(.*?)```", page, flags=re.DOTALL)[-1])
    monkeypatch.setattr(methods, "_entries", dict(methods._entries))
    owner = trained(make_loaders, tmp_path)
    words = [f"--owner={owner}", "--key=verify.key", "--probes=60", "--method=first_items", "--plugins=[my_methods]"]
    for suspect, said in ((owner, "is claimed"), ("ownership.runs:following", "is not claimed")):
        assert main(["verify", *words, f"--suspect={suspect}", f"--output_dir={said}", "--quiet"]) == 0
        assert f"{suspect} {said} to be a copy" in capsys.readouterr().out
    assert main(["verify", "--plugins=my_methods", f"--recompute={said}/results.json", f"--owner={owner}"]) == 0
