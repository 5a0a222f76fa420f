"""The description of a service under audit: service.yaml, or a Python function and its catalogue."""

import base64
import json
import os
import re
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit, urlunsplit

from recbole_gro.audit.secret_values import hidden
from recbole_gro.audit.template import fill, joins_items, read_template
from recbole_gro.config.files import read_config_file
from recbole_gro.config.plugins import imported_member
from recbole_gro.config.settings import Key
from recbole_gro.utils.errors import UserError, unknown_name

KEYS = {
    key.name: key
    for key in (
        Key("url", None, "str", "address of requests; in url, headers and request ${NAME} is an environment variable"),
        Key("method", "POST", "GET|POST|PUT", "GET adds the request to the query of the URL, the others send JSON"),
        Key("headers", {}, "mapping", "of each request, by name"),
        Key("request", None, "str", "JSON with {history} or {histories}, and {k}"),
        Key(
            "items", None, "str", "JMESPath expression for the item ids in the answer; for a list per history, if many"
        ),
        Key("batch", 1, "int >= 1", "maximum histories per request"),
        Key("item_type", "str", "str|int", "type of item ids in requests"),
        Key(
            "catalogue",
            None,
            "str or None",
            "file with an item id per line, or JSON of a list, relative to service.yaml",
        ),
        Key("seeds", [], "fields", "without a catalogue: item ids from which it is collected, out of the answers"),
        Key("k", 10, "int >= 2", "length of a list"),
        Key("rate", 5, "float 0.0001..1000000", "maximum requests per second, retries included"),
        Key("concurrency", 2, "int 1..1000", "maximum requests at a time"),
        Key("timeout", 30, "float 0.001..86400", "seconds until a request without an answer has failed"),
        Key("retries", 5, "int >= 0", "how often a request is repeated after status 429 or 5xx or a broken connection"),
        Key("backoff", 1, "float 0.001..86400", "seconds before the first retry; each further one waits twice as long"),
    )
}
REQUIRED = ("url", "request", "items")
VARIABLE = re.compile(r"\$\{(\w+)\}")
LONGEST_EXAMPLE = 300  # characters of a request
LEAST_LITERAL = 8  # characters of a word in a header, or of a value in the query, that may be a secret


@dataclass
class Description:
    """What is known of the service under audit.

    Attributes:
        name: the file, or module:function.
        values: by key of KEYS.
        catalogue: item ids; None where they are collected from answers.
        function: the Python function; None for a service over HTTP.
    """

    name: str
    values: dict[str, Any]
    catalogue: list[str] | None
    function: Callable[..., Any] | None = None

    def __getitem__(self, name: str) -> Any:
        return self.values[name]

    def typed(self, token: str) -> str | int:
        """Return an item id as requests hold it."""
        return int(token) if self["item_type"] == "int" else token

    def fault_of_item(self, token: str) -> str:
        """Return why requests cannot hold an item id, after the key that says so; empty where they can."""
        if self["item_type"] == "int" and not is_whole_number(token):
            return f"item_type: item {token!r} is no whole number as JSON writes it; str takes any id"
        if "," in token and not self.function and joins_items(self["request"]):
            return (
                f"request: a history inside a longer text has commas between its items, and item {token!r} has one; "
                'requests take "{history}" as a text of its own, or a list of one entry with "{item}"'
            )
        return ""

    def check_items(self, tokens: Iterable[str]) -> None:
        """Check that requests can hold item ids, so that each is read as what it is.

        Raises:
            UserError: they cannot hold one.
        """
        for token in tokens:
            if fault := self.fault_of_item(token):
                raise UserError(fault)

    @property
    def query(self) -> str:
        """The query of the URL, environment variables by name; empty for a function."""
        return "" if self.function else urlsplit(self["url"]).query

    def example(self, tokens: Sequence[str]) -> str:
        """Return the request for a history of the first two of these items, in one line; empty for a function."""
        if self.function:
            return ""
        history = [self.typed(token) for token in tokens[:2]]
        text = json.dumps(fill(self["request"], [history], self["k"], self["batch"]), ensure_ascii=False)
        sent = " ".join(text.split())
        return f"a request for the history {', '.join(map(str, history))}: {sent[:LONGEST_EXAMPLE]}"

    @property
    def public(self) -> dict[str, Any]:
        """What results may hold: no environment variable, no header's value, no query, user or password of the URL."""
        shown = {"black_box": self.name, "k": self["k"], "item_type": self["item_type"]}
        if self.function:
            return shown
        address = urlsplit(self["url"])
        url = urlunsplit((address.scheme, address.netloc.rpartition("@")[2], address.path, "", ""))
        names = ("method", "request", "items", "batch")
        return shown | {"url": url, "headers": sorted(self["headers"])} | {name: self[name] for name in names}

    def hidden(self, text: str) -> str:
        """Return a text of the service with ${NAME} for environment variables, and ... for other secrets."""
        if self.function:
            return text
        address, headers = urlsplit(expanded(self["url"], "url")), expanded(self["headers"], "headers")
        # whole, and what follows the name in session=..
        words = [word for value in headers.values() for word in [*value.split(), *re.split(r"[\s=;,:\"]+", value)]]
        words += [value for _, value in parse_qsl(address.query)]
        words += [value for value in (address.username, address.password) if value]
        user = f"{unquote(address.username or '')}:{unquote(address.password or '')}"
        words.append(base64.b64encode(user.encode()).decode())  # as it is sent
        names = VARIABLE.findall(str([self["url"], self["headers"], self["request"]]))
        secrets = {word: "..." for word in words if len(word) >= LEAST_LITERAL}
        secrets |= {os.environ.get(name, ""): f"${{{name}}}" for name in names}
        return hidden(text, {unquote(value): shown for value, shown in secrets.items()} | secrets)


def read_description(black_box: str, given: dict[str, Any], option: str = "black_box") -> Description:
    """Read and check the description of a service.

    Args:
        black_box: a yaml file, or module:function.
        given: values by key that take precedence over the file's; all that a function has.
        option: name of `black_box` in messages.

    Raises:
        UserError: a key that is unknown, absent or invalid; the message names file and key.
    """
    is_file = black_box.endswith((".yaml", ".yml"))
    if not is_file and black_box.count(":") != 1:
        raise UserError(f"{option}: {black_box!r} is neither a yaml file nor module:function")
    if is_file and not Path(black_box).is_file():
        wrong = "is a folder; name a yaml file in it" if Path(black_box).is_dir() else "no such file"
        raise UserError(f"{option}: {black_box}: {wrong}")
    stored = read_config_file(black_box, ["seeds"]) if is_file else {}
    function = None if is_file else imported_member(black_box, option)
    if not is_file and not callable(function):
        raise UserError(f"{option}: {black_box} is not callable; the value is module:function")
    try:
        values = _checked(stored | given, REQUIRED if is_file else ())
        folder = Path(black_box).parent if is_file and "catalogue" not in given else Path()
        catalogue = _catalogue(values, folder)
        if is_file:
            values["request"] = read_template(values["request"], values["batch"], values["method"] == "GET")
            url, *_ = [expanded(values[key], key) for key in ("url", "headers", "request")]
            if not _names_a_host(url) or not _names_a_host(values["url"]):
                raise UserError("url: it starts with http:// or https:// and names a host")
        described = Description(black_box, values, catalogue, function)
        described.check_items(values["seeds"] if catalogue is None else catalogue)
    except UserError as error:
        raise UserError(f"{black_box}: {error}") from error
    return described


def _checked(given: dict[str, Any], required: tuple[str, ...]) -> dict[str, Any]:
    for name, value in given.items():
        if name not in KEYS:
            raise unknown_name("key", name, KEYS)
        if name == "request" and isinstance(value, dict | list):
            continue
        KEYS[name].check(value)
    for name in required:
        if given.get(name) is None:
            raise UserError(f"{name}: not set; {KEYS[name].meaning}")
    headers = given.get("headers", {})
    if not all(isinstance(text, str) for entry in headers.items() for text in entry):
        raise UserError("headers: each is a name and a text")
    return {name: key.default for name, key in KEYS.items()} | given


def _of_json(text: str) -> list[str]:
    """Return the item ids of a JSON list, or of `items` of an object.

    Raises:
        ValueError: it is neither.
    """
    try:
        found = json.loads(text)
    except RecursionError:
        raise ValueError("JSON that is nested too deeply") from None
    found = found.get("items") if isinstance(found, dict) else found
    if not isinstance(found, list) or not all(type(item) in (str, int) for item in found):
        raise ValueError('not JSON of a list of item ids, or of {"items": [...]}')
    return [str(item) for item in found]


def _catalogue(values: dict[str, Any], folder: Path) -> list[str] | None:
    """Return the item ids of the catalogue file; None without one."""
    if values["catalogue"] is None:
        if not values["seeds"]:
            raise UserError("catalogue: not set; it takes a file with an item id per line, or give seeds to collect it")
        tokens = values["seeds"]
    else:
        file = folder / values["catalogue"]
        try:
            text = file.read_text(encoding="utf-8-sig")
            lines = (line.strip() for line in text.split("\n"))  # not at U+2028 and its like, which an id may have
            tokens = _of_json(text) if file.suffix.lower() == ".json" else [line for line in lines if line]
        except (OSError, ValueError) as error:
            raise UserError(f"catalogue: {file}: {getattr(error, 'strerror', None) or error}") from error
        check_size(tokens, values["k"])
    [(twice, times)] = Counter(tokens).most_common(1)
    if times > 1:
        raise UserError(f"{'seeds' if values['catalogue'] is None else 'catalogue'}: item {twice!r} is in it twice")
    for token in tokens:
        if not is_text(token):
            key = "seeds" if values["catalogue"] is None else "catalogue"
            raise UserError(f"{key}: item {token!r} has a lone surrogate, half of a character, which cannot be sent")
    return None if values["catalogue"] is None else tokens


def is_text(token: str) -> bool:
    r"""Return whether an item id can be sent and written: it has no half of a character, as the JSON "\ud800" has.

    >>> is_text("\u65e5"), is_text("\ud800x")
    (True, False)
    """
    try:
        token.encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True


def is_whole_number(token: str) -> bool:
    """Return whether an item id is a whole number as JSON writes it, so that it comes back from requests as it is.

    >>> is_whole_number("12"), is_whole_number("-3"), is_whole_number("012"), is_whole_number("1.0")
    (True, True, False, False)
    """
    return bool(re.fullmatch(r"0|-?[1-9][0-9]*", token))


def _names_a_host(url: str) -> bool:
    try:
        return urlsplit(url).scheme in ("http", "https") and bool(urlsplit(url).hostname)
    except ValueError:
        return False


def check_size(catalogue: list[str], k: int) -> None:
    """Refuse a catalogue that lists of k items exhaust, so that no other item is left to compare with.

    Raises:
        UserError: it has fewer than k + 1 items.
    """
    if len(catalogue) <= k:
        raise UserError(f"catalogue: it has {len(catalogue)} items, lists of k={k} take {k + 1} or more; lower k")


def expanded(part: Any, where: str) -> Any:
    """Return a text, or each one in a mapping or list, with the values of the environment variables named as ${NAME}.

    Args:
        part: of the description.
        where: its key, for messages.

    Raises:
        UserError: a variable is not set, or cannot be sent; the message has its place and name, never its value.
    """

    def value(match: re.Match[str]) -> str:
        found = os.environ.get(match[1])
        if not found:
            raise UserError(f"{where}: environment variable {match[1]} is {'not set' if found is None else 'empty'}")
        if not found.isascii() or not found.isprintable():
            raise UserError(f"{where}: environment variable {match[1]} is no printable ASCII text")
        return found

    if isinstance(part, dict):
        return {name: expanded(entry, f"{where}: {name}") for name, entry in part.items()}
    if isinstance(part, list):
        return [expanded(entry, where) for entry in part]
    return VARIABLE.sub(value, part) if isinstance(part, str) else part
