"""An agent for the contract suite that speaks the pipe itself: does what each task's input tells it to.

The input is [verb, argument]. Neighbours: `uses_sdk` does the same through the SDK.
"""

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from queue import SimpleQueue
from typing import Any

TURN = threading.Lock()
HEARING = threading.Lock()
CANCELS: dict[str, threading.Event] = {}
REPLIES: dict[str, SimpleQueue[dict[str, Any]]] = {}


def say(**message: object) -> None:
    """One line to the daemon."""
    raw(json.dumps(message).encode() + b"\n")


def raw(line: bytes) -> None:
    """Bytes to the daemon, whatever they are."""
    with TURN:
        sys.stdout.buffer.write(line)
        sys.stdout.buffer.flush()


def asked(task: str, **request: object) -> object:
    """A request of the daemon, and its reply."""
    REPLIES[task] = SimpleQueue()
    say(request=task, task=task, **request)
    reply = REPLIES[task].get()
    return reply["result"] if "result" in reply else f"{reply['error']['code']}: {reply['error']['message']}"


def published(task: str, topic: str, value: object) -> object:
    """What came of saying something."""
    return asked(task, publish={"topic": topic, "value": value}) or "published"


def hold(task: str, is_stubborn: bool) -> None:
    """Work until told to stop, or for ever."""
    say(task=task, progress={"pid": os.getpid()})
    (threading.Event() if is_stubborn else CANCELS[task]).wait()


def last_words(words: str) -> None:
    """Die with something to say."""
    print(words, file=sys.stderr, flush=True)
    os._exit(3)


def meet(argument: list[Any]) -> int:
    """Return once so many tasks are here at once."""
    folder, count, mine = argument
    (Path(folder) / mine).touch()
    while len(os.listdir(folder)) < count:
        threading.Event().wait(0.01)
    return os.getpid()


def flood() -> None:
    """Two hundred megabytes without an end of line."""
    for _ in range(200):
        raw(b"x" * 1_000_000)


def deaf(lines: str) -> None:
    """Say the same for ever and hear nothing."""
    with TURN, HEARING:
        while True:
            sys.stdout.buffer.write(lines.encode())


def work(given: dict[str, Any]) -> None:
    """One task."""
    task, (verb, argument) = given["task"], given.get("input") or given["event"]
    answers: dict[str, Callable[[], object]] = {
        "echo": lambda: argument,
        "given": lambda: given,
        "hold": lambda: hold(task, is_stubborn=False),
        "stubborn": lambda: hold(task, is_stubborn=True),
        "exit": lambda: os._exit(argument),
        "die": lambda: os.kill(os.getpid(), signal.SIGKILL),
        "log": lambda: print(argument, file=sys.stderr, flush=True),
        "last-words": lambda: last_words(argument),
        "child": lambda: subprocess.Popen(["sleep", "1000"], stdout=subprocess.DEVNULL).pid,
        "environment": lambda: dict(os.environ),
        "folder": os.getcwd,
        "meet": lambda: meet(argument),
        "flood": flood,
        "deaf": lambda: deaf(argument),
        "huge": lambda: "x" * argument,
        "raw": lambda: raw(bytes(argument, "latin-1") + b"\n"),
        "other": lambda: say(task="somebody-elses", result=1),
        "memory": lambda: len(bytearray(argument)),
        "call": lambda: asked(task, call={"capability": "other@1", "input": argument}),
        "submit": lambda: asked(task, submit={"capability": "other@1", "input": argument, "wait": True}),
        "submit-only": lambda: asked(task, submit={"capability": "other@1", "input": argument, "key": "mine"}),
        "progress": lambda: say(task=task, progress=argument),
        "heard": lambda: say(task=task, progress=[given["topic"], given["publisher"]]),
        "publish": lambda: published(task, *argument),
    }
    if verb == "fail":
        say(task=task, error={"message": argument, "retry": True})
    elif verb == "parts":
        for part in argument:
            say(task=task, part=part)
        say(task=task, result=None)
    else:
        result = answers[verb]()
        say(task=task, result=result)


def main() -> None:
    """Until the end of input."""
    for line in sys.stdin:
        with HEARING:
            message = json.loads(line)
        match message:
            case {"cancel": task}:
                CANCELS[task].set()
            case {"reply": task}:
                REPLIES[task].put(message)
            case {"task": task}:
                CANCELS[task] = threading.Event()
                threading.Thread(target=work, args=(message,), daemon=True).start()


if __name__ == "__main__":
    main()
