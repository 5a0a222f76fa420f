import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import torch
from audit.cases import CATALOGUE, SECRET, TINY, K, Recommender, ring, ring_of_numbers, service_file, words
from recbole.utils import init_seed

import recbole_gro
from recbole_gro import BlackBox, Config, QueryLog, create_attacker, load_target
from recbole_gro.attack.attacker import StandardAttacker
from recbole_gro.attack.selection import list_agreement
from recbole_gro.attack.surrogate_trainer import HELD_OUT, ExtractionTrainer
from recbole_gro.audit.run import run_audit
from recbole_gro.cli.main import main
from recbole_gro.utils.errors import UserError
from recbole_gro.utils.random_state import stage_seed

pytest.importorskip("httpx")
pytest.importorskip("jmespath")
ALL = TINY["query_sequences"] * TINY["query_length"]


@pytest.fixture(autouse=True)
def _token(monkeypatch):
    monkeypatch.setenv("AUDIT_TOKEN", SECRET)


def audit(folder, recommender, description=None, **settings):
    file = service_file(folder, recommender.url, **(description or {}))
    settings = {name: str(value) for name, value in (TINY | {"output_dir": folder / "out"} | settings).items()}
    return run_audit(file, command_line=settings)


def weights(file):
    return torch.load(file, weights_only=True)["state_dict"]


def same(one, other):
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


@pytest.fixture
def in_process(tmp_path):
    """The query log and the surrogate of the attack on a BlackBox in process."""
    given = {**TINY, "served_k": K, "topk": [1, 5], "output_dir": str(tmp_path / "in_process")}
    config = Config("GRU4Rec", "service", config_dict=given)
    init_seed(TINY["seed"], True)
    attacker = create_attacker("standard", config)
    box = BlackBox(ring_of_numbers, K, n_items=len(CATALOGUE) + 1)
    log = attacker.query(box, torch.Generator().manual_seed(TINY["seed"]))
    return log, attacker.train_surrogate(log, box.n_items).model.state_dict()


def test_http_and_function_give_the_log_and_surrogate_of_a_black_box_in_process(tmp_path, monkeypatch, in_process):
    (tmp_path / "http").mkdir()
    with Recommender() as recommender:
        results = audit(tmp_path / "http", recommender)
    (tmp_path / "live_shop.py").write_text(
        "from audit.cases import ring\ndef recommend(histories):\n    return [ring(history) for history in histories]\n"
    )
    monkeypatch.chdir(tmp_path)
    given = {"catalogue": "http/items.txt", "k": K}
    settings = {name: str(value) for name, value in (TINY | {"output_dir": "function"}).items()}
    run_audit("live_shop:recommend", description=given, command_line=settings)
    log, surrogate = in_process
    for folder in (tmp_path / "http" / "out", tmp_path / "function"):
        stored = QueryLog.load(folder / "queries-standard.npz")
        assert torch.equal(stored.sequences, log.sequences)
        assert torch.equal(stored.lists, log.lists.long())
        assert same(weights(folder / "surrogate-standard.pth"), surrogate)
    assert len(recommender.given_out) == results["lists"]["given_out"] == ALL
    assert not any(results["irregularities"][name] for name in ("failed", "empty", "shorter", "unknown", "changed"))


def test_the_folder_holds_report_results_and_a_surrogate_that_takes_item_ids_of_the_service(tmp_path):
    with Recommender() as recommender:
        results = audit(tmp_path, recommender, query_sequences=60, surrogate_epochs=8, surrogate_learning_rate=0.05)
    out = tmp_path / "out"
    assert json.loads((out / "results.json").read_text()) == results
    assert "Budget curve" in (out / "report.md").read_text()
    assert "data:image/png" in (out / "report.html").read_text()
    target = load_target(out / "surrogate-standard.pth")
    assert set(target.recommend([["item-3", "item-4"]], k=2)[0]) <= set(CATALOGUE)
    lists = [point["lists"] for point in results["curve"]]
    assert lists == sorted(set(lists))
    assert lists[-1] == 60 * 3
    assert results["curve"][-1]["agreement"] > K / len(CATALOGUE)
    needed = [results["lists_needed"][share] for share in ("50%", "80%", "90%")]
    assert needed == sorted(needed)
    assert needed[-1] <= 60 * 3
    assert not (out / "work").exists()


def test_the_curve_of_repeated_queries_counts_every_response(tmp_path):
    with Recommender() as recommender:
        results = audit(tmp_path, recommender, attacker="repeat", attacker_repeats=2, query_sequences=20)
        given_out = len(recommender.given_out)
    lists = [point["lists"] for point in results["curve"]]
    assert lists[-1] == results["attacks"][0]["lists"] == given_out == 20 * 3
    assert lists[:-1] == [point["sequences"] * 3 * 2 for point in results["curve"][:-1]]


def test_the_curve_of_repeated_queries_leaves_out_responses_that_did_not_come(tmp_path):
    with Recommender(lambda number, _: (404, {}, b"none") if number % 12 == 11 else None) as recommender:
        results = audit(tmp_path, recommender, attacker="repeat", attacker_repeats=4, query_sequences=40)
    *parts, whole = results["curve"]
    assert whole["lists"] == results["attacks"][0]["lists"] < 40 * 3
    for point in parts:  # as many per sequence as in the whole log
        assert point["lists"] == pytest.approx(point["sequences"] * whole["lists"] / whole["sequences"], rel=0.1)


def test_header_values_are_sent_and_stand_in_no_file_nor_output(tmp_path, capsys):
    with Recommender() as recommender:
        audit(tmp_path, recommender, {"url": f"{recommender.url}?key=${{AUDIT_TOKEN}}"}, state="debug")
    assert {headers["Authorization"] for headers in recommender.headers} == {f"Bearer {SECRET}"}
    for file in (tmp_path / "out").rglob("*"):
        assert file.is_dir() or SECRET.encode() not in file.read_bytes(), file
    assert SECRET not in "".join(capsys.readouterr())
    assert json.loads((tmp_path / "out" / "results.json").read_text())["service"]["headers"] == ["Authorization"]


@pytest.mark.parametrize("description", [{}, {"batch": 4, "items": "result[].items", "concurrency": 6}])
def test_the_budget_holds_exactly_under_retries_and_concurrency(tmp_path, description):
    def misbehave(number, histories):
        return (503, {}, "busy") if number % 3 == 1 else None

    with Recommender(misbehave) as recommender:
        results = audit(tmp_path, recommender, description)
    assert len(recommender.given_out) == ALL == results["lists"]["given_out"]
    assert results["irregularities"]["failed"] == 0


@pytest.mark.parametrize("given", [{}, {"attacker": "repeat", "attacker_repeats": 2}, {"attacker": "standard+mixed+2"}])
def test_the_announced_requests_are_those_that_the_steps_take(tmp_path, given, caplog):
    batched = {"batch": 4, "items": "result[].items"}
    with Recommender() as recommender:
        audit(tmp_path, recommender, batched, **given)
    assert f"audit: about {len(recommender.requests)} requests at 1000/s take 0 min 1 s or more" in caplog.text


def test_lists_lost_in_timeouts_count_towards_the_budget(tmp_path):
    def misbehave(number, histories):
        if number in (4, 9):
            time.sleep(1.0)

    with Recommender(misbehave) as recommender:
        results = audit(tmp_path, recommender, {"timeout": 0.4})
        time.sleep(1.0)
    assert len(recommender.given_out) == results["lists"]["given_out"] == ALL
    assert results["irregularities"]["failed"] == 2
    assert results["failures"] == {"the list budget is spent": 2}
    log = QueryLog.load(tmp_path / "out" / "queries-standard.npz")
    assert int((log.lists[:, :, 0] == 0).sum()) == 2


def test_lists_behind_a_gateway_that_answers_in_their_place_count_towards_the_budget(tmp_path):
    with Recommender(lambda number, histories: (504, {}, "late") if number % 3 == 1 else None) as recommender:
        results = audit(tmp_path, recommender)
    assert len(recommender.requests) == results["lists"]["given_out"] == results["lists"]["limit"] == ALL
    assert results["failures"] == {"the list budget is spent": ALL // 3}


def test_no_surrogate_of_a_round_trains_on_items_in_place_of_a_list(tmp_path, monkeypatch):
    logs, loaders = [], ExtractionTrainer.loaders
    monkeypatch.setattr(ExtractionTrainer, "loaders", lambda self, log: logs.append(log) or loaders(self, log))
    no = {f"item-{number}" for number in range(1, 9)}

    def misbehave(number, histories):
        return (400, {}, "no") if number and histories[0][-1] in no else None

    with Recommender(misbehave) as recommender:
        settings = {"attacker": "rounds+mixed", "attacker_rounds": 3, "query_sequences": 20}
        results = audit(tmp_path, recommender, {"concurrency": 1}, **settings)
    found = results["irregularities"]
    assert found["failed"] >= 10
    assert results["attacks"][0]["lists"] == 20 * 3 - found["failed"]
    assert len(logs) >= 4  # two rounds, the surrogate and parts of its log
    for log in logs:
        assert set((log.lists != 0).sum(2)[log.sequences != 0].tolist()) == {0, K}


def test_every_irregular_answer_is_handled_and_reported(tmp_path):
    calls = Counter()

    def lists(history):
        calls[tuple(history)] += 1
        items = ring(history)
        return {
            "item-1": items[:2],
            "item-2": [items[0], *items],
            "item-3": ["nobody's", *items],
            "item-4": ["nobody's"],
            "item-5": items[calls[tuple(history)] % 2 :],
        }.get(history[-1], items)

    def misbehave(number, histories):
        return (400, {}, "no") if histories[0][-1] == "item-6" else None

    with Recommender(misbehave, lists) as recommender:
        results = audit(tmp_path, recommender, query_sequences=60, query_strategy="random", query_length=2)
    log = QueryLog.load(tmp_path / "out" / "queries-standard.npz")
    last = log.sequences.flatten()
    counts, found = {n: int((last == n).sum()) for n in range(1, 7)}, results["irregularities"]
    assert all(counts.values())
    assert found["failed"] == counts[6] == results["failures"]["status 400"]
    assert found["empty"] == counts[4]
    assert found["duplicates"] == counts[2] == found["longer"] - counts[3]
    assert found["unknown"] == counts[3] + counts[4]
    assert found["unknown_items"] == 1
    shorter = counts[1] + counts[2] + counts[3]  # of a longer list the first k items count
    assert shorter <= found["shorter"] <= shorter + counts[5]
    assert found["repeated"] >= found["changed"] >= 1
    rows = log.lists.flatten(0, 1)
    assert bool((rows[last == 6] == 0).all())
    assert bool((rows[last == 4] == 0).all())
    assert rows[last == 3].unique(dim=0).tolist() == [[4, 5, 6, 7, 0]]
    assert rows[last == 2].unique(dim=0).tolist() == [[3, 4, 5, 6, 0]]
    assert rows[last == 1].unique(dim=0).tolist() == [[2, 3, 0, 0, 0]]
    assert "different items are not in the catalogue" in (tmp_path / "out" / "report.md").read_text()


def test_a_catalogue_is_collected_from_answers_within_the_budget(tmp_path):
    with Recommender() as recommender:
        given = {"catalogue": None, "seeds": ["item-7"]}
        results = audit(tmp_path, recommender, given, query_sequences=70)
    assert results["service"]["catalogue"] == len(CATALOGUE)
    assert results["lists"]["for_catalogue"] == 21
    assert len(recommender.given_out) <= 70 * 3


def test_histories_of_the_owner_measure_service_and_surrogate(tmp_path):
    rows = ["user_id:token\titem_id:token\ttimestamp:float", "b\titem-9\t1", "a\titem-2\t2", "a\titem-1\t1"]
    rows += ["b\titem-12\t2", "c\titem-1\t1", "d\titem-1\t1", "d\tnobody's\t2", "a\tnobody's\t1.5"]
    (tmp_path / "test.inter").write_text("\n".join(rows) + "\n")
    with Recommender() as recommender:
        file = service_file(tmp_path, recommender.url)
        settings = {name: str(value) for name, value in (TINY | {"output_dir": tmp_path / "out"}).items()}
        results = run_audit(file, str(tmp_path / "test.inter"), command_line=settings)
    own = results["histories"]
    assert (own["users"], own["left_out"]) == (2, 2)  # c has no history, d's test item is unknown
    assert results["lists"]["limit"] == ALL + 2
    line = 'histories: 2 of 4 users left out, without a history and a test item of the catalogue (such as "nobody\'s"; '
    assert line in (tmp_path / "out" / "run.log").read_text()
    # a: item-2 is the first item after item-1; b: item-12 the third after item-9
    assert own["service"] == {"hit@1": 0.5, "ndcg@1": 0.5, "hit@5": 1.0, "ndcg@5": round((1 + 1 / np.log2(4)) / 2, 4)}
    assert own["surrogate"].keys() == own["service"].keys()
    assert "Accuracy on the owner's histories" in (tmp_path / "out" / "report.md").read_text()


@pytest.mark.parametrize(("first", "second"), [("2", "1"), ("nobody's", "item-1")])
def test_histories_in_another_notation_are_refused_before_a_request(tmp_path, first, second):
    rows = ["user_id:token\titem_id:token\ttimestamp:float", f"a\t{first}\t1", f"a\t{second}\t2"]
    (tmp_path / "test.inter").write_text("\n".join(rows) + "\n")
    with Recommender() as recommender:
        file = service_file(tmp_path, recommender.url)
        settings = {name: str(value) for name, value in (TINY | {"output_dir": tmp_path / "out"}).items()}
        message = rf"^histories: 1 of 1 user left out, .* \(such as \S*{first}\S; the catalogue has 'item-1'\)$"
        with pytest.raises(UserError, match=message):
            run_audit(file, str(tmp_path / "test.inter"), command_line=settings)
    assert recommender.requests == []
    assert not (tmp_path / "out").exists()


def test_attacks_share_answers_and_the_strongest_is_marked(tmp_path):
    attackers = "[standard+mixed, filtered+mixed]"
    with Recommender() as recommender:
        results = audit(tmp_path, recommender, attacker="strongest", attacker_suite=attackers)
    assert [row["attacker"] for row in results["attacks"]] == ["standard+mixed", "filtered+mixed"]
    assert sum(row["strongest"] for row in results["attacks"]) == 1
    assert len(recommender.given_out) == ALL  # both query the same histories


@pytest.mark.parametrize(("query_sequences", "n_lists"), [(6, 10), (2, 6)])
def test_a_service_without_an_item_ends_the_audit_early(tmp_path, query_sequences, n_lists):
    with Recommender(lists=lambda history: []) as recommender:
        with pytest.raises(UserError, match=f"the service returned no item in its first {n_lists} lists"):
            audit(tmp_path, recommender, query_sequences=query_sequences)
        assert len(recommender.given_out) <= 12


def test_a_surrogate_that_extracted_nothing_has_no_number_of_lists(tmp_path, monkeypatch, capsys):
    import recbole_gro.audit.extraction as module

    monkeypatch.setattr(module, "list_agreement", lambda surrogate, log: K / len(CATALOGUE))  # as random items have
    with Recommender() as recommender:
        results = audit(tmp_path, recommender)
    assert results["lists_needed"] == {"50%": None, "80%": None, "90%": None}
    assert "The attack gained nothing" in (tmp_path / "out" / "report.md").read_text()


def test_the_untrained_surrogate_is_the_selected_one_before_its_first_epoch(tmp_path, monkeypatch):
    before, fit = {}, ExtractionTrainer.fit

    def recorded(self, train_data, *args, **kwargs):
        before.setdefault(
            type(self.model).__name__, {name: value.clone() for name, value in self.model.state_dict().items()}
        )
        return fit(self, train_data, *args, **kwargs)

    monkeypatch.setattr(ExtractionTrainer, "fit", recorded)
    with Recommender() as recommender:
        results = audit(tmp_path, recommender, surrogate_model="[SASRec, GRU4Rec]", n_heads=2, surrogate_epochs=8,
                        query_sequences=60, surrogate_learning_rate=0.05)  # fmt: skip
    [row] = results["attacks"]
    target = load_target(tmp_path / "out" / "surrogate-standard.pth")
    target.model.load_state_dict(before[row["surrogate_model"]])
    log = QueryLog.load(tmp_path / "out" / "queries-standard.npz")
    seed = stage_seed(TINY["seed"], "surrogate")
    held_out = log.split(HELD_OUT, torch.Generator().manual_seed(seed))[1]
    assert row["untrained_agreement"] == pytest.approx(list_agreement(target.model.eval(), held_out), abs=1e-4)
    assert row["untrained_agreement"] < row["agreement"]


def test_agreement_is_named_and_compared_by_the_length_of_the_lists_that_an_attack_takes(tmp_path, monkeypatch, capsys):
    import recbole_gro.audit.extraction as module

    query = StandardAttacker.query
    monkeypatch.setattr(StandardAttacker, "query", lambda self, *given: query(self, *given).first(2))
    shares = iter([3 / len(CATALOGUE), 0.01])  # of the surrogate, more than chance at 2, and of the untrained one
    monkeypatch.setattr(module, "list_agreement", lambda surrogate, log: next(shares))
    monkeypatch.setattr(ExtractionTrainer, "improved", True)
    with Recommender() as recommender:
        results = audit(tmp_path, recommender)
    assert results["attacks"][0]["agreement_at"] == 2
    assert results["lists_needed"]["50%"]
    chance = f"random items would agree on {100 * 2 / len(CATALOGUE):.1f} %"
    for text in ((tmp_path / "out" / "report.md").read_text(), capsys.readouterr().out):
        assert "agreement@2" in text
        assert f"agreement@{K}" not in text
        assert chance in text


def test_log_and_report_round_one_number(tmp_path, monkeypatch, capsys):
    for module in ("extraction", "curve"):  # 0.1525 in results.json
        monkeypatch.setattr(f"recbole_gro.audit.{module}.list_agreement", lambda surrogate, log: 0.152521)
    with Recommender() as recommender:
        results = audit(tmp_path, recommender)
    assert {point["agreement"] for point in results["curve"]} == {0.1525}
    shown = f"{100 * 0.1525:.1f} %"
    assert shown in (tmp_path / "out" / "report.md").read_text()
    assert f"{100 * 0.152521:.1f} %" not in (log := capsys.readouterr().out)
    assert log.count(f"agreement {shown} with ") == len(results["curve"]) - 1


def test_an_audit_with_a_collected_catalogue_is_resumed_with_the_same_queries(tmp_path):
    given = {"catalogue": None, "seeds": ["item-7"], "retries": 0, "concurrency": 1}
    settings = {"query_sequences": 30}
    (tmp_path / "whole").mkdir()
    with Recommender() as recommender:
        whole = audit(tmp_path / "whole", recommender, given, **settings)
    with Recommender(lambda number, histories: (503, {}, "down") if number >= 40 else None) as recommender:
        with pytest.raises(UserError, match="requests in a row failed"):
            audit(tmp_path, recommender, given, **settings)
        recommender.misbehave = lambda number, histories: None
        results = audit(tmp_path, recommender, given, **settings)
    assert results["attacks"] == whole["attacks"]
    assert results["lists"] == whole["lists"]
    assert len(recommender.given_out) == whole["lists"]["given_out"]


def test_secrets_of_the_request_stand_in_no_file(tmp_path):
    with Recommender() as recommender:
        request = {"histories": "{histories}", "key": "${AUDIT_TOKEN}"}
        results = audit(tmp_path, recommender, {"request": request})
    assert recommender.bodies[0]["key"] == SECRET
    assert results["service"]["request"] == request
    for file in (tmp_path / "out").rglob("*"):
        assert file.is_dir() or SECRET.encode() not in file.read_bytes(), file


@pytest.mark.parametrize("redirected", [range(99), [4]])  # requests by number
def test_a_secret_in_the_path_that_a_redirect_repeats_stands_in_no_file_nor_output(tmp_path, capsys, redirected):
    def redirect(number, histories):
        return (307, {"Location": recommender.paths[number] + "/"}, "") if number in redirected else None

    with Recommender(redirect) as recommender:
        file = service_file(tmp_path, f"{recommender.url}/${{AUDIT_TOKEN}}/r", concurrency=1)
        status = main(["audit", f"--black_box={file}", *words(output_dir=tmp_path / "out", state="debug")])
    assert status == (2 if 0 in redirected else 0)
    assert SECRET in recommender.paths[0]
    captured = "".join(capsys.readouterr())
    texts = [file.read_bytes() for file in (tmp_path / "out").rglob("*") if file.is_file()]
    assert SECRET.encode() not in b"".join([*texts, captured.encode()])
    shown = "a redirect to /recommend/${AUDIT_TOKEN}/r/; redirects are not followed"
    assert shown in (captured if 0 in redirected else (tmp_path / "out" / "report.md").read_text())


def test_failures_of_a_function_do_not_spend_the_budget(tmp_path, monkeypatch):
    (tmp_path / "failing_shop.py").write_text(
        "from audit.cases import ring\nbroken = True\ndef recommend(histories):\n    if broken:\n"
        "        raise OSError('down')\n    return [ring(history) for history in histories]\n"
    )
    service_file(tmp_path, "")
    monkeypatch.chdir(tmp_path)
    given = {"catalogue": "items.txt", "k": K}
    settings = {name: str(value) for name, value in (TINY | {"output_dir": "out"}).items()}
    for _ in range(4):  # each with a request of 6 lists; 18 are allowed
        with pytest.raises(UserError, match="the first 3 requests failed"):
            run_audit("failing_shop:recommend", description=given, command_line=settings)
    monkeypatch.setattr("failing_shop.broken", False)
    results = run_audit("failing_shop:recommend", description=given, command_line=settings)
    assert results["attacks"][0]["lists"] == results["lists"]["given_out"] == ALL
    assert results["irregularities"]["failed"] == 0


def test_an_interrupt_says_how_to_resume(tmp_path, monkeypatch, capsys):
    (tmp_path / "interrupted_shop.py").write_text("def recommend(histories):\n    raise KeyboardInterrupt\n")
    service_file(tmp_path, "")
    monkeypatch.chdir(tmp_path)
    own = ["--black_box=interrupted_shop:recommend", "--catalogue=items.txt", "--k=5"]
    assert main(["audit", *own, *words(output_dir="out")]) == 130
    assert "the same command with --output_dir=out resumes this audit" in capsys.readouterr().err


def start(folder, file):
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(Path(recbole_gro.__file__).parents[1]), *sys.path])}
    command = [sys.executable, "-m", "recbole_gro", "audit", f"--black_box={file}", *words(output_dir=folder / "out")]
    return subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)


def test_a_killed_audit_is_resumed_without_repeating_a_query(tmp_path, in_process):
    with Recommender() as recommender:
        file = service_file(tmp_path, recommender.url, rate=8, concurrency=1)
        process = start(tmp_path, file)
        while len(recommender.given_out) < 7 and process.poll() is None:
            time.sleep(0.02)
        process.send_signal(signal.SIGKILL)
        process.wait()
        before = len(recommender.given_out)
        results = audit(tmp_path, recommender)  # another rate does not matter
    assert 7 <= before < ALL
    assert len(recommender.given_out) <= ALL == results["lists"]["given_out"]
    log = QueryLog.load(tmp_path / "out" / "queries-standard.npz")
    queried = Counter(tuple(CATALOGUE[i - 1] for i in row[: t + 1]) for row in log.sequences.tolist() for t in range(3))
    repeated = Counter(recommender.given_out) - queried
    assert sum(repeated.values()) <= 1  # the query whose answer the kill cut off
    assert torch.equal(log.sequences, in_process[0].sequences)


def test_a_finished_audit_requests_nothing_more(tmp_path):
    with Recommender() as recommender:
        results = audit(tmp_path, recommender)
        n_requests = len(recommender.requests)
        assert audit(tmp_path, recommender, {"rate": 3}) == results
        assert len(recommender.requests) == n_requests
        with pytest.raises(UserError, match=r"holds an audit with other settings \(query_length\)"):
            audit(tmp_path, recommender, query_length=4)


def test_positions_of_ones_own_are_measured(tmp_path):
    rows = ["user_id:token\titem_id:token\ttimestamp:float", "a\titem-1\t1", "a\titem-3\t2"]
    (tmp_path / "test.inter").write_text("\n".join(rows) + "\n")
    with Recommender() as recommender:
        settings = {name: str(value) for name, value in (TINY | {"output_dir": tmp_path / "out"}).items()}
        file = service_file(tmp_path, recommender.url)
        results = run_audit(file, str(tmp_path / "test.inter"), command_line=settings | {"topk": "[2, 3]"})
    assert results["histories"]["service"] == {"hit@2": 1.0, "ndcg@2": 0.6309, "hit@3": 1.0, "ndcg@3": 0.6309}


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("head_k", "head_k: recbole-gro audit does not read it; the provider's side"),
        ("gro_lambda", "gro_lambda: recbole-gro audit does not read it; the provider's side"),
        ("false_positive_rate", "false_positive_rate: recbole-gro audit does not read it; recbole-gro detect"),
        *(
            (name, f"{name}: recbole-gro audit does not read it; recbole-gro run, which trains a target, does")
            for name in ("epochs", "learning_rate", "loss_type", "train_rows", "valid_metric")
        ),
        *(
            (name, f"{name}: recbole-gro audit does not read it; recbole-gro run does")
            for name in (
                "access_log",
                "attack",
                "attacker_known_share",
                "metrics",
                "references",
                "workers",
                "worker",
            )
        ),
        *(
            (name, f"^{name}: recbole-gro audit does not read it; recbole-gro run, which reads a dataset, does$")
            for name in ("eval_args", "load_col", "val_interval", "item_inter_num_interval", "threshold", "LIST_SUFFIX")
        ),
        *(
            (name, f"^{name}: recbole-gro audit does not read it; leave it out$")
            for name in ("nproc", "ENTITY_ID_FIELD", "save_dataset", "repeatable", "checkpoint_dir")
        ),
        *(
            (name, f"^{name}: an audit reads it with test histories alone; add --histories=FILE or leave it out$")
            for name in ("exclude_seen", "topk", "TIME_FIELD", "encoding")
        ),
        ("dataset", "^dataset: an audit reads no dataset; --histories=FILE gives test histories"),
        ("target_epoch", "target_epoch: recbole-gro audit does not read it"),
    ],
)
def test_settings_that_an_audit_does_not_read_are_refused(tmp_path, name, message):
    with pytest.raises(UserError, match=message):
        run_audit(service_file(tmp_path, "http://127.0.0.1:9"), command_line={name: "0.3"})


@pytest.mark.parametrize("answer", [(503, {}, "busy"), (200, {}, b"<html>maintenance</html>")])
@pytest.mark.parametrize("n_before", [8, 15])  # in the middle of the first attack, and near its end
def test_an_outage_loses_no_query_of_steps_with_few_requests(tmp_path, answer, n_before):
    given = {"attacker": "[standard+mixed,standard+random]", "query_sequences": 6}
    with Recommender(lambda number, histories: answer if number >= n_before else None) as recommender:
        description = {"retries": 0, "concurrency": 1}
        with pytest.raises(UserError, match=r"10 requests in a row failed"):
            audit(tmp_path, recommender, description, **given)
        recommender.misbehave = lambda number, histories: None
        n_requests = len(recommender.requests)
        resumed = audit(tmp_path, recommender, description, **given)
        queried = len(recommender.requests) - n_requests
        undisturbed = audit(tmp_path, recommender, description, **given, output_dir=tmp_path / "other")
    assert n_requests == n_before + 10
    assert resumed["irregularities"]["failed"] == 0
    assert resumed["failures"] == {}
    for part in ("attacks", "curve", "lists", "irregularities"):
        assert resumed[part] == undisturbed[part]
    assert queried == resumed["lists"]["given_out"] - n_before


def test_the_last_queries_of_an_audit_may_fail(tmp_path):
    with Recommender(lambda number, histories: (400, {}, "no") if number >= ALL - 3 else None) as recommender:
        results = audit(tmp_path, recommender, {"concurrency": 1})
    assert results["irregularities"]["failed"] == 3
    assert results["failures"] == {"status 400": 3}


def test_a_service_that_fails_ends_the_audit_which_is_resumed(tmp_path):
    def misbehave(number, histories):
        return (503, {}, "down") if number >= 5 else None

    with Recommender(misbehave) as recommender:
        with pytest.raises(
            UserError, match=r"10 requests in a row failed \(status 503: \"down\"\); the same command with"
        ):
            audit(tmp_path, recommender, {"retries": 0, "concurrency": 1}, query_sequences=20)
        recommender.misbehave = lambda number, histories: None
        results = audit(tmp_path, recommender, {"retries": 0, "concurrency": 1}, query_sequences=20)
    assert results["irregularities"]["failed"] == 0
    assert len(recommender.given_out) == 20 * 3


def test_a_service_that_hangs_ends_the_audit_before_retries_have_spent_its_budget(tmp_path):
    def hang(number, histories):
        if number >= 5:
            time.sleep(0.4)

    given = {"timeout": 0.1, "concurrency": 1}
    with Recommender(hang) as recommender:
        with pytest.raises(
            UserError,
            match=r"10 requests in a row failed \(the service sent nothing for 0.1 s\); the same command with",
        ):
            audit(tmp_path, recommender, given, query_sequences=20)
        assert len(recommender.requests) == 5 + 6 + 9  # one is retried, the others are not
        recommender.misbehave = lambda number, histories: None
        results = audit(tmp_path, recommender, given, query_sequences=20)
    assert results["lists"]["given_out"] == results["lists"]["limit"] == 60
    assert results["irregularities"]["failed"] == 15


@pytest.mark.parametrize("concurrency", [1, 2])
def test_a_budget_that_the_first_requests_spend_without_an_answer_is_named_with_their_failure(tmp_path, concurrency):
    given = {"batch": 6, "items": "result[].items", "concurrency": concurrency}
    settings = {"query_length": 2}  # 12 lists
    with Recommender(lambda number, histories: (500, {}, "down")) as recommender:
        spent = r"12 of the 12 lists of the budget may have been given out, too many for another request; name another"
        with pytest.raises(UserError, match=rf'yaml: the first request failed \(status 500: "down"\); {spent} folder'):
            audit(tmp_path, recommender, given, **settings)
        recommender.misbehave = lambda number, histories: None
        with pytest.raises(UserError, match=f"yaml: no request can be sent: {spent} folder"):
            audit(tmp_path, recommender, given, **settings)
        assert len(recommender.requests) == 2
        results = audit(tmp_path, recommender, given, **settings, output_dir=tmp_path / "other")
    assert results["irregularities"]["failed"] == 0


def test_a_first_request_whose_tries_left_budget_is_sent_again(tmp_path):
    given = {"batch": 6, "items": "result[].items", "retries": 0}
    with Recommender(lambda number, histories: (500, {}, "down")) as recommender:
        with pytest.raises(UserError, match=r'the first request failed \(status 500: "down"\); the same command with'):
            audit(tmp_path, recommender, given)
        recommender.misbehave = lambda number, histories: None
        results = audit(tmp_path, recommender, given)
    assert results["failures"] == {"the list budget is spent": 6}  # of the last step: the first one was sent twice
    assert results["lists"]["given_out"] == ALL


def test_a_mended_catalogue_takes_another_folder_as_the_message_says(tmp_path):
    with Recommender() as recommender:
        (tmp_path / "other.txt").write_text("\n".join(CATALOGUE[:2] + [f"other-{n}" for n in range(20)]) + "\n")
        recommender.lists = lambda history: ["item-9"]
        with pytest.raises(UserError, match=r"the folder is bound to the catalogue, so name another one once"):
            audit(tmp_path, recommender, {"catalogue": "other.txt"})
        with pytest.raises(UserError, match=r"out holds an audit with other settings \(catalogue\); name another"):
            audit(tmp_path, recommender)
        recommender.lists = ring
        assert audit(tmp_path, recommender, output_dir=tmp_path / "mended")["irregularities"]["unknown"] == 0


OWN_ATTACK = """
from own_helper import checked
from recbole_gro.attack.attacker import StandardAttacker, register_attacker
@register_attacker("own_attack")
class OwnAttack(StandardAttacker):
    def train_surrogate(self, *given, **settings):
        return checked(super().train_surrogate(*given, **settings))
"""


def test_an_audit_keeps_its_answers_when_code_of_a_user_is_mended_and_no_results_of_other_code(tmp_path):
    """Answers may cost something; an unfinished training and results are of the code that computed them."""
    (tmp_path / "own_attack.py").write_text(OWN_ATTACK)
    helper = tmp_path / "own_helper.py"

    def audited():
        given = words(plugins="[own_attack]", attacker="own_attack", output_dir="out")
        return subprocess.run(
            [sys.executable, "-W", "ignore", "-m", "recbole_gro", "audit", "--black_box=service.yaml", *given],
            cwd=tmp_path, capture_output=True, text=True, check=False,
        )  # fmt: skip

    with Recommender() as recommender:
        service_file(tmp_path, recommender.url)
        helper.write_text("def checked(trainer):\n    raise RuntimeError('a fault')\n")
        assert audited().returncode == 2
        assert len(recommender.given_out) == ALL
        helper.write_text("def checked(trainer):\n    return trainer\n")
        mended = audited()
        assert (mended.returncode, len(recommender.given_out)) == (0, ALL)
        assert "your code has changed; answers of the service are kept" in mended.stdout + mended.stderr
        results = (tmp_path / "out" / "results.json").read_text()
        helper.write_text("def checked(trainer):\n    return trainer  # edited\n")
        refused = audited()
    assert refused.returncode == 2
    assert "out holds an audit with other settings (your code); name another folder" in refused.stderr
    assert (tmp_path / "out" / "results.json").read_text() == results
