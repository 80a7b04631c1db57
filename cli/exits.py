"""How a command ends when it could not do what was asked: one error, two lines, one exit code.

Invariant: the exit code comes from the error table. Neighbours: `client` raises what the daemon
refused, `meshctl` says it and leaves.
"""

import json
import sys
from collections.abc import Mapping
from typing import Any, TextIO

from meshd.observe.text import shown
from protocol.errors import CONFLICT, DENIED, ERRORS, FAILED, NOT_FOUND, TIMED_OUT, USAGE, MeshError

_BY_STATUS = {400: USAGE, 401: DENIED, 403: DENIED, 404: NOT_FOUND, 409: CONFLICT, 504: TIMED_OUT}


class Refusal(Exception):
    """What was asked for did not happen. `body` is what stands under "error" in JSON."""

    def __init__(self, body: Mapping[str, str], exit_code: int) -> None:
        super().__init__(body["message"])
        self.body = body
        self.exit_code = exit_code


def of(error: MeshError, *, hint: str = "") -> Refusal:
    """A refusal decided here, by the command itself; `hint` replaces the table's."""
    body = {"code": error.code, "message": error.message, "hint": hint or error.hint, "rule": "", "node": "", "iid": ""}
    return Refusal(body, error.exit)


def of_problem(problem: Any, status: int) -> Refusal | None:
    """A refusal decided by a node, from its problem document; None when that is none."""
    body = problem.get("error") if isinstance(problem, dict) else None
    if not isinstance(body, dict) or not all(isinstance(body.get(key), str) for key in ("code", "message", "hint")):
        return None
    row = ERRORS.get(body["code"])
    return Refusal(body, row.exit if row is not None else _BY_STATUS.get(status, FAILED))


def say(refusal: Refusal, *, as_json: bool = False, to: TextIO | None = None) -> None:
    """The error on stderr: for people two lines, else one JSON object."""
    stream = to or sys.stderr
    body = refusal.body
    if as_json:
        stream.write(json.dumps({"error": dict(body)}) + "\n")
        return
    where = body.get("node_name") or str(body.get("node", ""))[:8]
    stream.write(f"error[{shown(body['code'])}]: {shown(body['message'])}{f', on {shown(where)}' if where else ''}\n")
    stream.write(f"try: {shown(body['hint'])}\n")
