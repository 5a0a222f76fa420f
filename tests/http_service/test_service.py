import asyncio
import contextlib
import sqlite3

import pytest
import torch

from recbole_gro import UserError, load_target
from recbole_gro.http_service.ledger import Entry, Ledger
from recbole_gro.http_service.options import Options
from recbole_gro.http_service.refusal import HttpRefusal
from recbole_gro.http_service.service import DefendedService, output_defense


@pytest.fixture(autouse=True)
def _threads():
    yield
    torch.set_num_threads(1)


@pytest.fixture
def service(checkpoint_of, tmp_path):
    return DefendedService(Options(checkpoint_of("GRU4Rec"), ledger=str(tmp_path / "service.db")))


def test_queries_of_several_k_and_keys_get_their_own_lists(service):
    for name in ("ann", "bob"):
        service.ledger.create_key(name, budget=3)
    entries = [Entry(1, [[3]], 5), Entry(2, [[4], [5]], 2), Entry(1, [[6]] * 3, 5), Entry(2, [[7]], 5)]
    first, second, third, fourth = service.respond(entries)
    assert first == service.recommender.answer([[3]], 5)
    assert second == service.recommender.answer([[4], [5]], 2)
    assert isinstance(third, HttpRefusal)
    assert fourth == service.recommender.answer([[7]], 5)


class OwnFault(BaseException): ...


@pytest.mark.parametrize(
    "fault", [UserError("scores are NaN"), SystemExit(0), OwnFault(), asyncio.CancelledError(), GeneratorExit()]
)  # of a defense of one's own
def test_what_fails_is_given_back_and_the_rest_is_answered(service, monkeypatch, fault):
    service.ledger.create_key("ann", budget=9)
    answer = service.recommender.answer

    def fails_for_five(histories, k):
        if k == 5:
            raise fault
        return answer(histories, k)

    monkeypatch.setattr(service.recommender, "answer", fails_for_five)
    failed, answered = service.respond([Entry(1, [[3]], 5), Entry(1, [[4], [5]], 2)])
    assert (failed.status, failed.sentence) == (500, "internal error")
    assert len(answered) == 2
    assert service.ledger.all_keys()[0]["spent"] == 2


def test_lists_that_cannot_be_given_back_at_once_are_given_back_later(service, monkeypatch, caplog):
    service.ledger.create_key("ann", budget=9)
    answer = service.recommender.answer

    def locked(*_):
        error = sqlite3.OperationalError("database is locked")
        error.sqlite_errorcode = sqlite3.SQLITE_BUSY
        raise error

    with monkeypatch.context() as patch:
        patch.setattr(service.recommender, "answer", lambda histories, k: 1 / 0 if k == 5 else answer(histories, k))
        patch.setattr(service.ledger, "withdraw", locked)
        failed, answered = service.respond([Entry(1, [[3]], 5), Entry(1, [[4], [5]], 2)])
        assert (failed.status, len(answered)) == (500, 2)
        with pytest.raises(sqlite3.OperationalError):  # counts nothing before what is owed
            service.respond([Entry(1, [[3]], 2)])
    assert f"ledger: {service.ledger.file} cannot be used: database is locked; lists are given back later" in (
        caplog.messages
    )
    assert service.ledger.all_keys()[0]["spent"] == 3
    service.respond([Entry(1, [[6]], 2)])
    assert service.ledger.all_keys()[0]["spent"] == 3
    assert service.ledger.totals() == {"500": (1, 1), "answered": (2, 3)}


def test_lists_are_given_back_where_the_rows_of_their_queries_were_deleted(service, monkeypatch, tmp_path):
    """Rows of `query` may be deleted at any time, also while the queries are answered."""
    for name in ("ann", "bob"):
        service.ledger.create_key(name, budget=9)

    def fails_after_a_deletion(*_):
        with contextlib.closing(sqlite3.connect(tmp_path / "service.db")) as other, other:
            other.execute("DELETE FROM query")
        raise UserError("scores are NaN")

    with monkeypatch.context() as patch:
        patch.setattr(service.recommender, "answer", fails_after_a_deletion)
        [failed] = service.respond([Entry(1, [[3], [4]], 5)])
    assert failed.status == 500
    assert service.respond([Entry(2, [[3]], 5)]) == [service.recommender.answer([[3]], 5)]
    assert [key["spent"] for key in service.ledger.all_keys()] == [0, 1]
    assert service.ledger.totals() == {"500": (1, 2), "answered": (1, 1)}
    service.close()


@pytest.mark.parametrize("fault", [TypeError("a defect"), sqlite3.DatabaseError("malformed")])
def test_lists_that_cannot_be_given_back_fail_no_other_query_nor_the_shutdown(service, monkeypatch, caplog, fault):
    for name in ("ann", "bob"):
        service.ledger.create_key(name, budget=9)
    answer, withdraw = service.recommender.answer, service.ledger.withdraw

    def fails_for_ann(queries, status):
        if queries[0].key == 1:
            raise fault
        withdraw(queries, status)

    with monkeypatch.context() as patch:
        patch.setattr(service.ledger, "withdraw", fails_for_ann)
        patch.setattr(service.recommender, "answer", lambda *_: 1 / 0)
        for key in (1, 2):
            assert service.respond([Entry(key, [[3], [4]], 5)])[0].status == 500
        patch.setattr(service.recommender, "answer", answer)
        assert len(service.respond([Entry(2, [[3]], 5)])[0]) == 1
        assert [key["spent"] for key in service.ledger.all_keys()] == [2, 1]
        service.close()
    assert caplog.messages.count(f"2 lists of the API keys with ids [1] are not given back: {fault!r}") == 1


def defense_of(file, name, **settings):
    return output_defense(load_target(file), Options(file, defense=name, settings=settings))


def test_a_service_draws_with_a_secret_key_and_once_per_query(checkpoint_of):
    defense = defense_of(checkpoint_of("GRU4Rec"), "random")
    assert defense.draws is not None
    assert defense.config["defense_key"] == "secret"
    assert defense_of(checkpoint_of("GRU4Rec"), "random", random_keyed="False").draws is None
    assert defense_of(checkpoint_of("GRU4Rec"), "random", defense_key="seed").config["defense_key"] == "seed"


def test_settings_of_the_defense_are_read_and_checked(checkpoint_of):
    file = checkpoint_of("GRU4Rec")
    assert defense_of(file, "tail_decoy", head_k="3").head_k == 3
    for settings, sentence in (
        ({"head_k": "0"}, "head_k: 0 is not allowed"),
        ({"head_k": "12"}, "head_k: 12 leaves nothing"),
        (
            {"random_keyed": "False"},
            "random_keyed: no setting of serve with --defense=tail_decoy, which reads head_k, served_k",
        ),
        ({"defense_key": "seed"}, "defense_key: no setting of serve with --defense=tail_decoy"),
        (
            {"gro_lambda": "1"},
            "gro_lambda: no setting of serve with --defense=tail_decoy, which reads head_k, served_k",
        ),
    ):
        with pytest.raises(UserError, match=sentence):
            defense_of(file, "tail_decoy", **settings)


@pytest.mark.parametrize(("name", "rest"), [("gro", "none"), ("gro+tail_decoy", "tail_decoy")])
def test_a_defense_that_trains_is_not_served(checkpoint_of, name, rest):
    with pytest.raises(UserError, match=f"target-gro.pth, with --defense={rest}"):
        defense_of(checkpoint_of("GRU4Rec"), name)


def started(file, tmp_path, **options):
    return DefendedService(Options(file, ledger=str(tmp_path / "service.db"), **options))


@pytest.mark.parametrize(
    ("name", "most"), [("none", 30), ("tail_shuffle", 30), ("tail_random", 29), ("tail_decoy", 29)]
)
def test_lists_are_as_long_as_the_catalogue_at_most_and_shorter_where_a_defense_takes_items_from_outside(
    checkpoint_of, tmp_path, name, most
):
    service = started(checkpoint_of("GRU4Rec"), tmp_path, defense=name, settings={"served_k": str(most)})
    [row] = service.recommender.answer([[3]], most)
    assert len({*row}) == most
    service.ledger.close()
    (tmp_path / "service.db").unlink()
    with pytest.raises(UserError, match=rf"served_k: {most + 1} is .* catalogue of 30 items; .*at most {most}"):
        started(checkpoint_of("GRU4Rec"), tmp_path, defense=name, settings={"served_k": str(most + 1)})
    assert not (tmp_path / "service.db").exists()


def test_a_model_whose_scores_are_nan_is_refused_at_the_start(checkpoint_of, tmp_path):
    saved = torch.load(checkpoint_of("GRU4Rec"), weights_only=True)
    saved["state_dict"] = {name: value * torch.nan for name, value in saved["state_dict"].items()}
    torch.save(saved, tmp_path / "target.pth")
    with pytest.raises(UserError, match="the scores of GRU4Rec are NaN"):
        started(str(tmp_path / "target.pth"), tmp_path)
    assert not (tmp_path / "service.db").exists()


def test_services_of_one_catalogue_share_a_ledger_and_one_of_another_is_refused(checkpoint_of, tmp_path):
    file = checkpoint_of("GRU4Rec")
    started(file, tmp_path)
    started(checkpoint_of("NARM"), tmp_path)
    saved = torch.load(file, weights_only=True)
    tokens = saved["catalogue"]["item_tokens"]
    saved["catalogue"]["item_tokens"] = [tokens[0], *reversed(tokens[1:])]
    torch.save(saved, tmp_path / "other.pth")
    with pytest.raises(UserError, match=r"service\.db is of another catalogue than the checkpoint's \(other items, or"):
        started(str(tmp_path / "other.pth"), tmp_path)


def test_the_ledger_lies_beside_the_checkpoint():
    assert Options("runs/a/target.pth").ledger_file == "runs/a/service.db"
    assert Options("runs/a/target.pth", ledger="b.db").ledger_file == "b.db"


def guarded(checkpoint_of, tmp_path, on_alarm, **more):
    options = Options(
        checkpoint_of("GRU4Rec"),
        ledger=str(tmp_path / "service.db"),
        on_alarm=on_alarm,
        false_positive_rate=0.05,
        **{"detector": "coverage", **more},
    )
    made = DefendedService(options)
    made.ledger.create_key("ann", budget=20)
    return made


ODD, PLAIN = [3] * 8, [3]


def test_flagged_histories_get_random_items_and_others_their_lists(checkpoint_of, tmp_path):
    own = guarded(checkpoint_of, tmp_path, "decoy")
    [lists] = own.respond([Entry(1, [PLAIN, ODD], 5)])
    assert lists[0] == own.recommender.answer([PLAIN], 5)[0]
    assert lists[1] == own.guard.decoys([ODD], 5)[0] != own.recommender.answer([ODD], 5)[0]
    assert own.ledger.all_keys()[0]["spent"] == 2


def test_flagged_requests_are_refused_and_not_counted(checkpoint_of, tmp_path):
    own = guarded(checkpoint_of, tmp_path, "refuse")
    plain, odd, both = own.respond([Entry(1, [PLAIN], 5), Entry(1, [ODD], 5), Entry(1, [[4], ODD], 5)])
    assert plain == own.recommender.answer([PLAIN], 5)
    assert (odd.status, both.status) == (429, 429)
    assert own.ledger.all_keys()[0]["spent"] == 1
    assert own.ledger.totals() == {"429": (2, 3), "answered": (1, 1)}


def test_flagged_requests_whose_rows_were_deleted_are_given_back(checkpoint_of, tmp_path, monkeypatch):
    own = guarded(checkpoint_of, tmp_path, "refuse")
    alarms = own.guard.alarms

    def judged(*given):
        with contextlib.closing(sqlite3.connect(tmp_path / "service.db")) as other, other:
            other.execute("DELETE FROM query WHERE sequences IS NOT NULL")
        return alarms(*given)

    monkeypatch.setattr(own.guard, "alarms", judged)
    plain, odd = own.respond([Entry(1, [PLAIN], 5), Entry(1, [ODD], 5)])
    assert (plain, odd.status) == (own.recommender.answer([PLAIN], 5), 429)
    assert own.ledger.all_keys()[0]["spent"] == 1
    assert own.ledger.totals() == {"429": (1, 1), "answered": (1, 1)}
    own.close()


def test_lists_are_given_back_where_a_judgement_cannot_be_noted(checkpoint_of, tmp_path, monkeypatch, caplog):
    own = guarded(checkpoint_of, tmp_path, "decoy")

    def full(*_):
        raise sqlite3.OperationalError("database or disk is full")

    monkeypatch.setattr(own.guard, "alarms", full)
    [failed] = own.respond([Entry(1, [PLAIN], 5)])
    assert isinstance(failed, sqlite3.OperationalError)
    assert own.ledger.totals() == {"503": (1, 1), "answered": (0, 0)}
    assert own.ledger.all_keys()[0]["spent"] == 0
    assert caplog.messages == []  # the response logs it


def test_a_flag_whose_lists_cannot_be_given_back_refuses_its_request_alone(checkpoint_of, tmp_path, monkeypatch):
    own = guarded(checkpoint_of, tmp_path, "refuse")

    def full(*_):
        raise sqlite3.OperationalError("database or disk is full")

    with monkeypatch.context() as patch:
        patch.setattr(own.ledger, "withdraw", full)
        plain, odd = own.respond([Entry(1, [PLAIN], 5), Entry(1, [ODD], 5)])
    assert plain == own.recommender.answer([PLAIN], 5)
    assert odd.status == 429
    own.close()
    assert Ledger(tmp_path / "service.db").totals() == {"429": (1, 1), "answered": (1, 1)}


def test_alarms_may_be_logged_alone(checkpoint_of, tmp_path, caplog):
    own = guarded(checkpoint_of, tmp_path, "log")
    assert own.respond([Entry(1, [ODD], 5)]) == [own.recommender.answer([ODD], 5)]
    assert "detection: API key 'ann' has sent a history of 8 items that is flagged" in caplog.messages


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (
            {"on_alarm": "log", "detector": "[coverage,mmd]"},
            r"detector: \[coverage,mmd\] are several; a service has one",
        ),
        ({"on_alarm": "shout"}, "on_alarm: 'shout' is none of log, decoy, refuse"),
        ({"on_alarm": "log", "benign": "none.inter"}, r"benign: none\.inter: no such file"),
    ],
)
def test_an_invalid_detection_is_refused(checkpoint_of, tmp_path, more, message):
    with pytest.raises(UserError, match=message):
        guarded(checkpoint_of, tmp_path, **more)
    assert not (tmp_path / "service.db").exists()


def test_decoys_are_as_long_as_the_lists_that_a_defense_cuts(checkpoint_of, tmp_path):
    own = guarded(checkpoint_of, tmp_path, "decoy", defense="truncate", settings={"head_k": 4})
    true = own._lists([[1, 2], [3]], [False, False], 9)
    decoys = own._lists([[1, 2], [3]], [True, True], 9)
    assert [len(row) for row in true + decoys] == [4] * 4
    assert [len(row) for row in own._lists([[1, 2], [3]], [True, False], 2)] == [2, 2]
