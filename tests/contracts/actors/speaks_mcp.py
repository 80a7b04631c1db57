"""An MCP server for the contract suite, by hand: its one tool does what the argument `order` tells it to.

The order is [verb, argument]. Neighbour: `speaks_pipe` does the same over the pipe of a stdio agent.
"""

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

TURN = threading.Lock()
CANCELS: dict[object, threading.Event] = {}
TOOLS: list[dict[str, Any]] = [
    {
        "name": "Act",
        "inputSchema": {"type": "object", "properties": {"order": {"type": "array"}}, "required": ["order"]},
    }
]


def say(**message: object) -> None:
    """One JSON-RPC message."""
    raw(json.dumps({"jsonrpc": "2.0", **message}).encode() + b"\n")


def raw(line: bytes) -> None:
    """Bytes, whatever they are."""
    with TURN:
        sys.stdout.buffer.write(line)
        sys.stdout.buffer.flush()


def told(given: dict[str, Any], progress: float, message: str = "") -> None:
    """How far it is."""
    token = given["_meta"]["progressToken"]
    params = {"progressToken": token, "progress": progress, "total": 1, "message": message}
    say(method="notifications/progress", params=params)


def hold(given: dict[str, Any], wait: Callable[[], object]) -> None:
    """Say that it has begun, and work until told to stop, or for ever."""
    told(given, 0.5)
    wait()


def meet(argument: list[Any]) -> int:
    """Return once so many tasks are here at once."""
    folder, count, mine = argument
    (Path(folder) / mine).touch()
    while len(os.listdir(folder)) < count:
        threading.Event().wait(0.01)
    return os.getpid()


def last_words(words: str) -> None:
    """Die with something to say."""
    print(words, file=sys.stderr, flush=True)
    os._exit(3)


def flood() -> None:
    """Two hundred megabytes without an end of line."""
    for _ in range(200):
        raw(b"x" * 1_000_000)


def meta(given: dict[str, Any]) -> dict[str, object]:
    """What the mesh says about the task."""
    prefix = "meshd/"
    return {name.removeprefix(prefix): value for name, value in given["_meta"].items() if name.startswith(prefix)}


def relist(names: list[str]) -> None:
    """Have other tools from now on, beside the first."""
    TOOLS[1:] = [{"name": name, "inputSchema": {"type": "object"}} for name in names]
    say(method="notifications/tools/list_changed")


def work(number: object, given: dict[str, Any]) -> None:
    """One call of a tool."""
    if "order" not in given["arguments"]:
        say(id=number, result={"content": [{"type": "text", "text": given["name"]}]})
        return
    verb, argument = given["arguments"]["order"]
    answers: dict[str, Callable[[], object]] = {
        "echo": lambda: argument,
        "given": lambda: meta(given),
        "hold": lambda: hold(given, CANCELS[number].wait),
        "stubborn": lambda: hold(given, threading.Event().wait),
        "exit": lambda: os._exit(argument),
        "die": lambda: os.kill(os.getpid(), signal.SIGKILL),
        "log": lambda: print(argument, file=sys.stderr, flush=True),
        "last-words": lambda: last_words(argument),
        "child": lambda: subprocess.Popen(["sleep", "1000"], stdout=subprocess.DEVNULL).pid,
        "environment": lambda: dict(os.environ),
        "folder": os.getcwd,
        "meet": lambda: meet(argument),
        "flood": flood,
        "big": lambda: 1 << 64,
        "memory": lambda: len(bytearray(argument)),
        "progress": lambda: told(given, 1, argument),
        "relist": lambda: relist(argument),
        "print": lambda: raw(argument.encode() + b"\n"),
    }
    match verb:
        case "fail":
            say(id=number, result={"content": [{"type": "text", "text": argument}], "isError": True})
        case "huge":
            say(id=number, result={"content": [{"type": "text", "text": "x" * argument}]})
        case "result":
            say(id=number, result=argument)
        case "error":
            say(id=number, error=argument)
        case _:
            say(id=number, result={"content": [], "structuredContent": {"answer": answers[verb]()}})


def main() -> None:
    """Until the end of input."""
    for line in sys.stdin:
        match json.loads(line):
            case {"method": "initialize", "id": number, "params": {"protocolVersion": version}}:
                capabilities = {"tools": {"listChanged": True}}
                about = {"name": "actor", "version": "1"}
                say(id=number, result={"protocolVersion": version, "capabilities": capabilities, "serverInfo": about})
            case {"method": "tools/list", "id": number}:
                say(id=number, result={"tools": TOOLS})
            case {"method": "tools/call", "id": number, "params": given}:
                CANCELS[number] = threading.Event()
                threading.Thread(target=work, args=(number, given), daemon=True).start()
            case {"method": "notifications/cancelled", "params": {"requestId": number}}:
                CANCELS[number].set()
            case {"id": number, "method": method}:
                say(id=number, error={"code": -32601, "message": f"no method {method}"})


if __name__ == "__main__":
    main()
