"""What an operator does to a node is on record: every request that is no mere look, allowed or refused.

Invariant: submits and calls are left out: they become events, and their refusals are told with the
capability. Neighbours: `server` wraps every handler in it; the audit keeps it.
"""

from collections.abc import Iterator
from contextlib import contextmanager

from meshd.api.backend import Audits
from meshd.api.routes import PRINCIPAL, Route
from protocol.errors import MeshError

TOLD_ELSEWHERE = frozenset({"/v1/tasks", "/v1/call/{capability}"})


@contextmanager
def recorded(audits: Audits, route: Route, path: str) -> Iterator[None]:
    """Within, the request is handled; how that ends is recorded."""
    if route.method == "GET" or route.path in TOLD_ELSEWHERE:
        yield
        return
    try:
        yield
    except MeshError as refusal:
        audits.requested(f"{route.method} {path}", who=PRINCIPAL, code=refusal.code)
        raise
    audits.requested(f"{route.method} {path}", who=PRINCIPAL, code="")
