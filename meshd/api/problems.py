"""Errors as the API says them: RFC 9457 problem documents that carry our code, hint and deciding node.

Invariant: whatever is refused, at whatever depth, leaves through `problem`. Neighbours: `guards`
calls it for every handler, `connection` for requests that never reached one.
"""

import msgspec
from aiohttp import web
from msgspec import Struct

from meshd.api.schemas import ErrorBody, Problem
from meshd.observe.text import shown
from protocol.errors import MeshError

CONTENT_TYPE = "application/problem+json"
TYPE_PREFIX = "urn:meshd:error:"
RETRY_AFTER_S = {"overloaded": "1", "no_free_agent": "1", "not_ready": "1", "stopping": "1"}

HEADERS = {  # what every answer says to a browser that got hold of it
    "Cache-Control": "no-store",
    "Content-Security-Policy": "default-src 'none'; base-uri 'none'; frame-ancestors 'none'; form-action 'self'",
    "Referrer-Policy": "no-referrer",
    "Server": "meshd",
    "X-Content-Type-Options": "nosniff",
}


class Decider(Struct, frozen=True):
    """The node that answers, named in every error it decides."""

    node: str = ""
    name: str = ""


def document(error: MeshError, *, instance: str, decider: Decider) -> Problem:
    """The problem document of an error; fields `rule`, `iid`, `node`, `node_id` and `task` of the error are kept.

    `node` is who decided, by name when `node_id` is there too.

    What a request said comes back escaped: whoever reads it may be another than who sent it.
    """
    name = str(error.fields.get("node", ""))
    node = str(error.fields.get("node_id", name))
    message = shown(error.message)
    return Problem(
        type=TYPE_PREFIX + error.code,
        title=error.code.replace("_", " "),
        status=error.status,
        detail=message,
        instance=shown(instance),
        error=ErrorBody(
            code=error.code,
            message=message,
            hint=shown(error.hint),
            rule=str(error.fields.get("rule", "")),
            node=node or decider.node,
            node_name=decider.name if not node else name if name != node else "",
            iid=str(error.fields.get("iid", "")),
            task=str(error.fields.get("task", "")),
        ),
    )


async def add_headers(_request: web.Request, response: web.StreamResponse) -> None:
    """Called by the HTTP library before the head of an answer that a handler gave leaves."""
    response.headers.update(HEADERS)


def problem(error: MeshError, *, instance: str, decider: Decider) -> web.Response:
    """The response that says `error`."""
    response = web.Response(
        status=error.status,
        body=msgspec.json.encode(document(error, instance=instance, decider=decider)),
        content_type=CONTENT_TYPE,
        headers=HEADERS,
    )
    if error.status == 401:
        response.headers["WWW-Authenticate"] = 'Bearer realm="meshd"'
    if error.code in RETRY_AFTER_S:
        response.headers["Retry-After"] = RETRY_AFTER_S[error.code]
    return response


def of_http(refusal: web.HTTPException, *, method: str, path: str) -> MeshError:
    """What the HTTP library refused, in our words."""
    match refusal.status:
        case 404:
            return MeshError("unknown_path", path=path)
        case 405:
            return MeshError("bad_method", method=method, path=path)
        case 413:
            return MeshError("too_large", what="the request", bytes="more than allowed", limit="in the settings")
        case _:
            return MeshError("bad_input", what=f"{method} {path}: {refusal.reason}")
