import json

import pytest
from audit.cases import K, service_file

from recbole_gro.audit.description import read_description
from recbole_gro.utils.errors import UserError


@pytest.fixture(autouse=True)
def _token(monkeypatch):
    monkeypatch.setenv("AUDIT_TOKEN", "token")


@pytest.mark.parametrize(
    ("value", "fault"), [("two\nlines", "no printable"), ("", "empty"), ("\u20ac", "no printable")]
)
def test_a_variable_that_cannot_be_sent_is_named_without_its_value(tmp_path, monkeypatch, value, fault):
    monkeypatch.setenv("AUDIT_TOKEN", value)
    place = "headers: Authorization: environment variable AUDIT_TOKEN"
    with pytest.raises(UserError, match=f"{place} is {fault}") as raised:
        read_description(service_file(tmp_path, "http://127.0.0.1:9/"), {})
    assert not value or value not in str(raised.value)


def test_item_ids_of_requests_may_be_numbers(tmp_path):
    (tmp_path / "numbers.txt").write_text("".join(f"{n}\n" for n in range(1, 9)))
    file = service_file(tmp_path, "http://127.0.0.1:9/", catalogue="numbers.txt", item_type="int")
    description = read_description(file, {})
    assert description.typed("7") == 7
    assert read_description(file, {"item_type": "str", "k": 3}).typed("7") == "7"
    assert description["k"] == K


def test_public_facts_hold_no_secret_of_the_url(tmp_path):
    file = service_file(tmp_path, "https://me:word@shop.example:8443/top?key=${AUDIT_TOKEN}&other=literal")
    assert read_description(file, {}).public["url"] == "https://shop.example:8443/top"


@pytest.mark.parametrize(
    ("template", "batch", "shown"),
    [
        ({"n": "{k}", "seen": "{history}"}, 1, '{"n": 5, "seen": ["item-1", "item-2"]}'),
        ({"all": [["{item}"]], "key": "${AUDIT_TOKEN}"}, 8, '{"all": [["item-1", "item-2"]], "key": "${AUDIT_TOKEN}"}'),
        ({"long": "x" * 999, "seen": "{history}"}, 1, '{"long": "' + "x" * 290),
    ],
)
def test_a_request_is_shown_without_secrets_and_cut(tmp_path, template, batch, shown):
    file = service_file(tmp_path, "https://shop.example/", request=template, batch=batch)
    assert (
        read_description(file, {}).example(["item-1", "item-2", "item-3"])
        == f"a request for the history item-1, item-2: {shown}"
    )


def test_texts_of_the_service_are_shown_without_secrets(tmp_path):
    address = "https://me:pass-word@shop.example/${AUDIT_TOKEN}?key=literal-key&site=de"
    headers = {"Authorization": "Bearer literal-token", "Accept": "*/*"}
    description = read_description(service_file(tmp_path, address, headers=headers), {})
    text = "/token/de/Bearer/pass-word/literal%2Dkey/literal-token/*/*"
    assert description.hidden(text) == "/${AUDIT_TOKEN}/de/Bearer/.../.../.../*/*"


@pytest.mark.parametrize("content", ['["a", "b", 3, "d", "e", "f"]', '{"items": ["a", "b", "3", "d", "e", "f"]}'])
def test_a_catalogue_may_be_json(tmp_path, content):
    (tmp_path / "items.json").write_text(content)
    description = read_description(service_file(tmp_path, "http://127.0.0.1:9/", catalogue="items.json"), {})
    assert description.catalogue == ["a", "b", "3", "d", "e", "f"]


@pytest.mark.parametrize("content", ['{"ids": []}', "[[1]]", "a\nb", "[true]", pytest.param("[" * 99999, id="deep")])
def test_json_that_is_no_catalogue_is_refused_in_one_line(tmp_path, content):
    (tmp_path / "items.json").write_text(content)
    with pytest.raises(UserError, match=r"catalogue: .*items\.json: .*") as caught:
        read_description(service_file(tmp_path, "http://127.0.0.1:9/", catalogue="items.json"), {})
    assert "\n" not in str(caught.value)


def test_a_catalogue_with_half_of_a_character_is_refused(tmp_path):
    (tmp_path / "items.json").write_text('["a", "b", "c", "d", "e", "\\ud800x"]')
    with pytest.raises(UserError, match=r"catalogue: item '\\ud800x' has a lone surrogate"):
        read_description(service_file(tmp_path, "http://127.0.0.1:9/", catalogue="items.json"), {})


def test_a_catalogue_with_an_item_twice_is_refused(tmp_path):
    file = service_file(tmp_path, "http://127.0.0.1:9/")
    (tmp_path / "items.txt").write_text("a\nb\nc\nd\ne\nf\nb\n")
    with pytest.raises(UserError, match=r"service\.yaml: catalogue: item 'b' is in it twice"):
        read_description(file, {})


@pytest.mark.parametrize("token", ["007", "-0", "1.0", "\u0663"])
def test_numbers_in_requests_take_ids_that_come_back_as_they_are(tmp_path, token):
    file = service_file(tmp_path, "http://127.0.0.1:9/", item_type="int")
    (tmp_path / "items.txt").write_text("\n".join([*"123456", token]), encoding="utf-8")
    with pytest.raises(UserError, match=f"item_type: item '{token}' is no whole number as JSON writes it"):
        read_description(file, {})


def test_item_ids_of_a_catalogue_are_read_as_they_are(tmp_path):
    items = ["1", "01", "1.0", "a b", "\u65e5\u672c", "c\u2028d"]
    file = service_file(tmp_path, "http://127.0.0.1:9/")
    (tmp_path / "items.txt").write_bytes(("\ufeff" + "\r\n\r\n".join(items) + "\r\n").encode())
    assert read_description(file, {}).catalogue == items
    items = [" a", "a", "a ", "b", "c", "d"]
    (tmp_path / "items.json").write_text("\ufeff" + json.dumps(items), encoding="utf-8")
    assert (
        read_description(service_file(tmp_path, "http://127.0.0.1:9/", catalogue="items.json"), {}).catalogue == items
    )


def test_seeds_are_texts_as_they_stand(tmp_path):
    file = tmp_path / "service.yaml"
    file.write_text(
        "url: http://127.0.0.1:9/\n"
        'request: {seen: "{history}"}\n'
        "items: ids\n"
        "seeds: [007, 7, 1e3, yes, 1.10, 2024-01-31]\n"
    )
    assert read_description(str(file), {})["seeds"] == ["007", "7", "1e3", "yes", "1.10", "2024-01-31"]


def test_a_folder_in_place_of_the_description_is_named(tmp_path):
    (tmp_path / "service.yaml").mkdir()
    with pytest.raises(UserError, match=r"black_box: .*service\.yaml: is a folder; name a yaml file in it"):
        read_description(str(tmp_path / "service.yaml"), {})


@pytest.mark.parametrize(
    ("key", "value"), [("timeout", 1e12), ("backoff", 1e12), ("rate", 1e-12), ("concurrency", 10**9), ("timeout", 0)]
)
def test_waits_and_threads_are_bounded(tmp_path, key, value):
    with pytest.raises(UserError, match=f"{key}: .* is not allowed; it takes a .*number .* to "):
        read_description(service_file(tmp_path, "http://127.0.0.1:9/"), {key: value})


def test_a_catalogue_of_json_is_read_by_its_extension_in_any_case(tmp_path):
    (tmp_path / "items.JSON").write_text('{"items": ["a", "b", "c", "d", "e", "f"]}')
    file = service_file(tmp_path, "http://127.0.0.1:9/", catalogue="items.JSON")
    assert read_description(file, {}).catalogue == ["a", "b", "c", "d", "e", "f"]
