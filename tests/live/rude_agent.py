"""An agent with bad manners, spoken to over the stdio pipe: its input names what it does wrong."""

import json
import sys
import threading


def main() -> None:
    """One task at a time, from standard input."""
    for line in sys.stdin:
        task = json.loads(line)
        if "capability" not in task:
            continue
        match task["input"]:
            case "no json":
                print("Hello, how are you?")
            case "flood":
                for _ in range(300):
                    sys.stdout.write("x" * 1_000_000)
            case "stderr flood":
                for _ in range(100):
                    sys.stderr.write("x" * 1_000_000)
            case "another's":
                print(json.dumps({"task": "somebody-elses-task-12345678", "result": 1}), flush=True)
                continue
            case "hang":
                threading.Event().wait()
            case "twice":
                print(json.dumps({"task": task["task"], "result": "the first"}))
                print(json.dumps({"task": task["task"], "result": "the second"}))
            case "mouthful":
                print(json.dumps({"task": task["task"], "result": "x" * 400_000}))
            case "escapes":
                print(json.dumps({"task": task["task"], "result": "\x1b[31mred\u202eback"}))
        print(json.dumps({"task": task["task"], "result": "well"}), flush=True)


main()
