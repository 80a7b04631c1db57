"""The OpenAPI document, made from the route table and the schemas: nothing is written twice.

Invariant: every response has a schema. Neighbours: `routes.ROUTES`; a test holds the document
against what the server answers. Format: OpenAPI 3.1.
"""

import re
from collections import defaultdict
from typing import Any

import msgspec
from msgspec import Struct

from meshd.api import problems, schemas
from meshd.api.agent_schemas import LinesQuery
from meshd.api.asked import KEY, PATH_PART_CHARS_MAX
from meshd.api.guards import OPEN_PATHS
from meshd.api.routes import ROUTES, Route
from protocol import ids
from protocol.errors import ERRORS
from protocol.events import Event

REF = "#/components/schemas/{name}"
EVENT = "Event"  # one event on the stream: `schemas.Stamped`, flat
GUARD_ERRORS = ("unauthorized", "bad_host", "denied", "overloaded", "internal")
READ_ERRORS = ("bad_input",)
BODY_ERRORS = ("bad_input", "bad_request", "too_large", "bad_content_type")

_JSON = "application/json"


def document(version: str) -> dict[str, Any]:
    """The whole document as a plain JSON value."""
    types: set[Any] = {schemas.Problem, Event}
    for route in ROUTES:
        types |= {route.answer} | ({route.body} if route.body is not None else set())
    _, components = msgspec.json.schema_components(sorted(types, key=repr), ref_template=REF)
    paths: dict[str, dict[str, Any]] = defaultdict(dict)
    for route in ROUTES:
        paths[route.path][route.method.lower()] = _operation(route)
    paths |= _special_paths()
    for path in OPEN_PATHS:
        paths[path]["get"]["security"] = [{}, {"token": []}]
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "meshd",
            "version": version,
            "description": "One node of a mesh of agents. On TCP every request carries the token of DIR/api.json.",
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "security": [{"token": []}],
        "paths": dict(sorted(paths.items())),
        "components": {
            "schemas": dict(sorted((components | {EVENT: _event_schema()}).items())),
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer"}},
        },
    }


def _operation(route: Route) -> dict[str, Any]:
    errors = GUARD_ERRORS + route.errors + (READ_ERRORS if route.body is None else BODY_ERRORS)
    answers = {route.status, 200} if route.path == "/v1/tasks" else {route.status}
    operation: dict[str, Any] = {
        "operationId": route.handle.__name__,
        "summary": route.summary,
        "parameters": _path_parameters(route.path) + _query_parameters(route.query),
        "responses": {str(code): _content(_ref(route.answer.__name__)) for code in sorted(answers)}
        | _error_responses(errors),
    }
    if route.body is not None:
        required = any(field.required for field in msgspec.structs.fields(route.body))
        operation["requestBody"] = {"required": required, "content": {_JSON: {"schema": _ref(route.body.__name__)}}}
    if route.path == "/v1/tasks" and route.method == "POST":
        operation["parameters"].append(
            {
                "name": "Idempotency-Key",
                "in": "header",
                "description": "the same key and work is the same task, whichever node is asked",
                "schema": {"type": "string", "pattern": f"^{KEY.pattern}$"},
            }
        )
    return operation


def _path_parameters(path: str) -> list[dict[str, Any]]:
    return [
        {"name": name, "in": "path", "required": True, "schema": _path_part(path, name)}
        for name in re.findall(r"\{(\w+)\}", path)
    ]


def _path_part(path: str, name: str) -> dict[str, Any]:
    """What may stand there; what fits and is not there is answered 404."""
    if "{capability}" in path or path.startswith("/v1/capabilities/"):
        return {"type": "string", "pattern": f"^{ids.CAPABILITY.pattern}$"}
    chars_min = ids.PREFIX_CHARS_MIN if name == "id" else 1
    return {"type": "string", "pattern": f"^[!-~]{{{chars_min},{PATH_PART_CHARS_MAX}}}$"}


def _query_parameters(query: type[Struct]) -> list[dict[str, Any]]:
    _, components = msgspec.json.schema_components([query], ref_template=REF)
    properties = components[query.__name__]["properties"]
    return [{"name": name, "in": "query", "schema": schema} for name, schema in properties.items()]


def _error_responses(codes: tuple[str, ...]) -> dict[str, Any]:
    by_status: dict[int, set[str]] = defaultdict(set)
    for code in codes:
        by_status[ERRORS[code].status].add(code)
    return {
        str(status): {
            "description": ", ".join(sorted(found)),
            "content": {problems.CONTENT_TYPE: {"schema": _ref("Problem")}},
        }
        for status, found in sorted(by_status.items())
    }


def _special_paths() -> dict[str, dict[str, Any]]:
    """Those that answer no JSON value of ours."""
    stream = "server-sent events, each `data` one Event; `event: missed` and `event: lagged` tell of loss"
    resume = {"name": "Last-Event-ID", "in": "header", "schema": {"type": "string"}}
    return {
        "/v1/events": _get(
            "events",
            "what happens, as it happens",
            "text/event-stream",
            _ref(EVENT),
            stream,
            parameters=[*_query_parameters(schemas.EventsQuery), resume],
        ),
        "/v1/agents/{name}/logs/follow": _get(
            "follow_log",
            "the log of an agent of this node, as it grows",
            "text/event-stream",
            _ref("LogLine"),
            "server-sent events, each `data` one LogLine; `event: missed` tells which are not kept any more",
            parameters=[*_path_parameters("{name}"), *_query_parameters(LinesQuery), resume],
        ),
        "/metrics": _get("metrics", "figures for Prometheus", "text/plain", {"type": "string"}, "text format 0.0.4"),
        "/openapi.json": _get("openapi", "this document", _JSON, {"type": "object"}, "OpenAPI 3.1"),
    }


def _get(
    name: str,
    summary: str,
    content_type: str,
    schema: dict[str, Any],
    description: str,
    parameters: list[dict[str, Any]] | None = None,
) -> dict[str, Any]:
    answer = {"description": description, "content": {content_type: {"schema": schema}}}
    return {
        "get": {
            "operationId": name,
            "summary": summary,
            "parameters": parameters or [],
            "responses": {"200": answer} | _error_responses(GUARD_ERRORS + READ_ERRORS),
        }
    }


def _event_schema() -> dict[str, Any]:
    (union,), _ = msgspec.json.schema_components([Event], ref_template=REF)
    stamp = {
        "type": "object",
        "properties": {"seq": {"type": "integer"}, "time_ms": {"type": "integer"}, "node": {"type": "string"}},
        "required": ["seq", "time_ms", "node"],
    }
    return {"description": "what happened, and its place in the stream", "allOf": [stamp, union]}


def _content(schema: dict[str, Any]) -> dict[str, Any]:
    return {"description": "as asked", "content": {_JSON: {"schema": schema}}}


def _ref(name: str) -> dict[str, Any]:
    return {"$ref": REF.format(name=name)}
