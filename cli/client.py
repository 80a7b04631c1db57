"""The daemon's API as the commands use it: the standard library's HTTP client, mostly over a unix socket.

Invariant: what goes wrong comes out as `Refusal`, with the exit code it means; nothing waits without
a bound. Neighbours: `session` says whom to ask; `meshd.api` answers.
"""

import http.client
import os
import select
import shlex
import socket
import sys
from collections.abc import Iterator, Mapping
from contextlib import closing, suppress
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode, urlsplit

import msgspec
from msgspec import Struct

from cli.exits import Refusal, of, of_problem
from cli.session import Session
from meshd import clock
from meshd.running import announced, out_of_files, silent, standing_still
from meshd.where import default_dir, state_dir
from protocol.errors import MeshError

ANSWER_S = 30.0  # a daemon that says nothing for so long is stuck
QUIET_S = 30.0  # the stream of events says something every ten seconds
ANSWER_BYTES_MAX = 67_108_864  # sixteen pages of the heaviest kind
LINE_BYTES_MAX = 1_048_576
SILENCE_S = 2.0  # between two looks whether a daemon that says nothing stands still
LOOK_S = 0.2  # whether somebody listens
URL_CURE = "take the url from DIR/api.json"


class Answer(Struct, frozen=True):
    """What the API answered: the bytes as they came, and the value in them."""

    raw: bytes
    value: Any


class Address(Struct, frozen=True):
    """Where a daemon listens: a unix socket when `socket` is set, else TCP."""

    shown: str
    socket: str = ""
    directory: Path | None = None
    host: str = ""
    port: int = 0
    is_secure: bool = False
    token: str = ""
    cure: str = "start one with: meshd start"
    option: str = ""  # that chose it, to stand behind a command


class _ApiFile(Struct, frozen=True):
    """`DIR/api.json`."""

    url: str
    token: str
    socket: str


class _UnixConnection(http.client.HTTPConnection):
    """HTTP over a unix socket."""

    def __init__(self, path: str, timeout_s: float) -> None:
        super().__init__("localhost", timeout=timeout_s)
        self._path = path

    def connect(self) -> None:
        """Called by http.client."""
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self._path)


class Client:
    """Requests to one daemon, one connection each."""

    def __init__(self, session: Session, environ: Mapping[str, str] = os.environ) -> None:
        self._session = session
        self._address = _at_url(session, environ) if session.node else _at_dir(session)
        self._answer_s = session.timeout_s or ANSWER_S

    @property
    def where(self) -> str:
        """Whom it asks, for people."""
        return self._address.shown

    def get(self, *path: str, wait_s: float = 0.0, **query: object) -> Answer:
        """GET the path made of these parts; `wait_s` is how long the daemon may take on purpose. Raises Refusal."""
        given = {name: value for name, value in query.items() if value not in ("", None, False)}
        if wait_s:
            given["wait_s"] = f"{wait_s:.3f}"
        return self._ask("GET", _path(path, given), None, {}, wait_s)

    def post(self, *path: str, body: object, key: str = "", wait_s: float = 0.0) -> Answer:
        """POST a JSON body. Raises Refusal."""
        return self._send("POST", path, body, {"Idempotency-Key": key} if key else {}, wait_s)

    def delete(self, *path: str, wait_s: float = 0.0) -> Answer:
        """DELETE the path made of these parts. Raises Refusal."""
        return self._ask("DELETE", _path(path, {}), None, {}, wait_s)

    def put(self, *path: str, body: object) -> Answer:
        """PUT a JSON body. Raises Refusal."""
        return self._send("PUT", path, body, {}, 0.0)

    def _send(self, method: str, path: tuple[str, ...], body: object, headers: dict[str, str], wait_s: float) -> Answer:
        try:
            encoded = msgspec.json.encode(body)
        except (UnicodeEncodeError, OverflowError, RecursionError) as failure:
            raise of(MeshError("bad_input", what=f"this cannot be sent: {failure}")) from None
        return self._ask(method, _path(path, {}), encoded, {"Content-Type": "application/json"} | headers, wait_s)

    def events(self, last_id: str = "") -> Iterator[tuple[str, str, bytes]]:
        """(id, event name, JSON line) of what happens, after `last_id`, until the daemon goes. Raises Refusal."""
        return self.stream("v1", "events", last_id=last_id)

    def stream(self, *path: str, last_id: str = "", **query: object) -> Iterator[tuple[str, str, bytes]]:
        """(id, event name, JSON line) of a stream, after `last_id`, until it ends. Raises Refusal."""
        headers = {"Accept": "text/event-stream"} | ({"Last-Event-ID": last_id} if last_id else {})
        connection, response = self._open("GET", _path(path, query), None, headers, self._answer_s, quiet_s=QUIET_S)
        try:
            fields: dict[str, bytes] = {}
            while line := response.readline(LINE_BYTES_MAX):
                name, _, value = line.rstrip(b"\r\n").partition(b": ")
                if name:
                    fields[name.decode("ascii", "replace")] = value
                    continue
                if "data" in fields:
                    kind = fields.get("event", b"message").decode("ascii", "replace")
                    yield fields.get("id", b"").decode("ascii", "replace"), kind, fields["data"]
                fields = {}
        except (OSError, http.client.HTTPException) as failure:
            raise self._failed(failure, QUIET_S) from None
        finally:
            connection.close()

    def _ask(self, method: str, path: str, body: bytes | None, headers: dict[str, str], wait_s: float) -> Answer:
        seconds = self._answer_s + wait_s
        began = clock.monotonic_ns()
        connection, response = self._open(method, path, body, headers, seconds)
        try:
            raw = response.read(ANSWER_BYTES_MAX)
            if response.length:  # what was promised and did not come
                raise http.client.IncompleteRead(raw, response.length)
        except (OSError, http.client.HTTPException) as failure:
            raise self._failed(failure, seconds) from None
        finally:
            connection.close()
        if self._session.is_verbose:
            took_ms = (clock.monotonic_ns() - began) / 1e6
            with suppress(OSError):  # as with every note: the answer is what counts
                sys.stderr.write(f"{method} {path} at {self.where}: {response.status} in {took_ms:.1f} ms\n")
        return Answer(raw, self._value(raw))

    def _open(
        self,
        method: str,
        path: str,
        body: bytes | None,
        headers: dict[str, str],
        seconds: float,
        *,
        quiet_s: float = 0.0,
    ) -> tuple[http.client.HTTPConnection, http.client.HTTPResponse]:
        """Send a request and read the head of the answer; errors of the API are raised here.

        The rest of the answer may pause for `quiet_s`, else for as long as its head.
        """
        connection = self._connection(seconds)
        if self._address.token:
            headers = headers | {"Authorization": f"Bearer {self._address.token}"}
        try:
            try:
                connection.connect()
            except TimeoutError:
                raise of(MeshError("timed_out", what=f"the daemon at {self.where}", seconds=f"{seconds:g}")) from None
            except OSError as failure:
                raise self._unreachable(failure.strerror or str(failure)) from None
            self._refuse_stopped()
            connection.request(method, path, body=body, headers=headers)
            stream = connection.sock
            if self._address.socket:
                self._await_word(stream, seconds)
            response = connection.getresponse()
            if quiet_s and stream is not None:
                stream.settimeout(quiet_s)
            if response.status < 400:
                return connection, response
            raise self._refused(response)
        except (OSError, http.client.HTTPException) as failure:
            connection.close()
            raise self._failed(failure, seconds) from None
        except ValueError as failure:
            connection.close()
            raise of(MeshError("bad_input", what=f"this cannot be sent in a header: {failure}")) from None
        except Refusal:
            connection.close()
            raise

    def _refuse_stopped(self) -> None:
        """A daemon of this host that a signal has stopped is not waited for."""
        directory = self._address.directory
        if directory is not None and (pid := standing_still(directory)):
            raise of(MeshError("stands_still", where=directory, pid=pid))

    def _await_word(self, stream: socket.socket, seconds: float) -> None:
        """Return when the daemon begins to answer. Raises TimeoutError, and Refusal when it was stopped meanwhile."""
        left_s = seconds
        while not select.select([stream], [], [], min(SILENCE_S, left_s))[0]:
            self._refuse_stopped()
            left_s -= SILENCE_S
            if left_s <= 0:
                raise TimeoutError

    def _connection(self, seconds: float) -> http.client.HTTPConnection:
        address = self._address
        if address.socket:
            return _UnixConnection(address.socket, seconds)
        kind = http.client.HTTPSConnection if address.is_secure else http.client.HTTPConnection
        return kind(address.host, address.port, timeout=seconds)

    def _refused(self, response: http.client.HTTPResponse) -> Refusal:
        refusal = of_problem(self._value(response.read(LINE_BYTES_MAX)), response.status)
        return refusal or self._no_meshd()

    def _value(self, raw: bytes) -> Any:
        try:
            return msgspec.json.decode(raw)
        except (ValueError, RecursionError):
            raise self._no_meshd() from None

    def _no_meshd(self) -> Refusal:
        where = f"{self.where} (something else does)"
        return of(MeshError("unreachable", where=where), hint="check the address; DIR/api.json holds the right one")

    def _unreachable(self, reason: str) -> Refusal:
        cure = _patience(self._address.directory, self._address.option) or self._address.cure
        return of(MeshError("unreachable", where=f"{self.where} ({reason})"), hint=cure)

    def _failed(self, failure: Exception, seconds: float) -> Refusal:
        if isinstance(failure, TimeoutError):
            return self._unanswered(f"{seconds:g}")
        return self.gone()

    def gone(self) -> Refusal:
        """It went away before it had answered."""
        cure = f"look how it is with: meshctl status{self._address.option}"
        return of(MeshError("cut_off", where=self.where, cure=cure))

    def _unanswered(self, seconds: str) -> Refusal:
        """It was connected to, and said nothing: the system took the connection, whatever the daemon is at."""
        what, directory = f"the daemon at {self.where}", self._address.directory
        pid, most = out_of_files(directory) if directory is not None else (0, 0)
        if not pid:
            hint = "its log says what it is at; ask again, or give more time with --timeout"
            return of(MeshError("timed_out", what=what, seconds=seconds), hint=hint)
        what = f"{what}, which has all {most} files open that it may,"
        hint = (
            f"raise ulimit -n, or LimitNOFILE=, for its next start; and now: prlimit --pid {pid} --nofile={2 * most}:"
        )
        return of(MeshError("timed_out", what=what, seconds=seconds), hint=hint)


def _path(parts: tuple[str, ...], query: Mapping[str, object]) -> str:
    if not all(parts):
        raise of(MeshError("bad_input", what="a name is empty"))
    path = "/" + "/".join(quote(part, safe="@", errors="surrogateescape") for part in parts)
    return f"{path}?{urlencode(query, errors='surrogateescape')}" if query else path


def _at_dir(session: Session) -> Address:
    """The daemon of a state directory, found by what it wrote there."""
    path = state_dir(session.dir)
    option = f" --dir {shlex.quote(str(path))}" if session.dir else ""
    cure = f"start one with: meshd start{option}"
    file = path / "api.json"
    try:
        found = msgspec.json.decode(file.read_bytes(), type=_ApiFile)
    except FileNotFoundError:
        hint = _patience(path, option) or _elsewhere(session) or cure
        raise of(MeshError("unreachable", where=str(path)), hint=hint) from None
    except OSError as failure:
        reason = f"{file} ({failure.strerror})"
        raise of(MeshError("unreachable", where=reason), hint="run this as the user that runs the daemon") from None
    except ValueError:
        raise of(MeshError("unreachable", where=f"{file} (which is not what a daemon writes)"), hint=cure) from None
    return Address(shown=str(path), socket=found.socket, directory=path, cure=cure, option=option)


def _patience(directory: Path | None, option: str) -> str:
    """What to do about a daemon that is there and has no API at this moment."""
    pid = silent(directory) if directory is not None else 0
    if not pid:
        return ""
    return f"process {pid} starts, stops or begins anew there; wait for it with: meshctl status --wait 30{option}"


def _elsewhere(session: Session) -> str:
    """How to choose one of the daemons that run on this host, if nobody said which."""
    if session.dir or os.environ.get("MESHD_DIR"):
        return ""
    found = [str(path) for path in announced() if _answers(path)]
    if not found:
        return ""
    return f"choose a daemon with --dir or MESHD_DIR; on this host run: {', '.join(found)}"


def _answers(path: Path) -> bool:
    try:
        address = msgspec.json.decode((path / "api.json").read_bytes(), type=_ApiFile)
        with closing(_UnixConnection(address.socket, LOOK_S)) as connection:
            connection.connect()
    except (OSError, ValueError):
        return False
    connection.close()
    return True


def _at_url(session: Session, environ: Mapping[str, str]) -> Address:
    """A daemon by its address; the token comes from the environment, or from the directory that names this address."""
    url = str(session.node)
    refused = MeshError("bad_input", what=f"--node {url} is not http://HOST:PORT")
    try:
        parts = urlsplit(url)
    except ValueError:
        raise of(refused, hint=URL_CURE) from None
    try:
        port = parts.port or (443 if parts.scheme == "https" else 80)
    except ValueError:
        port = 0
    is_bare = not parts.path.strip("/") and not parts.query and not parts.username
    if parts.scheme not in ("http", "https") or not parts.hostname or not port or not is_bare:
        raise of(refused, hint=URL_CURE)
    token = environ.get("MESHD_TOKEN", "") or _token_of(url.rstrip("/"), session.dir or default_dir(environ))
    return Address(
        shown=url,
        host=parts.hostname,
        port=port,
        is_secure=parts.scheme == "https",
        token=token,
        cure="check --node",
        option=f" --node {shlex.quote(url)}",
    )


def _token_of(url: str, path: Path) -> str:
    try:
        found = msgspec.json.decode((path / "api.json").read_bytes(), type=_ApiFile)
    except (OSError, ValueError):
        return ""
    return found.token if found.url == url else ""
