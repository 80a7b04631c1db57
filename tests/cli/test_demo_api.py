"""What the demo asks of a node, against a small real server on a unix socket."""

import http.server
import json
import queue
import socketserver
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from cli.demo_api import Api, Listener, Unanswered, Value

WAIT_S = 20.0


class _Node(http.server.BaseHTTPRequestHandler):
    """Answers what the test put into `answers`, and streams `streams`, one list a connection."""

    answers: dict[str, tuple[int, bytes]]
    streams: list[list[Value]]
    asked: list[tuple[str, str, str]]

    def do_GET(self) -> None:
        self.asked.append(("GET", self.path, ""))
        if self.path.startswith("/v1/events"):
            self._stream()
            return
        self._answer()

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"])).decode()
        self.asked.append(("POST", self.path, body + (self.headers["Idempotency-Key"] or "")))
        self._answer()

    def _answer(self) -> None:
        status, body = self.answers.get(self.path, (404, b'{"error": {"code": "unknown_path", "message": "none"}}'))
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def _stream(self) -> None:
        self.send_response(200 if self.streams else 503)
        self.end_headers()
        for event in self.streams.pop(0) if self.streams else []:
            self.wfile.write(b": still here\n\n")
            self.wfile.write(f"id: {event['seq']}\ndata: {json.dumps(event)}\n\n".encode())

    def log_message(self, *_args: object) -> None:
        return


class _Server(socketserver.ThreadingUnixStreamServer):
    daemon_threads = True

    def get_request(self) -> tuple[object, str]:  # type: ignore[override]  # the handler wants an address
        request, _ = super().get_request()
        return request, "local"


@pytest.fixture
def node() -> Iterator[type[_Node]]:
    """A node whose state directory is `node.folder`."""

    class Node(_Node):
        answers: dict[str, tuple[int, bytes]] = {}  # noqa: RUF012 - one class a test
        streams: list[list[Value]] = []  # noqa: RUF012
        asked: list[tuple[str, str, str]] = []  # noqa: RUF012

    with tempfile.TemporaryDirectory(prefix="demo-") as folder:  # tmp_path may be too long for a socket
        with _Server(str(Path(folder, "api.sock")), Node) as server:
            thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
            thread.start()
            Node.folder = Path(folder)  # type: ignore[attr-defined]  # where the test finds it
            try:
                yield Node
            finally:
                server.shutdown()
                thread.join()


def api(node: type[_Node]) -> Api:
    return Api(node.folder)  # type: ignore[attr-defined]  # set by the fixture


def test_a_question_and_its_answer(node: type[_Node]) -> None:
    node.answers["/v1/tasks?gid=g1&limit=2"] = (200, b'{"tasks": []}')
    assert api(node).get("tasks", gid="g1", limit=2) == {"tasks": []}


def test_a_submit_carries_its_body_and_key(node: type[_Node]) -> None:
    node.answers["/v1/tasks"] = (201, b'{"id": "t1"}')
    assert api(node).post("tasks", {"capability": "x@1"}, key="k1") == {"id": "t1"}
    assert node.asked == [("POST", "/v1/tasks", '{"capability": "x@1"}k1')]


def test_a_refusal_has_its_code_and_words(node: type[_Node]) -> None:
    with pytest.raises(Unanswered, match="GET /v1/nothing: none") as refused:
        api(node).get("nothing")
    assert refused.value.code == "unknown_path"


@pytest.mark.parametrize("body", [b"", b"no json", b"[1]"])
def test_an_answer_that_is_no_object_is_no_answer(node: type[_Node], body: bytes) -> None:
    node.answers["/v1/status"] = (200, body)
    with pytest.raises(Unanswered):
        api(node).get("status")


def test_a_node_that_is_not_there_is_unreachable(tmp_path: Path) -> None:
    with pytest.raises(Unanswered) as refused:
        Api(tmp_path).get("status")
    assert refused.value.code == "unreachable"


def test_the_socket_may_lie_where_the_node_says(node: type[_Node], tmp_path: Path) -> None:
    node.answers["/v1/status"] = (200, b'{"name": "a"}')
    elsewhere = node.folder / "api.sock"  # type: ignore[attr-defined]  # set by the fixture
    (tmp_path / "api.json").write_text(json.dumps({"socket": str(elsewhere)}))
    assert Api(tmp_path).get("status") == {"name": "a"}


def test_events_go_on_where_they_stopped_when_the_stream_breaks(node: type[_Node]) -> None:
    node.streams[:] = [[{"seq": 1, "kind": "x"}, {"seq": 2, "kind": "y"}], [], [{"seq": 3, "kind": "z"}]]
    heard: queue.Queue[tuple[str, Value]] = queue.Queue()
    listener = Listener("a", api(node), heard)
    try:
        got = [heard.get(timeout=WAIT_S) for _ in range(3)]
    finally:
        listener.close()
    assert [(name, event["kind"]) for name, event in got] == [("a", "x"), ("a", "y"), ("a", "z")]
    assert [path for _, path, _ in node.asked[:3]] == [
        "/v1/events?after=0",
        "/v1/events?after=2",
        "/v1/events?after=2",
    ]


def test_a_listener_can_be_closed_while_nobody_answers(tmp_path: Path) -> None:
    listener = Listener("a", Api(tmp_path), queue.Queue())
    listener.close()
    assert not listener.is_listening
