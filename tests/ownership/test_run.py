import hashlib
import json
import random
import re
import time
from pathlib import Path

import pytest
from audit.cases import Recommender, service_file
from ownership.runs import trained, verified
from pipeline import files_below

from recbole_gro.ownership.recompute import recompute
from recbole_gro.serving.saved_target import load_target
from recbole_gro.utils.errors import UserError
from recbole_gro.utils.files import one_at_a_time


@pytest.fixture
def owner(make_loaders, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return trained(make_loaders, tmp_path)


def test_the_owners_own_model_is_claimed_and_the_results_recompute(owner, tmp_path):
    results = verified(owner)
    assert results["refused"] is None
    assert results["verdict"]["is_claim"]
    assert results["verdict"]["facts"]["share"] == 1
    assert results["answers"]["lists"] == 80
    assert json.loads((tmp_path / "out" / "results.json").read_text()) == results
    assert "is claimed to be a copy" in (tmp_path / "out" / "report.md").read_text()
    assert "<html" in (tmp_path / "out" / "report.html").read_text()
    assert recompute("out/results.json")["verdict"] == results["verdict"]
    assert recompute("out/results.json", owner)["verdict"] == results["verdict"]


def test_a_key_is_warned_of_in_its_second_verification_alone(owner, tmp_path):
    verified(owner, only_commit=True)
    assert not (tmp_path / "verify.key.revealed").exists()
    verified(owner)
    assert str(tmp_path / "out") in (tmp_path / "verify.key.revealed").read_text()
    verified(owner, output_dir="again")
    assert "verify.key is revealed" in (tmp_path / "again" / "run.log").read_text()
    assert "verify.key is revealed" not in (tmp_path / "out" / "run.log").read_text()
    assert "The key was used before" in (tmp_path / "again" / "report.md").read_text()
    assert json.loads((tmp_path / "again" / "results.json").read_text())["revealed_by"] == [str(tmp_path / "out")]


def test_a_model_without_marks_is_refused_without_a_word_on_its_key(owner, tmp_path):
    verified(owner)
    results = verified(owner, method="aow", references=(), output_dir="marks")
    assert results["refused"].startswith("the owner's model was not trained with the defense aow")
    assert "is revealed" not in (tmp_path / "marks" / "run.log").read_text()
    assert "The key was used before" not in (tmp_path / "marks" / "report.md").read_text()


@pytest.mark.parametrize(("method", "references"), [("fingerprint", 5), ("contrast", ())])
def test_a_catalogue_that_each_list_holds_gives_no_verdict(
    make_loaders, write_dataset, tmp_path, monkeypatch, method, references
):
    monkeypatch.chdir(tmp_path)
    histories = {f"u{user}": [f"i{(user + place) % 10}" for place in range(7)] for user in range(30)}
    data = {"data_path": str(write_dataset(histories)), "served_k": 4, "topk": [1], "valid_metric": "NDCG@1"}
    owner = trained(make_loaders, tmp_path, **data)
    results = verified(owner, method=method, references=references, data_path=str(tmp_path))
    assert results["verdict"] is None
    assert results["refused"] == "lists of 10 items are compared, and the owner's catalogue has 10"


def test_a_folder_that_cannot_be_made_is_named(owner):
    with pytest.raises(UserError, match=r"^output_dir: /proc/nowhere cannot be made: No such file or directory$"):
        verified(owner, output_dir="/proc/nowhere")
    assert not Path("verify.key").exists()


def test_a_verification_that_another_process_makes_is_refused(owner, tmp_path):
    (tmp_path / "out").mkdir()
    with (
        one_at_a_time(tmp_path / "out" / "verify"),
        pytest.raises(UserError, match=r"^output_dir: another process runs in out; wait for its end or name another"),
    ):
        verified(owner)


def test_a_folder_with_other_work_is_left_alone(owner, tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "results.json").write_text("mine")
    with pytest.raises(UserError, match=r"^output_dir: out is not empty; name a new folder"):
        verified(owner)
    assert (tmp_path / "out" / "results.json").read_text() == "mine"
    fixed_key(tmp_path)
    refused = verified(owner, method="aow", references=(), output_dir="marks")
    assert refused["refused"]
    with pytest.raises(UserError, match=r"^output_dir: marks is not empty"):
        verified(owner, output_dir="marks")
    assert json.loads((tmp_path / "marks" / "results.json").read_text())["method"] == "aow"


def fixed_key(folder):
    """Write a key, as a new one is random, and up to one in a hundred gives a false claim."""
    (folder / "verify.key").write_text("0123456789abcdef")


def test_a_function_is_not_claimed(owner, tmp_path):
    fixed_key(tmp_path)
    results = verified(owner, "ownership.runs:following")
    assert not results["verdict"]["is_claim"]
    assert results["commitment"]["suspect"]["black_box"] == "ownership.runs:following"


def test_without_references_a_method_without_them_gives_a_verdict(owner, tiny_data_path, tmp_path):
    fixed_key(tmp_path)
    data = {"method": "contrast", "references": (), "data_path": str(tiny_data_path)}
    results = verified(owner, "ownership.runs:following", **data)
    assert not results["verdict"]["is_claim"]
    assert recompute("out/results.json", owner, str(tiny_data_path))["verdict"] == results["verdict"]
    with pytest.raises(UserError, match="data_path: not set; the method contrast reads users' histories"):
        recompute("out/results.json", owner)


def test_the_key_is_committed_to_before_the_suspect_is_queried(owner, tmp_path):
    commitment = verified(owner, only_commit=True)
    key = (tmp_path / "verify.key").read_bytes().strip()
    assert commitment["key_sha256"] == hashlib.sha256(key).hexdigest()
    assert not (tmp_path / "out" / "answers.jsonl").exists()
    assert key.decode() not in (tmp_path / "out" / "commitment.json").read_text()
    results = verified(owner)
    assert results["commitment"] == commitment
    assert bytes.fromhex(results["key"]) == key


def test_another_commitment_takes_another_folder(owner):
    verified(owner, only_commit=True)
    with pytest.raises(UserError, match=re.escape("out holds a commitment to something else (probes, probes_sha256)")):
        verified(owner, probes=41)


def test_a_verification_is_resumed_without_asking_again(owner, tmp_path):
    first = verified(owner, "ownership.runs:following")
    earlier = (tmp_path / "out" / "answers.jsonl").read_text()
    again = verified(owner, "ownership.runs:following")
    assert {**again, "environment": None} == {**first, "environment": None}
    assert (tmp_path / "out" / "answers.jsonl").read_text() == earlier


@pytest.mark.parametrize(
    ("given", "reason"),
    [
        ({"suspect": "ownership.runs:changing"}, "the suspect's lists differ when it is queried twice"),
        ({"suspect": "ownership.runs:foreign"}, "the suspect has another catalogue"),
    ],
)
def test_a_verdict_whose_assumptions_do_not_hold_is_refused_in_one_sentence(owner, tmp_path, given, reason):
    results = verified(owner, **given)
    assert results["verdict"] is None
    assert results["refused"].startswith(reason)
    assert f"No verdict: {reason}" in (tmp_path / "out" / "report.md").read_text()


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"references": 2}, "references: 2 is too few; fingerprint takes 5 or more (min_references)"),
        *(
            ({"method": "contrast", "references": given}, "references: the method contrast compares with none")
            for given in (5, ["nothing.pth"])
        ),
        ({"method": "contrast", "references": ()}, "data_path: not set; the method contrast reads users' histories"),
        ({"output_dir": "file"}, "output_dir: file is a file; it takes a folder"),
        (
            {"method": "aow", "references": (), "key": "no.key"},
            "key: no file no.key; aow takes the key that the owner's model was trained",
        ),
        ({"suspect": "nothing.pth"}, "checkpoint nothing.pth: no such file"),
        ({"suspect": "run1"}, "suspect: 'run1' is neither a checkpoint (.pth), a yaml file nor module:function"),
        ({"suspect": "seed-1"}, "suspect: seed-1 is a folder; name the checkpoint in it, such as seed-1/target.pth"),
        ({"suspect": "nothing.yaml"}, "suspect: nothing.yaml: no such file"),
        *(
            (
                {"references": [word]},
                f"references: there is no checkpoint {word}; give checkpoints, separated by commas, "
                "or how many to train, a whole number >= 5",
            )
            for word in ("nothing.pth", "-1", "eight", "8.5")
        ),
        ({"key": "file"}, "key: file holds 0 bytes; a secret takes 16 or more"),
        ({"key": "nowhere/verify.key"}, "key: nowhere/verify.key can be neither read nor made: No such file"),
        ({"data_path": "nowhere"}, "data_path: there is no folder "),
    ],
)
def test_what_cannot_lead_to_a_verdict_is_refused_before_anything_is_written(owner, tmp_path, given, message):
    (tmp_path / "file").write_text("")
    before = files_below(tmp_path)
    with pytest.raises(UserError, match=re.escape(message)):
        verified(owner, **given)
    assert files_below(tmp_path) == before


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"probes": 0}, "probes: 0 is not allowed"),
        ({"method": "fingerprnt"}, "unknown verification method 'fingerprnt'. Did you mean 'fingerprint'?"),
        ({"settings": {"levle": 0.1}}, "unknown setting of fingerprint 'levle'. Did you mean 'level'?"),
        ({"settings": {"level": 2}}, "level: 2 is not allowed"),
    ],
)
def test_invalid_input_is_named(owner, given, message):
    with pytest.raises(UserError, match=re.escape(message)):
        verified(owner, **given)


def service(folder, recommender, **changed):
    """A description of a Recommender as a suspect that answers 20 histories per request."""
    given = {"batch": 20, "items": "result[].items", "catalogue": None, "seeds": ["i1"], "k": 10, "retries": 0}
    return service_file(folder, recommender.url, **given | {"concurrency": 1, "timeout": 2} | changed)


@pytest.fixture
def randomized(owner, monkeypatch):
    """Lists of seven items of the owner's model and three that are drawn anew."""
    pytest.importorskip("httpx")
    pytest.importorskip("jmespath")
    monkeypatch.setenv("AUDIT_TOKEN", "token")
    model, draws = load_target(owner), random.Random(3)

    def lists(history):
        [listed] = model.recommend([history], 10)
        return listed[:7] + draws.sample([token for token in model.item_tokens[1:] if token not in listed], 3)

    return lists


def test_lost_answers_leave_lists_that_differ_refused(owner, tmp_path, randomized):
    def misbehave(number, histories):
        if number in (1, 2):
            time.sleep(1.5)

    with Recommender(misbehave, randomized) as recommender:
        results = verified(owner, service(tmp_path, recommender, timeout=1, retries=2))
    assert results["refused"] == "the suspect's lists differ when it is queried twice: for 40 of 40 histories"
    assert (results["answers"]["lists"], results["answers"]["lost"]) == (80, 40)
    assert "80 lists arrived, those of 40 histories twice" in (tmp_path / "out" / "report.md").read_text()
    assert "given out 40 more lists" in (tmp_path / "out" / "report.md").read_text()


def test_repeats_without_an_answer_bear_no_verdict(owner, tmp_path, randomized):
    with Recommender(lambda number, _: (400, {}, "no") if number >= 2 else None, randomized) as recommender:
        results = verified(owner, service(tmp_path, recommender))
    assert results["verdict"] is None
    assert results["refused"].startswith("only 0 of the 40 histories that are sent twice were answered both times; 32")
    assert results["failures"] == {"status 400": 40}
    assert "40 queries failed: status 400" in (tmp_path / "out" / "report.md").read_text()
    assert recompute("out/results.json")["refused"] == results["refused"]


def test_a_refusal_that_names_the_failure_is_recomputed_with_it(owner, tmp_path, randomized):
    with Recommender(
        lambda number, _: (400, {}, "no") if number % 2 else None, lambda history: sorted(randomized(history)[:7])
    ) as recommender:
        results = verified(owner, service(tmp_path, recommender, batch=1, items="result[0].items"))
    assert re.match(r"the suspect gave no list for \d+ of 40 histories, most often status 400; one", results["refused"])
    assert "reason" not in results["answers"]
    log = (tmp_path / "out" / "run.log").read_text()
    assert re.search(r"verification: a request for the history (\S+), (\S+): .*\[\"\1\", \"\2\"\]", log)
    assert recompute("out/results.json")["refused"] == results["refused"]


def test_an_outage_that_loses_answers_is_resumed_with_a_list_for_every_history(owner, tmp_path, randomized):
    def misbehave(number, histories):
        if 5 <= number < 15:
            time.sleep(0.5)

    with Recommender(misbehave, randomized) as recommender:
        given = service(tmp_path, recommender, batch=1, items="result[0].items", timeout=0.3)
        message = (
            r"10 requests in a row failed \(the service sent nothing for [0-9.]+ s\); the same command with "
            r"--output_dir=out resumes this ver"
        )
        with pytest.raises(UserError, match=message):
            verified(owner, given)
        recommender.misbehave = lambda number, histories: None
        results = verified(owner, given)
    answers = results["answers"]
    assert (answers["lists"], answers["lost"], answers["failed"], answers["repeated"]) == (80, 10, 0, 40)
    assert results["failures"] == {}


def test_a_wrong_url_is_answered_at_once_with_what_to_do(owner, tmp_path, randomized):
    with Recommender(lambda number, _: (404, {}, "no"), randomized) as recommender:
        given = service(tmp_path, recommender, retries=5, backoff=10)
        message = (
            r"the first 3 requests failed \(status 404: \"no\"\); the same command with --output_dir=out resumes this "
            r"verification; if url, request, k or items of \S*service.yaml are to be changed, name another folder$"
        )
        with pytest.raises(UserError, match=message):
            verified(owner, given)
    assert len(recommender.requests) == 1 + 3  # all histories of the first batch, and three of them alone


@pytest.mark.parametrize("stopped", ["train_references", "query_suspect"])
def test_an_interrupt_says_how_to_resume(owner, monkeypatch, stopped):
    def interrupted(*_, **__):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(f"recbole_gro.ownership.run.{stopped}", interrupted)
        with pytest.raises(KeyboardInterrupt) as stop:
            verified(owner)
    assert stop.value.__notes__ == ["the same command with --output_dir=out resumes this verification"]
    assert verified(owner)["verdict"]["is_claim"]
