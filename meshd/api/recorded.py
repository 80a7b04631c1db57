"""What an operator does to a node is on record: every request that is no mere look, allowed or refused.

Invariant: submits and calls are left out: they become records of their own, and their refusals are told with the
capability. A refusal is answered with the IID that it is recorded under.
Neighbours: `server` wraps every handler in it; the audit keeps it.
"""

import secrets
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import msgspec

from meshd.api.backend import Audits
from meshd.api.routes import PRINCIPAL, Route
from protocol import ids
from protocol.audit import Detail
from protocol.errors import MeshError

TOLD_ELSEWHERE = frozenset({"/v1/tasks", "/v1/call/{capability}"})


RESOURCES = {"peers": "peer", "agents": "agent", "tasks": "task"}
WORD_CHARS_MAX = 256  # a longer value, such as a manifest, is no word


@contextmanager
def recorded(audits: Audits, route: Route, path: str, body: object) -> Iterator[None]:
    """Within, the request is handled; how that ends is recorded, with what it is about and the words of its body."""
    if route.method == "GET" or route.path in TOLD_ELSEWHERE:
        yield
        return
    words, resource, request = _words(body), _resource(path), f"{route.method} {path}"
    iid = ids.minted(secrets.SystemRandom())
    try:
        yield
    except MeshError as refusal:
        refusal.fields.setdefault("iid", iid)
        audits.requested(request, who=PRINCIPAL, resource=resource, iid=iid, words=words, code=refusal.code)
        raise
    audits.requested(request, who=PRINCIPAL, resource=resource, iid=iid, words=words, code="")


def _resource(path: str) -> str:
    """What a request is about: `/v1/agents/NAME/stop` about `agent/NAME`, what names nothing about the node."""
    _, _, kind, name, *_ = [*path.split("/"), "", "", "", ""]
    return f"{RESOURCES[kind]}/{name}" if kind in RESOURCES and name else "node"


def _words(body: object) -> Mapping[str, Detail]:
    """The short values of a body: a log level, a file, a reason."""
    given = msgspec.structs.asdict(body) if isinstance(body, msgspec.Struct) else {}
    return {
        name: value
        for name, value in given.items()
        if value
        and (isinstance(value, bool | int | float) or (isinstance(value, str) and len(value) <= WORD_CHARS_MAX))
    }
