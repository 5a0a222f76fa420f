"""The request template: JSON with placeholders for one or many histories and k."""

import json
import re
from typing import Any

from recbole_gro.utils.errors import UserError

PLACEHOLDER = re.compile(r"\{(histories|history|item|k)\}")


def fill(template: Any, histories: list[list[Any]], k: int, batch: int = 1) -> Any:
    """Return the body of a request.

    A text that is a placeholder alone becomes its value; inside a longer text, items are joined by commas. A list with
    one entry is repeated: where that entry has {history} or {item} and requests hold several histories, per history;
    where it has {item}, per item, the innermost one of several such lists.

    Args:
        template: JSON with {histories}, or {history} or {item}; and {k}.
        histories: item ids of each, most recent last.
        k: length of a list.
        batch: maximum histories per request.

    >>> fill({"ids": "{history}", "n": "{k}"}, [["a", "b"]], 3), fill(["{item}"], [["a", "b"]], 3)
    ({'ids': ['a', 'b'], 'n': 3}, ['a', 'b'])
    >>> fill({"users": [{"seen": [{"id": "{item}"}]}]}, [["a", "b"]], 3)
    {'users': [{'seen': [{'id': 'a'}, {'id': 'b'}]}]}
    >>> fill({"users": [{"seen": [{"id": "{item}"}]}]}, [["a"], ["b"]], 3, batch=2)
    {'users': [{'seen': [{'id': 'a'}]}, {'seen': [{'id': 'b'}]}]}
    """
    values = {"histories": histories, "k": k}
    return _filled(template, values if batch > 1 else values | {"history": histories[0]})


def _filled(part: Any, values: dict[str, Any]) -> Any:
    if isinstance(part, dict):
        return {name: _filled(entry, values) for name, entry in part.items()}
    if isinstance(part, list):
        named = _named(part) if len(part) == 1 else set()
        if "history" not in values and named & {"history", "item"}:
            return [_filled(part[0], values | {"history": history}) for history in values["histories"]]
        if "item" not in values and "history" in values and "item" in named and not _repeats_items(part[0]):
            return [_filled(part[0], values | {"item": item}) for item in values["history"]]
        return [_filled(entry, values) for entry in part]
    if not isinstance(part, str):
        return part
    if (alone := PLACEHOLDER.fullmatch(part)) and alone[1] in values:
        return values[alone[1]]
    return PLACEHOLDER.sub(lambda match: _text(values.get(match[1], match[0])), part)


def _named(part: Any) -> set[str]:
    """Return the names of the placeholders in a part of a template."""
    return set(PLACEHOLDER.findall(json.dumps(part)))


def _repeats_items(part: Any) -> bool:
    """Return whether a list with one entry that has {item} is in a part of a template."""
    if isinstance(part, list) and len(part) == 1 and "item" in _named(part):
        return True
    inner = part if isinstance(part, list) else part.values() if isinstance(part, dict) else ()
    return any(map(_repeats_items, inner))


def _text(value: Any) -> str:
    return ",".join(map(_text, value)) if isinstance(value, list) else str(value)


def joins_items(template: Any) -> bool:
    """Return whether a template has a history inside a longer text, where commas separate the items.

    >>> joins_items({"ids": "{history}"}), joins_items({"q": ["ids:{history}"]}), joins_items(["id:{item}"])
    (False, True, False)
    """
    if isinstance(template, str):
        names = {match[1] for match in PLACEHOLDER.finditer(template)}
        return bool(names & {"history", "histories"}) and not PLACEHOLDER.fullmatch(template)
    inner = template if isinstance(template, list) else template.values() if isinstance(template, dict) else ()
    return any(map(joins_items, inner))


def read_template(template: Any, batch: int, query: bool) -> Any:
    """Return a request template, which may be JSON in a text, after a check that requests hold all histories.

    Args:
        template: as in service.yaml.
        batch: maximum histories per request.
        query: whether it is sent as the query of the URL, where values are texts, numbers or lists of them.

    Raises:
        UserError: no JSON, or placeholders that do not fit.
    """
    try:
        template = json.loads(template) if isinstance(template, str) else template
        probe = [["<0>", "<1>"], ["<2>", "<3>"]][:batch]
        filled = fill(template, probe, 7, batch)
        text = json.dumps(filled, ensure_ascii=False)
        text.encode("utf-8")  # as it is sent: a lone surrogate cannot be
    except (TypeError, ValueError) as error:
        raise UserError(f"request: not JSON: {error}") from error
    except RecursionError:
        raise UserError("request: it is nested too deeply") from None
    left = PLACEHOLDER.search(text)
    if left or not isinstance(filled, dict | list) or any(text.count(item) != 1 for row in probe for item in row):
        wanted = '"{histories}", or a list of one entry with "{history}"' if batch > 1 else '"{history}"'
        raise UserError(f"request: each history must be in it once; with batch {batch} it takes {wanted}, in quotes")
    nested = [entry for value in filled.values() for entry in (value if isinstance(value, list) else [value])] if (
        query and isinstance(filled, dict)
    ) else []  # fmt: skip
    if query and (not isinstance(filled, dict) or any(isinstance(entry, dict | list) for entry in nested)):
        raise UserError("request: with method GET it is the query of the URL: texts, numbers and lists of them by name")
    return template
