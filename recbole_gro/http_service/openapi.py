"""The OpenAPI document of the service."""

from typing import Any

from recbole_gro import __version__
from recbole_gro.http_service.query import Limits

ERRORS = {
    "401": "no valid API key",
    "402": "the budget of the API key is spent",
    "408": "the body took too long to arrive",
    "413": "the body is too large",
    "422": "the request is invalid",
    "429": "more lists per minute than the API key gets, Retry-After has the seconds; or not like users' requests",
    "500": "an error of the service; nothing is counted",
    "503": "too many requests are waiting, or none can be counted at present; Retry-After has the seconds to wait",
}


def openapi(limits: Limits, catalogue: bool) -> dict[str, Any]:
    """Return the document.

    Args:
        limits: of a request.
        catalogue: whether clients can list the items.
    """
    items = {"type": "array", "items": {"type": "string"}}
    history = {**items, "minItems": 1, "maxItems": limits.history}
    k = {"type": "integer", "minimum": 1, "maximum": limits.k, "default": limits.default_k}
    histories = {"type": "array", "items": history, "minItems": 1, "maxItems": limits.histories}
    one, many = (
        _object({name: schema, "k": k}, [name]) for name, schema in (("history", history), ("histories", histories))
    )
    answers = [_object({"list": items}, ["list"]), _object({"lists": {"type": "array", "items": items}}, ["lists"])]
    recommend = {
        "summary": "Recommend the next items of one history or of many, most recent item last.",
        "security": [{"key": []}],
        "requestBody": {"required": True, "content": _json({"oneOf": [one, many]})},
        "responses": {"200": _response("lists of items, best first", {"oneOf": answers}), **_errors(ERRORS)},
    }
    listed = {
        "summary": "List the items.",
        "security": [{"key": []}],
        "responses": {"200": _response("all items", _object({"items": items}, ["items"])), **_errors(["401"])},
    }
    texts = {"/healthz": "Whether the service runs.", "/metrics": "Metrics in the text format of Prometheus."}
    paths: dict[str, Any] = {"/v1/recommend": {"post": recommend}}
    paths |= {"/v1/catalogue": {"get": listed}} if catalogue else {}
    for path, summary in texts.items():
        paths[path] = {"get": {"summary": summary, "responses": {"200": {"description": "as text"}}}}
    return {
        "openapi": "3.1.0",
        "info": {"title": "recbole_gro", "version": __version__},
        "paths": paths,
        "components": {"securitySchemes": {"key": {"type": "http", "scheme": "bearer"}}},
    }


def _object(properties: dict[str, Any], required: list[str]) -> dict[str, Any]:
    return {"type": "object", "properties": properties, "required": required, "additionalProperties": False}


def _json(schema: dict[str, Any]) -> dict[str, Any]:
    return {"application/json": {"schema": schema}}


def _response(description: str, schema: dict[str, Any]) -> dict[str, Any]:
    return {"description": description, "content": _json(schema)}


def _errors(statuses: Any) -> dict[str, Any]:
    schema = _object({"error": {"type": "string"}}, ["error"])
    return {status: _response(ERRORS[status], schema) for status in statuses}
