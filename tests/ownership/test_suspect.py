import pytest
from audit.cases import CATALOGUE, Recommender, ring, service_file
from ownership import runs

from recbole_gro.audit.journal import Journal
from recbole_gro.ownership.method import NoVerdict
from recbole_gro.ownership.suspect import REPEATED, Answers, describe_suspect, query_suspect
from recbole_gro.serving.saved_target import load_target
from recbole_gro.utils.errors import UserError

TOKENS = ["[PAD]", *(f"i{item}" for item in range(30))]
HISTORIES = [[item, 1 + item % 30] for item in range(1, 31)]


def answered(described, tmp_path, histories=None, tokens=TOKENS):
    return query_suspect(described, histories or HISTORIES, tokens, Journal(tmp_path / "answers.jsonl", 1000))


def test_a_function_is_queried_in_tokens_and_answers_in_ids(tmp_path):
    answers = answered(describe_suspect("ownership.runs:following", TOKENS), tmp_path, [[5, 3]])
    assert answers.lists.tolist() == [[3, 4, 5, 6, 7, 8, 9, 10, 11, 12]]
    assert (answers.repeated, answers.changed, answers.unknown, answers.failed) == (1, 0, 0, 0)
    answers.check()


def test_the_first_histories_are_sent_twice(tmp_path):
    journal = Journal(tmp_path / "answers.jsonl", 1000)
    histories = [[item, other] for item in range(1, 31) for other in (1, 2, 3)]
    answers = query_suspect(describe_suspect("ownership.runs:following", TOKENS), histories, TOKENS, journal)
    assert answers.repeated == REPEATED
    assert journal.spent == len(histories) + REPEATED


def test_an_equal_history_is_sent_once_and_repeated_once(tmp_path):
    journal = Journal(tmp_path / "answers.jsonl", 1000)
    histories = [[5], [6], [5], [5]]
    answers = query_suspect(describe_suspect("ownership.runs:following", TOKENS), histories, TOKENS, journal)
    assert (answers.lists.shape, answers.repeated, journal.spent) == ((4, 10), 2, 4)


def test_the_first_k_items_of_a_longer_list_count_known_or_not(tmp_path):
    answers = answered(describe_suspect("ownership.runs:longer", TOKENS), tmp_path, [[5, 3]])
    assert answers.lists.tolist() == [[3, 4, 5, 6, 7, 8, 9, 10, 0, 0]]
    assert answers.unknown == 0.2


def test_longer_lists_count_where_k_says_so(make_loaders, tmp_path):
    answers = answered(describe_suspect("ownership.runs:longer", TOKENS, 12), tmp_path, [[5, 3]])
    assert answers.lists.tolist() == [[3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 0, 0]]
    file = runs.trained(make_loaders, tmp_path)
    model = load_target(file)
    (tmp_path / "checkpoint").mkdir()
    answers = answered(describe_suspect(file, model.item_tokens, 25), tmp_path / "checkpoint", [[1]], model.item_tokens)
    assert [[model.item_tokens[item] for item in row] for row in answers.lists.tolist()] == model.recommend(
        [[model.item_tokens[1]]], 25
    )


def test_a_service_has_its_own_k(tmp_path):
    file = service_file(tmp_path, "http://localhost:1")
    with pytest.raises(
        UserError, match=r"^k: .*service\.yaml says how long its lists are; leave --k out, and set k in"
    ):
        describe_suspect(file, TOKENS, 20)
    with pytest.raises(UserError, match=r"^k: 1 is not allowed; it takes a whole number >= 2"):
        describe_suspect("ownership.runs:longer", TOKENS, 1)


@pytest.mark.parametrize(("reads_order", "changed"), [(True, 30), (False, 0)])
def test_another_order_is_another_list_for_methods_that_read_ranks(tmp_path, reads_order, changed):
    journal = Journal(tmp_path / "answers.jsonl", 1000)
    described = describe_suspect("ownership.runs:turning", TOKENS)
    answers = query_suspect(described, HISTORIES, TOKENS, journal, reads_order=reads_order)
    assert (answers.repeated, answers.changed) == (30, changed)


@pytest.mark.parametrize(
    ("suspect", "message"),
    [
        ("changing", "the suspect's lists differ when it is queried twice: for 30 of 30 histories"),
        ("foreign", "the suspect has another catalogue: 67 % of the items in its lists"),
        ("silent", "the suspect gave no list for 28 of 30 histories"),
    ],
)
def test_lists_that_bear_no_verdict_are_refused(tmp_path, suspect, message):
    answers = answered(describe_suspect(f"ownership.runs:{suspect}", TOKENS), tmp_path)
    with pytest.raises(NoVerdict, match=message):
        answers.check()


def test_ids_in_another_notation_end_it_after_the_first_lists(tmp_path, monkeypatch):
    def lists(histories):
        return [[f"{token[0]}0{token[1:]}" for token in row] for row in runs.following(histories)]

    monkeypatch.setattr(runs, "renamed", lists, raising=False)
    monkeypatch.setattr("recbole_gro.audit.sources.FunctionSource.batch", 4)
    journal = Journal(tmp_path / "answers.jsonl", 1000)
    message = (
        r"^suspect: \S*renamed: no item in its first 12 lists is the owner's \(such as 'i01', 'i02', 'i03'; the owner"
    )
    with pytest.raises(UserError, match=message):
        query_suspect(describe_suspect("ownership.runs:renamed", TOKENS), HISTORIES, TOKENS, journal)
    assert journal.spent == 12


def test_the_reason_of_most_failures_is_named(tmp_path, monkeypatch):
    def lists(histories):
        if histories[0][-1] in ("i5", "i10", "i15", "i20", "i25", "i29"):
            raise ValueError("closed")
        if histories[0][-1] == "i3":
            raise KeyError("x")
        return runs.following(histories)

    monkeypatch.setattr(runs, "closing", lists, raising=False)
    monkeypatch.setattr("recbole_gro.audit.sources.FunctionSource.batch", 1)
    answers = answered(describe_suspect("ownership.runs:closing", TOKENS), tmp_path)
    message = "gave no list for 7 of 30 histories, most often ValueError: closed .*; one that refuses"
    with pytest.raises(NoVerdict, match=message):
        answers.check()


def test_few_changed_or_unknown_items_are_allowed():
    Answers(lists=[[1]] * 100, sent_twice=50, repeated=40, changed=2, unknown=0.1, failed=10).check()


@pytest.mark.parametrize(("sent_twice", "repeated", "least"), [(50, 0, 40), (50, 39, 40), (3, 2, 3)])
def test_too_few_histories_answered_twice_bear_no_verdict(sent_twice, repeated, least):
    answers = Answers(lists=[[1]] * 100, sent_twice=sent_twice, repeated=repeated, changed=0, unknown=0.0, failed=0)
    message = (
        f"^only {repeated} of the {sent_twice} histories that are sent twice were answered both times; {least} are"
    )
    with pytest.raises(NoVerdict, match=message):
        answers.check()


def test_a_history_without_an_answer_is_not_sent_twice(tmp_path, monkeypatch):
    def lists(histories):
        if histories[0][-1] == "i3":
            raise ValueError("no")
        return runs.following(histories)

    monkeypatch.setattr(runs, "failing", lists, raising=False)
    monkeypatch.setattr("recbole_gro.audit.sources.FunctionSource.batch", 1)
    histories = [[1 + item // 2, 2 + item % 29] for item in range(58)]
    answers = answered(describe_suspect("ownership.runs:failing", TOKENS), tmp_path, histories)
    assert (answers.failed, answers.sent_twice, answers.repeated) == (2, REPEATED, REPEATED)
    answers.check()


def test_a_service_over_http_is_queried_as_by_an_audit(tmp_path, monkeypatch):
    pytest.importorskip("httpx")
    monkeypatch.setenv("AUDIT_TOKEN", "token")
    tokens = ["[PAD]", *CATALOGUE]
    with Recommender() as recommender:
        described = describe_suspect(
            service_file(tmp_path, recommender.url, batch=None, items="result[0].items"), tokens
        )
        described.values["request"] = {"histories": ["{history}"], "k": "{k}"}
        answers = answered(described, tmp_path, [[1, 2], [7]], tokens)
    expected = [[tokens.index(item) for item in ring([tokens[last]])] for last in (2, 7)]
    assert answers.lists.tolist() == expected


@pytest.mark.parametrize("seeds", [None, ["item-7"]])
def test_a_service_needs_no_catalogue_as_it_is_the_owners(tmp_path, monkeypatch, seeds):
    monkeypatch.setenv("AUDIT_TOKEN", "token")
    file = service_file(tmp_path, "http://127.0.0.1:1/recommend", catalogue=None, seeds=seeds)
    described = describe_suspect(file, ["[PAD]", *CATALOGUE])
    assert (described.catalogue, described["seeds"]) == (None, seeds or ["item-1"])


def test_items_that_a_service_lacks_are_left_out_of_its_queries(tmp_path, monkeypatch):
    """Else a copy that refuses a few items gets no verdict, and no other service that does is tested."""
    pytest.importorskip("httpx")
    monkeypatch.setenv("AUDIT_TOKEN", "token")
    tokens, lacks = ["[PAD]", *CATALOGUE, "new-1", "new-2"], {"new-1", "new-2"}

    def refuse(number, histories):
        return (422, {}, b"unknown item") if any(lacks & {*history} for history in histories) else None

    with Recommender(refuse) as recommender:
        described = describe_suspect(service_file(tmp_path, recommender.url, batch=4), tokens)
        described.values["request"] = {"histories": ["{history}"], "k": "{k}"}
        described.values["items"] = "result[*].items"
        answers = answered(
            described, tmp_path, [[1, 25], [7], [25, 8, 26], [26], *([item] for item in range(9, 20))], tokens
        )
        sent = [history for request in recommender.requests for history in request]
    assert {("item-1",), ("item-8",)} <= {*map(tuple, sent)}
    assert [bool(sum(row)) for row in answers.lists.tolist()] == [True, True, True, False, *[True] * 11]
    assert (answers.failed, answers.unknown) == (1, 0)
    answers.check()


def test_a_checkpoint_is_queried_in_its_own_tokens(make_loaders, tmp_path):
    file = runs.trained(make_loaders, tmp_path)
    model = load_target(file)
    renumbered = ["[PAD]", *reversed(model.item_tokens[1:])]  # the owner numbers items in another way
    answers = answered(describe_suspect(file, renumbered), tmp_path, [[1, 2]], renumbered)
    own = model.recommend([[renumbered[1], renumbered[2]]], 10)
    assert [[renumbered[item] for item in row] for row in answers.lists.tolist()] == own


def test_a_checkpoint_with_another_catalogue_is_refused(make_loaders, tmp_path):
    file = runs.trained(make_loaders, tmp_path)
    many = ["[PAD]", *(f"i{item}" for item in range(60))]
    with pytest.raises(NoVerdict, match="another catalogue: it lacks 30 of the owner's 60 items"):
        describe_suspect(file, many)


@pytest.mark.parametrize("suspect", ["nothing", "no_module_here:recommend", "missing.pth", "missing.yaml"])
def test_what_is_no_suspect_is_named(suspect):
    with pytest.raises(UserError, match=suspect.partition(":")[0]):
        describe_suspect(suspect, TOKENS)


def test_numbers_in_requests_take_items_that_are_numbers(tmp_path, monkeypatch):
    monkeypatch.setenv("AUDIT_TOKEN", "token")
    file = service_file(tmp_path, "http://127.0.0.1:9/", catalogue=None, seeds=["3"], item_type="int")
    with pytest.raises(UserError, match="item_type: item 'i0' is no whole number"):
        describe_suspect(file, TOKENS)
