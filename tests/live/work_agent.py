"""The agent of the live tests, spoken to over the stdio pipe: it does what its input says.

`{"s": 2}` takes two seconds, `{"crash": 9}` dies of signal 9, `{"hang": true}` never answers, and
`{"mark": PATH}` writes a line there when it starts and one when it ends; `{"ticks": PATH}` one ten times a second.
"""

import json
import os
import sys
import threading
from typing import Any


def _mark(order: dict[str, Any], word: str, task: dict[str, Any]) -> None:
    if "mark" in order:
        with open(order["mark"], "a") as file:
            file.write(f"{word} {task['task']} {task['epoch']}\n")


def _tick(order: dict[str, Any], task: dict[str, Any], idle: threading.Event) -> None:
    for _ in range(10 * order["s"]):
        with open(order["ticks"], "a") as file:
            file.write(f"{task['task']}:{task['epoch']}\n")
        idle.wait(0.1)


def main() -> None:
    """One task at a time, from standard input."""
    idle = threading.Event()
    for line in sys.stdin:
        task = json.loads(line)
        if "capability" not in task:
            continue
        order = task["input"] or {}
        _mark(order, "start", task)
        once = order.get("crash_once")
        if once and not os.path.exists(once):
            open(once, "w").close()
            os.kill(os.getpid(), 9)
        if "crash" in order:
            os.kill(os.getpid(), order["crash"])
        if order.get("hang"):
            idle.wait()
        if "ticks" in order:
            _tick(order, task, idle)
        else:
            idle.wait(order.get("s", 0))
        _mark(order, "end", task)
        print(json.dumps({"task": task["task"], "result": {"by": os.environ.get("MESHD_AGENT"), "n": order.get("n")}}))
        sys.stdout.flush()


main()
