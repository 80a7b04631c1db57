"""A service for the contract suite: does what the input of each POST tells it to, and prints its URL first.

The input is [verb, argument]. Neighbours: `speaks_pipe` and `uses_sdk` do the same as processes of the daemon.
"""

import json
import os
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any


class Handler(BaseHTTPRequestHandler):
    """One request."""

    def do_POST(self) -> None:
        given = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        verb, argument = given["input"]
        match verb:
            case "echo":
                self.answer({"result": argument})
            case "given":
                self.answer({"result": given})
            case "fail":
                self.answer({"error": {"message": argument, "retry": True}}, status=503)
            case "huge":
                self.answer({"result": "x" * argument})
            case "raw":
                self.say(argument.encode())
            case "meet":
                self.answer({"result": meet(*argument)})
            case "flood":
                self.flood()
            case _:
                Path("begun").touch()
                threading.Event().wait()

    def answer(self, answer: dict[str, Any], status: int = 200) -> None:
        """As JSON."""
        self.say(json.dumps(answer).encode(), status)

    def say(self, body: bytes, status: int = 200) -> None:
        """Bytes that are said to be JSON."""
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def flood(self) -> None:
        """Two hundred megabytes of which nothing is announced."""
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.end_headers()
        try:
            for _ in range(200):
                self.wfile.write(b"x" * 1_000_000)
        except ConnectionError:
            pass

    def log_message(self, format: str, *args: object) -> None:
        """Nothing: the test has its own words."""


def meet(folder: str, count: int, mine: str) -> int:
    """Return once so many tasks are here at once."""
    (Path(folder) / mine).touch()
    while len(os.listdir(folder)) < count:
        threading.Event().wait(0.01)
    return os.getpid()


def main() -> None:
    """Until it is killed, or its parent is gone."""
    service = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    print(f"http://127.0.0.1:{service.server_port}/tasks?from=contract", flush=True)
    threading.Thread(target=service.serve_forever, daemon=True).start()
    sys.stdin.read()


if __name__ == "__main__":
    main()
