import contextlib
import json
import re
from pathlib import Path

import pytest
import torch
from ownership.runs import trained, verified

from recbole_gro.ownership import recompute as recompute_module
from recbole_gro.ownership.recompute import recompute
from recbole_gro.serving.saved_target import SavedTarget
from recbole_gro.utils.errors import UserError


@pytest.fixture
def owner(make_loaders, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return trained(make_loaders, tmp_path)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda results: results.update(key="00" * 32), "the sha256 of the key is not the stored one: 6"),
        (lambda results: results["probes"][0].append(1), "the sha256 of the probes is not the stored one"),
        (lambda results: results["expected"]["lists"]["owner"][0].reverse(), "the sha256 of the probes is not the"),
        (lambda results: results["suspect_lists"].reverse(), "of the verdict is not the stored one"),
        (
            lambda results: results["verdict"].update(p_value=0.5),
            r"the p_value of the verdict is not .* \S+ here, 0.5 ",
        ),
        (lambda results: results["answers"].update(changed=50), "the verdict is not the stored one$"),
        (lambda results: results["answers"].update(repeated=9, sent_twice=9), "the verdict is not the stored one$"),
        (
            lambda results: [row.__setitem__(slice(None), [0] * len(row)) for row in results["suspect_lists"][:2]],
            "the number of histories without a list is not the stored one: 2 here, 0 there",
        ),
        (lambda results: results.pop("key"), "holds no evidence of a verification: it lacks key$"),
        (lambda results: results["commitment"].pop("probes_sha256"), "verification: it lacks probes_sha256$"),
        (lambda results: results["suspect_lists"].pop(), "verification: a value is damaged$"),
        (lambda results: results.update(key="zz"), "verification: a value is damaged$"),
        (lambda results: results.update(settings={"levle": 1}), "unknown setting of fingerprint 'levle'"),
        (lambda results: results["settings"].update(level=0.9), "level of the committed settings .*: 0.9 here, 0.01"),
        (lambda results: results["settings"].update(margin=0.0), "margin of the committed settings is not the stored"),
        (lambda results: results.update(method="contrast"), "unknown setting of contrast"),
        (lambda results: results.update(suspect="other.pth"), "the committed suspect is not .*: other.pth here, "),
    ],
)
def test_changed_results_do_not_recompute(owner, tmp_path, change, message):
    results = verified(owner)
    change(results)
    (tmp_path / "changed.json").write_text(json.dumps(results))
    with pytest.raises(UserError, match=message):
        recompute("changed.json")


def test_data_that_were_not_checked_are_said_to_be_so(owner, tmp_path):
    assert verified(owner)["data_unchecked"] is None
    checkpoint = torch.load(owner, weights_only=True)
    del checkpoint["catalogue"]["data_digests"]  # as of an earlier version
    torch.save(checkpoint, "earlier.pth")
    results = verified("earlier.pth", output_dir="earlier")
    sentence = "hether the references were trained on the owner's data was not checked: the owner's checkpoint holds no"
    assert results["data_unchecked"].startswith(f"w{sentence}")
    assert f"W{sentence}" in (tmp_path / "earlier" / "report.md").read_text()
    assert recompute("earlier/results.json", "earlier.pth")["data_unchecked"] == results["data_unchecked"]


def test_another_owner_does_not_recompute(owner, make_loaders, tmp_path):
    verified(owner)
    with pytest.raises(UserError, match="the sha256 of the owner's checkpoint is not the stored one"):
        recompute("out/results.json", trained(make_loaders, tmp_path, 9))
    with pytest.raises(UserError, match=r"checkpoint missing\.pth: no such file"):
        recompute("out/results.json", "missing.pth")


def test_items_in_another_order_than_those_of_the_owner_do_not_recompute(owner, tmp_path):
    results = verified(owner)
    assert recompute("out/results.json", owner)["verdict"] == results["verdict"]
    results["item_tokens"][1:3] = results["item_tokens"][2:0:-1]
    (tmp_path / "out" / "permuted.json").write_text(json.dumps(results))
    with pytest.raises(UserError, match=r"permuted\.json: the order of the item_tokens is not the stored one$"):
        recompute("out/permuted.json", owner)


def test_another_reference_does_not_recompute(owner, tmp_path):
    results = verified(owner)
    file = next(iter(results["commitment"]["references"]))
    results["commitment"]["references"][file] = "00" * 32
    (tmp_path / "changed.json").write_text(json.dumps(results))
    assert recompute("changed.json")["verdict"] == results["verdict"]
    with pytest.raises(UserError, match=f"the sha256 of {re.escape(file)} is not the stored one"):
        recompute("changed.json", owner)
    (tmp_path / file).unlink()
    with pytest.raises(UserError, match=f"references: there is no {re.escape(file)} here, nor below "):
        recompute("changed.json", owner)


def test_a_folder_that_was_handed_over_recomputes_elsewhere(owner, tmp_path, monkeypatch):
    results = verified(owner)
    (tmp_path / "judge").mkdir()
    (tmp_path / "out").rename(tmp_path / "judge" / "received")
    monkeypatch.chdir(tmp_path / "judge")
    assert recompute("received/results.json", owner)["verdict"] == results["verdict"]
    for seed in range(2, 7):
        (tmp_path / f"judge/received/references/seed-{seed}/target.pth").rename(f"{seed}.pth")
    with pytest.raises(UserError, match=r"references: there is no .* here, nor below the folder of received/results"):
        recompute("received/results.json", owner)
    given = [f"{seed}.pth" for seed in (6, 5, 4, 3, 2)]
    assert recompute("received/results.json", owner, references=given)["verdict"] == results["verdict"]
    with pytest.raises(UserError, match="references: --recompute reads them with --owner alone; give both"):
        recompute("received/results.json", references=given)


def test_a_file_that_is_no_json_is_named(tmp_path):
    (tmp_path / "text.json").write_text("text")
    with pytest.raises(UserError, match=r"text.json holds no evidence of a verification: it is not JSON$"):
        recompute(str(tmp_path / "text.json"))


@pytest.mark.parametrize(
    ("results", "message"),
    [
        ({"model": "NARM", "results": []}, "holds the results of another command; give the results.json in the --outp"),
        (
            {"method": "fingerprint", "suspect": "s.pth", "verdict": None, "refused": "too few references"},
            r"the verification of .* ended before its commitment, so that there is nothing to recompute: too few refer",
        ),
        ([1], "holds no evidence of a verification: a value is damaged$"),
    ],
)
def test_results_that_hold_nothing_to_recompute_say_why(tmp_path, results, message):
    (tmp_path / "results.json").write_text(json.dumps(results))
    with pytest.raises(UserError, match=f"^recompute: .*{message}"):
        recompute(str(tmp_path / "results.json"))


def test_a_folder_is_named_as_such(owner, tmp_path):
    verified(owner)
    with pytest.raises(UserError, match=r"^recompute: out is a folder; name the results.json of a verification in it$"):
        recompute("out")
    with pytest.raises(UserError, match=r"^checkpoint seed-1 is a folder; name the file in it, such as target.pth$"):
        recompute("out/results.json", "seed-1")


def test_beside_the_owners_model_references_that_are_missing_are_missing(owner, tmp_path):
    verified(owner)
    (tmp_path / "out" / "references").rename(tmp_path / "moved")
    (tmp_path / "out" / "target.pth").write_bytes(Path(owner).read_bytes())
    with pytest.raises(UserError, match=r"references: there is no .* \(out/target.pth is the owner's model\); name"):
        recompute("out/results.json", "out/target.pth")


@contextlib.contextmanager
def another_rounding(monkeypatch, share):
    """A machine that exchanges the first two items of some lists of 10 of each model."""
    plain = SavedTarget.recommend

    def rounded(self, histories, k):
        lists = plain(self, histories, k)
        if k == 10:
            some = torch.arange(len(lists)) < round(share * len(lists))
            lists = lists.where(~some.unsqueeze(1), lists[:, [1, 0, *range(2, 10)]])
        return lists

    with monkeypatch.context() as patched:
        patched.setattr(SavedTarget, "recommend", rounded)
        yield


@pytest.mark.parametrize(("share", "left_out"), [(0.0, 0), (0.05, 2)])
def test_probes_that_another_machine_rounds_otherwise_are_left_out(owner, monkeypatch, share, left_out):
    results = verified(owner)
    with another_rounding(monkeypatch, share):
        again = recompute("out/results.json", owner)
    assert again["left_out"] == left_out
    assert again["verdict"] == results["verdict"]


def test_other_probes_do_not_recompute(owner, monkeypatch):
    verified(owner)
    with (
        another_rounding(monkeypatch, 0.075),
        pytest.raises(UserError, match=r"from the key and the models are not the stored ones: 3 of 40 differ, where"),
    ):
        recompute("out/results.json", owner)


def test_a_claim_that_hangs_on_a_few_probes_does_not_recompute(owner, monkeypatch):
    verified(owner)
    monkeypatch.setattr(recompute_module, "MOST_ROUNDED", 1.0)
    with (
        another_rounding(monkeypatch, 0.975),
        pytest.raises(UserError, match=r"claim without the 39 probes that come out differently here is not the stored"),
    ):
        recompute("out/results.json", owner)


def test_numbers_of_a_verdict_may_differ_by_rounding(owner, tmp_path):
    results = verified(owner)
    results["verdict"]["facts"]["share"] += 1e-9
    (tmp_path / "rounded.json").write_text(json.dumps(results))
    recompute("rounded.json")
    results["verdict"]["facts"]["share"] += 1e-4
    (tmp_path / "rounded.json").write_text(json.dumps(results))
    with pytest.raises(UserError, match="facts of the verdict is not the stored one"):
        recompute("rounded.json")
