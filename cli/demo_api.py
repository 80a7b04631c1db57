"""One node's API as the demo needs it: plain values over its unix socket, and its events as they come.

Invariant: a node that does not answer is `Unanswered`, whatever the reason; nothing waits for ever.
Neighbours: `demo_mesh` owns one for each node.
"""

import contextlib
import http.client
import json
import queue
import socket
import threading
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import quote, urlencode

ANSWER_S = 10.0
QUIET_S = 30.0  # the stream says something at least this often
Value = dict[str, object]


class Unanswered(Exception):
    """The node refused or did not answer; `code` is of the error table, or unreachable."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


class _OverSocket(http.client.HTTPConnection):
    """HTTP over a unix socket."""

    def __init__(self, path: Path, timeout_s: float) -> None:
        super().__init__("meshd", timeout=timeout_s)
        self._path = path

    def connect(self) -> None:
        """Called by http.client."""
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(str(self._path))


class Api:
    """Requests to the daemon whose state directory this is."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def get(self, path: str, *, timeout_s: float = ANSWER_S, **query: object) -> Value:
        """GET `/v1/PATH`. Raises Unanswered."""
        asked = f"?{urlencode(query)}" if query else ""
        return self._request("GET", f"/v1/{quote(path)}{asked}", None, {}, timeout_s)

    def post(self, path: str, body: Mapping[str, object], *, key: str = "", timeout_s: float = 40.0) -> Value:
        """POST `/v1/PATH` with an idempotency key. Raises Unanswered."""
        headers = {"Content-Type": "application/json", **({"Idempotency-Key": key} if key else {})}
        return self._request("POST", f"/v1/{quote(path)}", json.dumps(body), headers, timeout_s)

    def _request(self, method: str, path: str, body: str | None, headers: dict[str, str], timeout_s: float) -> Value:
        connection = self.connection(timeout_s)
        try:
            connection.request(method, path, body=body, headers=headers)
            answer = connection.getresponse()
            value = json.loads(answer.read())
        except (OSError, ValueError, http.client.HTTPException) as error:
            raise Unanswered("unreachable", f"{method} {path}: {str(error) or type(error).__name__}") from None
        finally:
            connection.close()
        if not isinstance(value, dict):
            raise Unanswered("bad_answer", f"{method} {path} answered no object")
        if answer.status >= 400:
            refusal = value.get("error")
            row = refusal if isinstance(refusal, dict) else {"code": answer.status, "message": value}
            raise Unanswered(str(row.get("code")), f"{method} {path}: {row.get('message')}")
        return value

    def connection(self, timeout_s: float) -> http.client.HTTPConnection:
        """A new connection, not yet open."""
        path = self._folder / "api.sock"
        try:
            where = json.loads((self._folder / "api.json").read_text())
            path = Path(str(where.get("socket") or path))
        except (OSError, ValueError, AttributeError):
            pass  # the usual place, then
        return _OverSocket(path, timeout_s)


class Listener:
    """Follows one node's `/v1/events` on a thread of its own and puts (name, event) into `heard`."""

    def __init__(self, name: str, api: Api, heard: "queue.Queue[tuple[str, Value]]") -> None:
        self._name = name
        self._api = api
        self._heard = heard
        self._stopped = threading.Event()
        self._connection: http.client.HTTPConnection | None = None
        self._after = 0
        self._thread = threading.Thread(target=self._run, name=f"events of {name}", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Stop listening; returns when the thread has ended."""
        self._stopped.set()
        connection = self._connection
        if connection is not None and connection.sock is not None:
            with contextlib.suppress(OSError):  # it may be gone already
                connection.sock.shutdown(socket.SHUT_RDWR)
        self._thread.join(timeout=2.0)

    @property
    def is_listening(self) -> bool:
        """False once the thread has ended."""
        return self._thread.is_alive()

    def _run(self) -> None:
        while not self._stopped.is_set():
            # The node is gone or starts again: it is asked once more a moment later.
            with contextlib.suppress(OSError, ValueError, AttributeError, http.client.HTTPException):
                self._follow()
            self._stopped.wait(0.2)

    def _follow(self) -> None:
        connection = self._connection = self._api.connection(QUIET_S)
        try:
            connection.request("GET", f"/v1/events?after={self._after}", headers={"Accept": "text/event-stream"})
            answer = connection.getresponse()
            if answer.status != 200:
                return
            while not self._stopped.is_set() and (line := answer.readline(1 << 20)):
                if line.startswith(b"data:"):
                    self._take(json.loads(line[5:]))
        finally:
            connection.close()

    def _take(self, event: object) -> None:
        if isinstance(event, dict) and "kind" in event:
            self._after = max(self._after, int(str(event.get("seq", 0))))
            self._heard.put((self._name, event))
