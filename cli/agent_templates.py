"""What `meshctl agents new` writes: for each kind a manifest, an agent that works, and its test.

Invariant: what is written runs as it stands, on the standard library and the one package its kind is about.
`@NAME@` is the agent's name, `@MODULE@` the same as Python writes it, `@PYTHON@` the interpreter of this command.
"""

import sys

import msgspec

_PYTHON_MANIFEST = """\
# Add it with: meshctl agents add @NAME@.toml    Try it with: meshctl call @NAME@@1 --input '"hello"'
name = "@NAME@"
kind = "python"
run = "@MODULE@_agent:agent"     # the object `agent` in @MODULE@_agent.py
capabilities = ["@NAME@@1"]
purpose = "Say it louder"
slots = 2                        # so many tasks at once, each in a process of its own
limits = { task_s = 60 }
"""

_PYTHON_AGENT = '''\
"""The agent @NAME@: typed functions, each a capability. What is printed to stderr is its log."""

from meshd.sdk import Agent, Context, TaskError

agent = Agent("@NAME@")


@agent.handles("@NAME@@1")
async def handle(ctx: Context, text: str) -> str:
    """The text in capitals."""
    if not text:
        raise TaskError("there is nothing to say louder")  # retry=True would say that another try may help
    await ctx.step("begun", characters=len(text))  # those who watch see it
    return text.upper()
'''

_PYTHON_TEST = '''\
"""The agent @NAME@ without a daemon."""

import asyncio
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from @MODULE@_agent import agent  # noqa: E402
from meshd.sdk import TaskError  # noqa: E402


def test_it_says_it_louder():
    assert asyncio.run(agent.handle_locally("@NAME@@1", "hello")) == "HELLO"


def test_it_refuses_what_it_cannot_do():
    with pytest.raises(TaskError):
        asyncio.run(agent.handle_locally("@NAME@@1", ""))
'''

_STDIO_MANIFEST = """\
# Add it with: meshctl agents add @NAME@.toml    Try it with: meshctl call @NAME@@1 --input '"hello"'
name = "@NAME@"
kind = "stdio"
run = [@PYTHON@, "./@MODULE@_agent.py"]   # any program: a path, or a command on PATH, and its arguments
capabilities = ["@NAME@@1"]
purpose = "Say it louder"
limits = { memory_mb = 256, task_s = 60 }
"""

_STDIO_AGENT = '''\
"""The agent @NAME@: one JSON object a line, in and out. The end of the input means: finish and exit.

In:  {"task": ID, "capability": ..., "input": ...}
Out: {"task": ID, "result": ...} or {"task": ID, "error": {"message": ..., "retry": false}}
Nothing else may go to stdout; what goes to stderr is the agent's log.
"""

import json
import sys


def answer(text):
    """What comes of one input."""
    if not isinstance(text, str) or not text:
        return {"error": {"message": "the input must be a text, not empty", "retry": False}}
    return {"result": text.upper()}


def main():
    for line in sys.stdin:
        message = json.loads(line)
        if "task" in message:  # else it is a cancel, of a task that has been answered by now
            print(json.dumps({"task": message["task"], **answer(message["input"])}), flush=True)


if __name__ == "__main__":
    main()
'''

_STDIO_TEST = '''\
"""The agent @NAME@ as the daemon runs it: a process that is given lines."""

import json
import subprocess
import sys
from pathlib import Path

PROGRAM = Path(__file__).with_name("@MODULE@_agent.py")


def answers(*inputs):
    lines = [json.dumps({"task": f"t{n}", "capability": "@NAME@@1", "input": each}) for n, each in enumerate(inputs)]
    told = subprocess.run(
        [sys.executable, str(PROGRAM)], input="\\n".join(lines) + "\\n", capture_output=True, text=True, timeout=30
    )
    assert told.returncode == 0, told.stderr
    return [json.loads(line) for line in told.stdout.splitlines()]


def test_it_says_it_louder():
    assert answers("hello") == [{"task": "t0", "result": "HELLO"}]


def test_it_refuses_what_it_cannot_do_and_goes_on():
    refused, done = answers(3, "hello")
    assert refused["error"]["retry"] is False
    assert done["result"] == "HELLO"
'''

_HTTP_MANIFEST = """\
# Start the service first: python3 @MODULE@_agent.py 8765
# Add it with: meshctl agents add @NAME@.toml    Try it with: meshctl call @NAME@@1 --input '"hello"'
name = "@NAME@"
kind = "http"
url = "http://127.0.0.1:8765/"   # gets a POST for each task
capabilities = ["@NAME@@1"]
purpose = "Say it louder"
slots = 4
limits = { connect_s = 5, task_s = 60 }
"""

_HTTP_AGENT = '''\
"""The agent @NAME@: a service that gets one POST a task.

Asked:    {"task": ID, "capability": ..., "input": ..., ...}
Answers:  200 {"result": ...}, or {"error": {"message": ..., "retry": false}} with the status that fits
"""

import json
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


def answer(text):
    """Status and body of what comes of one input."""
    if not isinstance(text, str) or not text:
        return 400, {"error": {"message": "the input must be a text, not empty", "retry": False}}
    return 200, {"result": text.upper()}


class Handler(BaseHTTPRequestHandler):
    def do_POST(self):
        asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        status, body = answer(asked["input"])
        content = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)


def serve(port):
    """A server on this host; port 0 takes a free one."""
    return ThreadingHTTPServer(("127.0.0.1", port), Handler)


if __name__ == "__main__":
    serve(int(sys.argv[1]) if len(sys.argv) > 1 else 8765).serve_forever()
'''

_HTTP_TEST = '''\
"""The agent @NAME@ as the daemon reaches it: a POST a task."""

import json
import sys
import threading
import urllib.error
import urllib.request
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from @MODULE@_agent import serve  # noqa: E402


@pytest.fixture
def url():
    server = serve(0)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}/"
    server.shutdown()
    server.server_close()


def ask(url, value):
    body = json.dumps({"task": "t", "capability": "@NAME@@1", "input": value}).encode()
    request = urllib.request.Request(url, body, {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=10) as answered:
        return json.load(answered)


def test_it_says_it_louder(url):
    assert ask(url, "hello") == {"result": "HELLO"}


def test_it_refuses_what_it_cannot_do(url):
    with pytest.raises(urllib.error.HTTPError) as refused:
        ask(url, 3)
    with refused.value as answered:
        assert json.load(answered)["error"]["retry"] is False
'''

_MCP_MANIFEST = """\
# Needs the package mcp: pip install 'agent-meshd[mcp]'
# Add it with: meshctl agents add @NAME@.toml
# Try it with: meshctl call @MODULE@@1 --input '{"text": "hello"}'
name = "@NAME@"
kind = "mcp"
run = [@PYTHON@, "./@MODULE@_agent.py"]   # each tool of this server is a capability: @MODULE@@1
purpose = "Say it louder"
limits = { task_s = 60 }
"""

_MCP_AGENT = '''\
"""The agent @NAME@: an MCP server, whose tools are what it can do."""

from mcp.server.mcpserver import MCPServer
from mcp.server.mcpserver.exceptions import ToolError

server = MCPServer("@NAME@")


@server.tool()
def @MODULE@(text: str) -> str:
    """The text in capitals."""
    if not text:
        raise ToolError("there is nothing to say louder")  # of any other exception the caller learns nothing
    return text.upper()


if __name__ == "__main__":
    server.run()
'''

_MCP_TEST = '''\
"""The agent @NAME@: its tools as the mesh gets to know them, and what they do."""

import asyncio
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

import @MODULE@_agent as program  # noqa: E402
from mcp.server.mcpserver.exceptions import ToolError  # noqa: E402


def test_its_tool_is_announced():
    assert [tool.name for tool in asyncio.run(program.server.list_tools())] == ["@MODULE@"]


def test_it_says_it_louder():
    assert program.@MODULE@("hello") == "HELLO"


def test_it_refuses_what_it_cannot_do():
    with pytest.raises(ToolError, match="nothing to say"):
        program.@MODULE@("")
'''

_TEMPLATES = {
    "python": (_PYTHON_MANIFEST, _PYTHON_AGENT, _PYTHON_TEST),
    "stdio": (_STDIO_MANIFEST, _STDIO_AGENT, _STDIO_TEST),
    "http": (_HTTP_MANIFEST, _HTTP_AGENT, _HTTP_TEST),
    "mcp": (_MCP_MANIFEST, _MCP_AGENT, _MCP_TEST),
}
KINDS = tuple(_TEMPLATES)


def steps(name: str, kind: str, place: str) -> list[str]:
    """The commands that try what was written to the directory `place`, one after the other."""
    module = name.replace("-", "_")
    able, value = (module, '{"text": "hello"}') if kind == "mcp" else (name, '"hello"')
    return [
        f"python -m pytest {place}",
        *([f"python {place}/{module}_agent.py &"] if kind == "http" else []),  # nobody else starts it
        f"meshctl agents add {place}/{name}.toml",
        f"meshctl call {able}@1 --input '{value}'",
    ]


def written(name: str, kind: str) -> dict[str, str]:
    """The files of a new agent, by name: its manifest, its program, its test."""
    module = name.replace("-", "_")
    given = {"@NAME@": name, "@MODULE@": module, "@PYTHON@": msgspec.json.encode(sys.executable).decode()}
    files = {}
    places = (f"{name}.toml", f"{module}_agent.py", f"test_{module}_agent.py")
    for place, template in zip(places, _TEMPLATES[kind], strict=True):
        for mark, value in given.items():
            template = template.replace(mark, value)
        files[place] = template
    return files
