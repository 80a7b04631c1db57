#!/usr/bin/env python3
"""An example of a service for an http agent: needs nothing but the standard library. `sentiment_service.py [PORT]`.

In:  POST, one JSON object: {"task": ID, "capability": ..., "input": ..., "epoch": 1, "attempt": 1, "deadline_s": ...}
Out: 200 {"result": ...}, or {"error": {"message": ..., "retry": false}} with a status that fits.
"""

import json
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

GLAD = {"glad", "good", "great", "happy", "love"}
SAD = {"bad", "hate", "poor", "sad", "sorry"}


class Service(BaseHTTPRequestHandler):
    """One task a request."""

    def do_POST(self) -> None:
        task = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        words = set(task["input"].lower().split())
        score = len(words & GLAD) - len(words & SAD)
        answer = json.dumps({"result": {"mood": "glad" if score > 0 else "sad" if score < 0 else "neither"}}).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)


if __name__ == "__main__":
    port = int(sys.argv[1]) if len(sys.argv) > 1 else 8091
    ThreadingHTTPServer(("127.0.0.1", port), Service).serve_forever()
