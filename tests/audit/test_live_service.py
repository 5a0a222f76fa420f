import pytest
import torch
from audit.cases import CATALOGUE, K, ring

from recbole_gro import BlackBox, create_query_strategy
from recbole_gro.attack.repeat import AggregatedBlackBox
from recbole_gro.audit.description import Description
from recbole_gro.audit.function_source import FunctionSource
from recbole_gro.audit.journal import Journal, Refused, Unanswered
from recbole_gro.audit.live_service import (
    MOST_FAILED,
    MOST_REFUSED,
    MOST_STRANGE,
    Client,
    LiveService,
    collected_catalogue,
    irregularities,
)
from recbole_gro.utils.errors import UserError


def refusing(*last):
    def lists(history):
        if history[-1] in last:
            raise ValueError("no")
        return ring(history)

    return lists


def test_a_history_that_is_queried_again_is_requested_again_but_not_after_a_restart(client_of):
    client, requests = client_of(ring)
    live = LiveService(client, CATALOGUE)
    assert live([[3], [3], [4]]) == [[4, 5, 6, 7, 8]] * 2 + [[5, 6, 7, 8, 9]]
    assert live([[3]]) == [[4, 5, 6, 7, 8]]
    assert len(requests) == 4
    client, requests = client_of(ring)
    again = LiveService(client, CATALOGUE)
    again([[3], [3], [4]])
    again([[3]])
    assert requests == []
    again([[3]])
    assert requests == [[["item-3"]]]


def test_lists_hold_the_known_different_items_among_the_first_k(client_of):
    answers = [["x", "item-2", "item-2", "item-9", *CATALOGUE], [*"uvwxy", *CATALOGUE]]
    client, _ = client_of(lambda history: answers[len(history) - 1])
    live = LiveService(client, CATALOGUE)
    assert live([[1], [1, 2]]) == [[2, 9, 1], []]
    found = irregularities(client.journal, live)
    assert {name: found[name] for name in ("empty", "shorter", "longer", "duplicates", "unknown", "unknown_items")} == {
        "empty": 1, "shorter": 1, "longer": 2, "duplicates": 1, "unknown": 2, "unknown_items": 5,
    }  # fmt: skip


def test_items_beyond_the_first_k_change_no_list(client_of):
    ends = iter(CATALOGUE[::-1])
    client, _ = client_of(lambda history: [*ring(history), next(ends)])
    live = LiveService(client, CATALOGUE)
    live([[1], [1]])
    assert irregularities(client.journal, live)["changed"] == 0


@pytest.mark.parametrize("lists", [refusing("item-5"), lambda h: ["x"] if h[-1] == "item-5" else ring(h)])
def test_a_query_without_a_list_has_an_empty_one_and_its_sequence_goes_on(client_of, lists):
    client, _ = client_of(lists)
    live = LiveService(client, CATALOGUE)
    box = BlackBox(live, K, n_items=len(CATALOGUE) + 1)
    prefixes = torch.tensor([[7, 0, 0], [5, 0, 0], [7, 5, 0]])
    log = create_query_strategy("autoregressive").extend(box, prefixes, torch.Generator().manual_seed(1))
    assert bool((log.sequences > 0).all())
    given = log.sequences != 5
    assert given.any(1).tolist() == [True] * 3
    assert (log.lists != 0).sum(2).equal(K * given)
    assert live.n_without == int((~given).sum()) >= 2


def test_repeats_aggregate_the_responses_that_there_are(client_of):
    answers = iter([ring(["item-5"]), [], ring(["item-6"])])
    client, _ = client_of(lambda history: next(answers))
    live = LiveService(client, CATALOGUE)
    box = AggregatedBlackBox(BlackBox(live, K, n_items=len(CATALOGUE) + 1), 3)
    assert box.query(torch.tensor([[5]])).tolist() == [[7, 8, 9, 10, 6]]
    assert live.n_without == 1


def test_a_service_of_two_items_or_more_is_audited(client_of):
    client, _ = client_of(lambda history: ring(history) if len(history) > 1 else [])
    live = LiveService(client, CATALOGUE)
    assert live([[number] for number in range(1, 21)]) == [[]] * 20
    assert live([[1, 2]]) == [[3, 4, 5, 6, 7]]
    live.check()


def test_failures_between_answers_are_kept(client_of):
    client, _ = client_of(refusing("item-5"))
    client.lists([(("item-4",), 0), (("item-5",), 0), (("item-6",), 0)])
    client, requests = client_of(ring)
    assert client.lists([(("item-5",), 0), (("item-4",), 0)]) == [None, ring(["item-4"])]
    assert requests == []
    assert client.journal.reasons == {"ValueError no": 1}


@pytest.mark.parametrize(("first", "message"), [(1, "the first 3 requests failed"), (2, "10 requests in a row failed")])
def test_a_service_that_fails_ends_the_audit_and_its_failures_are_repeated(client_of, first, message):
    client, requests = client_of(refusing(*CATALOGUE[first - 1 :]))
    change = " this audit; if url, request or items of .*service.yaml are to be changed, name" if first == 1 else ""
    resumes = rf"{message} \(ValueError no\); the same command with --output_dir=\S* resumes{change or ' this audit$'}"
    with pytest.raises(UserError, match=resumes):
        client.lists([((token,), 0) for token in CATALOGUE])
    assert len(requests) >= (MOST_REFUSED if first == 1 else 1 + MOST_FAILED)
    client, requests = client_of(ring)
    assert client.lists([((token,), 0) for token in CATALOGUE]) == [ring([token]) for token in CATALOGUE]
    assert len(requests) == len(CATALOGUE) - (first - 1)


@pytest.mark.parametrize(
    ("failure", "message"),
    [
        (Unanswered("status 422", said="k is 100", status=422), r"\(status 422: k is 100\); .* request, k or items of"),
        (Unanswered("status 503", said="busy", status=503), r"\(status 503: busy\); .*; if url, request or items of"),
    ],
)  # fmt: skip
def test_a_first_failure_has_what_the_service_says_and_what_may_be_wrong(client_of, failure, message):
    client, _ = client_of(ring)

    def fails(histories, journal):
        raise failure

    client.source.lists = fails
    with pytest.raises(UserError, match="the first request failed " + message):
        client.lists([(("item-4",), 0)])


def refusing_with_422(lacking):
    def lists(histories, journal):
        if lacking & {token for history in histories for token in history}:
            raise Unanswered("status 422", said="unknown item", status=422)
        return [ring(history) for history in histories]

    return lists


@pytest.mark.parametrize("concurrency", [1, 2])
def test_a_first_request_that_is_refused_for_its_items_does_not_end_the_audit(client_of, concurrency):
    client, _ = client_of(ring)
    client.source.lists, client.source.concurrency = refusing_with_422({"item-1", "item-2"}), concurrency
    queries = [((token,), 0) for token in CATALOGUE]
    assert client.lists(queries) == [None, None, *(ring([token]) for token in CATALOGUE[2:])]
    client.keep_failures()
    assert client.journal.reasons == {"status 422": 2}


@pytest.mark.parametrize("lists", [refusing("item-1", "item-5"), refusing_with_422({"item-1", "item-5"})])
def test_an_item_that_a_service_lacks_costs_the_other_histories_of_its_request_no_list(client_of, lists):
    client, _ = client_of(lists, batch=8)
    if lists.__code__.co_argcount > 1:
        client.source.lists = lists
    queries = [((token,), 0) for token in CATALOGUE]
    lacking = [None if token in ("item-1", "item-5") else ring([token]) for token in CATALOGUE]
    assert client.lists(queries) == lacking
    client.keep_failures()
    assert sum(client.journal.reasons.values()) == 2
    assert client_of(ring)[0].lists(queries) == lacking


def test_histories_of_one_request_count_once_in_a_row(client_of):
    client, requests = client_of(refusing(*CATALOGUE[4:20]), batch=4)
    queries = [((token,), 0) for token in CATALOGUE]
    given = [ring([token]) if at < 4 or at >= 20 else None for at, token in enumerate(CATALOGUE)]
    assert client.lists(queries) == given  # 16 histories of four requests
    assert len(requests) == 6 + 16


def test_a_function_whose_service_is_down_ends_the_work_after_ten_histories(client_of):
    def down(history):
        if history[-1] not in CATALOGUE[:4]:
            raise OSError("down")
        return ring(history)

    client, requests = client_of(down, batch=4)
    with pytest.raises(UserError, match=r"10 requests in a row failed .OSError down"):
        client.lists([((token,), 0) for token in CATALOGUE])
    assert len(requests) == 1 + 3 * (3 + MOST_FAILED)  # three batches, and ten histories, each three times


def test_a_fault_that_is_of_no_item_is_met_once(client_of):
    def misspelt(history):
        raise NameError("rign")

    client, requests = client_of(misspelt, batch=8)
    with pytest.raises(UserError, match=r"the first request failed .NameError rign"):
        client.lists([((token,), 0) for token in CATALOGUE])
    assert len(requests) == 1


@pytest.mark.parametrize(("n", "what"), [(1, "the first request"), (2, "the first 2 requests"), (9, "the first 3 req")])
def test_a_service_that_refuses_all_requests_ends_the_audit(client_of, n, what):
    client, _ = client_of(ring)
    client.source.lists = refusing_with_422({*CATALOGUE})
    queries = [((token,), 0) for token in CATALOGUE[:n]]
    with pytest.raises(UserError, match=rf"{what}.* failed \(status 422: unknown item\); the same command with"):
        client.lists(queries)
    client, _ = client_of(ring)
    assert client.lists(queries) == [ring([token]) for token in CATALOGUE[:n]]  # they are sent again


@pytest.mark.parametrize("status", [408, 429, 500])
def test_a_first_request_that_fails_for_another_reason_ends_the_audit(client_of, status):
    client, _ = client_of(ring)

    def fails(histories, journal):
        raise Unanswered(f"status {status}", status=status)

    client.source.lists = fails
    with pytest.raises(UserError, match=f"the first request failed .status {status}"):
        client.lists([((token,), 0) for token in CATALOGUE])


def fails_with(error):
    def function(histories):
        raise error

    return function


@pytest.mark.parametrize(
    ("name", "error", "advice"),
    [
        (
            "mine:one",
            TypeError("no"),
            r"\(TypeError no\); it is called with a list of histories, .* of them",
        ),
        (
            "mine:one",
            OSError("no"),
            r"\(OSError no\); it is called .* of them; the same .* this audit",
        ),
        ("run/target.pth", TypeError("no"), r"\(TypeError no\)"),
    ],
)
def test_a_function_whose_first_call_fails_has_a_line_on_how_it_is_called(tmp_path, name, error, advice):
    function = fails_with(error)
    description = Description(name, {"item_type": "str"}, CATALOGUE, function)
    client = Client(FunctionSource(function), Journal(tmp_path / "answers.jsonl", 100), description)
    with pytest.raises(UserError, match=f"^{name}: the first request failed {advice}$"):
        client.lists([(("item-4",), 0)])


@pytest.mark.parametrize("step", [1, 3])
def test_a_row_of_failures_over_several_calls_ends_the_audit_and_is_repeated(client_of, step):
    queries = [((token,), 0) for token in CATALOGUE]
    parts = [queries[i : i + step] for i in range(0, len(queries), step)]
    client, _ = client_of(refusing(*CATALOGUE[6:]))
    with pytest.raises(UserError, match="10 requests in a row failed"):
        list(map(client.lists, parts))
    client, requests = client_of(ring)
    assert [client.lists(part) for part in parts] == [[ring([token]) for (token,), _ in part] for part in parts]
    assert len(requests) == len(CATALOGUE) - 6
    assert client.journal.reasons == {}


def test_a_query_that_failed_is_not_sent_again_by_the_same_process(client_of):
    client, requests = client_of(refusing("item-5"))
    query = (("item-5",), 0)
    client.lists([(("item-4",), 0)])
    assert client.lists([query]) == client.lists([query]) == [None]
    client.keep_failures()
    assert client.lists([query]) == [None]
    assert client.journal.reasons == {"ValueError no": 1}
    assert len(requests) == 2


def test_a_refused_account_ends_the_audit_at_once_and_its_queries_are_sent_again(client_of):
    client, _ = client_of(ring)
    source = client.source.lists

    def spent(histories, journal):
        if histories == [["item-5"]]:
            raise Refused("status 402")
        return source(histories, journal)

    client.source.lists = spent
    with pytest.raises(UserError, match=r"the service refuses this account \(status 402\); the same command with"):
        client.lists([((token,), 0) for token in ("item-4", "item-5")])
    client, requests = client_of(ring)
    assert client.lists([(("item-5",), 0)]) == [ring(["item-5"])]
    assert len(requests) == 1
    assert client.journal.reasons == {}


def test_no_list_is_given_beyond_the_limit(client_of):
    client, requests = client_of(ring, limit=4)
    lists = client.lists([((token,), 0) for token in CATALOGUE])
    assert lists == [ring([token]) for token in CATALOGUE[:4]] + [None] * 20
    assert len(requests) == 4
    client.keep_failures()
    assert client.journal.reasons == {"the list budget is spent": 20}


@pytest.mark.parametrize(("most", "n_items"), [(1, 6), (4, 9), (100, 24)])
def test_a_catalogue_is_collected_from_the_seeds_on(client_of, most, n_items):
    client, requests = client_of(ring)
    catalogue, n_lists = collected_catalogue(client, ["item-24"], most)
    assert len(catalogue) == n_items
    assert catalogue[:4] == ["item-24", "item-1", "item-2", "item-3"]
    assert n_lists == len(requests) == min(most, 24)


@pytest.mark.parametrize(("most", "n_items"), [(1, 3), (2, 4)])
def test_a_budget_that_ends_the_collection_of_a_catalogue_too_early_is_named(client_of, most, n_items):
    client, requests = client_of(lambda history: ring(history, 2))
    message = f"query_sequences: the budget ended the collection of the catalogue at {n_items} items, lists of k=5 take"
    with pytest.raises(UserError, match=message):
        collected_catalogue(client, ["item-24"], most)
    assert len(requests) == most


def test_a_small_catalogue_that_was_collected_in_full_is_no_matter_of_the_budget(client_of):
    client, _ = client_of(lambda history: ["item-2", "item-3"])
    assert collected_catalogue(client, ["item-2", "item-3"], 2) == (["item-2", "item-3"], 2)


def test_an_id_that_cannot_be_sent_is_unknown_and_not_collected(client_of):
    client, _ = client_of(lambda history: ["\ud800x", *ring(history, 3)])
    catalogue, _ = collected_catalogue(client, ["item-24"], 100)
    assert sorted(catalogue) == sorted(CATALOGUE)
    client, requests = client_of(ring)  # resumed
    assert collected_catalogue(client, ["item-24"], 100)[0] == catalogue
    live = LiveService(client, catalogue)
    assert requests == []
    assert irregularities(client.journal, live)["unknown_items"] == 1


def test_irregular_answers_are_counted(client_of):
    answers = {
        "item-1": ["item-2"],
        "item-2": ["item-3"] * 2 + ring(["item-3"]),
        "item-3": ["x", "y", *ring(["item-3"])],
        "item-4": ["x"],
    }
    client, _ = client_of(lambda history: answers.get(history[-1]) or refusing("item-5")(history))
    live = LiveService(client, CATALOGUE)
    live([[1], [2], [3], [4], [5], [6]])
    answers["item-6"] = ring(["item-6"])[::-1]
    live([[6], [1]])
    assert irregularities(client.journal, live) == {
        "failed": 1, "empty": 1, "shorter": 4, "longer": 2, "duplicates": 1, "unknown": 2, "repeated": 2, "changed": 1,
        "unknown_items": 2,
    }  # fmt: skip


def test_a_source_without_a_list_per_history_gives_none(client_of):
    client, _ = client_of(ring)
    client.source.function = lambda histories: []
    with pytest.raises(Unanswered, match="without one list per history"):
        client.source.lists([["item-1"]], client.journal)


def test_lists_of_unknown_items_alone_end_the_audit_and_name_the_catalogue(client_of):
    client, requests = client_of(lambda history: ["x1", "x2"], name="shop.yaml")
    message = (
        r"none of the first 5 items of its first 10 lists is in the catalogue \(such as 'x1', 'x2'\); check catalogue "
        r"and items of \S*/shop\.yaml; the folder is bound to the catalogue, so name another one once this is mended$"
    )
    with pytest.raises(UserError, match=message):
        LiveService(client, CATALOGUE)([[number % 20 + 1, number % 7 + 1] for number in range(40)])
    assert len(requests) >= MOST_STRANGE


def test_empty_lists_alone_end_the_audit(client_of):
    client, requests = client_of(lambda history: [], name="shop.yaml")
    message = (
        r"no item in its first 10 lists; check request and items of \S*/shop\.yaml; the folder keeps these lists, so "
        r"name another one once this is mended$"
    )
    with pytest.raises(UserError, match=message):
        LiveService(client, CATALOGUE)([[number % 20 + 1, number % 7 + 1] for number in range(40)])
    assert len(requests) >= MOST_STRANGE


def test_empty_lists_among_those_of_unknown_items_count_and_the_items_are_named(client_of):
    client, _ = client_of(lambda history: [] if int(history[-1][5:]) % 2 else ["x1"])
    with pytest.raises(UserError, match=r"none of the first 5 items of its first 10 lists .*such as 'x1'\)"):
        LiveService(client, CATALOGUE)([[number] for number in range(1, 24)])


def test_no_item_in_the_lists_for_seeds_ends_the_audit(client_of):
    client, requests = client_of(lambda history: [])
    with pytest.raises(UserError, match="the service returned no item in its first 2 lists"):
        collected_catalogue(client, ["item-1", "item-2"], 100)
    assert len(requests) == 2


def test_one_known_item_lets_an_audit_go_on(client_of):
    client, _ = client_of(lambda history: ["x1", CATALOGUE[0]] if history[-1] == CATALOGUE[0] else ["x1"])
    live = LiveService(client, CATALOGUE)
    assert len(live([[1], *([number] for number in range(2, 22))])) == 21


def test_an_attack_whose_queries_all_failed_names_the_failure_and_no_lists(client_of):
    client, _ = client_of(refusing(*CATALOGUE[1:]))
    LiveService(client, CATALOGUE)([[1]])  # of the attack before
    live = LiveService(client, CATALOGUE)
    live([[2], [3]])
    with pytest.raises(UserError, match=r"none of 2 queries got a list \(ValueError no\); the same command with"):
        live.check()


def test_an_attack_that_found_the_budget_spent_says_so(client_of):
    client, _ = client_of(ring, limit=1)
    LiveService(client, CATALOGUE)([[1]])
    live = LiveService(client, CATALOGUE)
    live([[2]])
    message = r"none of 1 queries got a list \(the list budget is spent\); 1 of the 1 lists of the budget may have"
    with pytest.raises(UserError, match=message):
        live.check()


def test_a_budget_that_was_spent_without_an_answer_is_named(client_of):
    client, requests = client_of(ring, limit=7, batch=6)
    client.journal.reserve(6)  # by an earlier process
    queries = [((token,), 0) for token in CATALOGUE[:6]]
    message = (
        r"service\.yaml: no request can be sent: 6 of the 7 lists of the budget may have been given out, too many for "
        r"another request; name another folder once the service answers, and a larger query_sequences if it breaks "
        r"off often$"
    )
    with pytest.raises(UserError, match=message):
        client.lists(queries)
    assert requests == []
    client, requests = client_of(ring, limit=7, batch=6)
    assert client.lists(queries[:1]) == [ring(["item-1"])]  # a smaller request can be sent


def test_a_function_that_spent_the_budget_with_answers_of_another_kind_says_so(client_of):
    client, _ = client_of(ring, limit=1)
    client.source.function = lambda histories: [1]
    message = r"the first request failed \(an answer that .*\); 1 of the 1 lists of the budget may have been given out"
    with pytest.raises(UserError, match=message):
        client.lists([(("item-4",), 0)])
