#!/usr/bin/env python3
"""An example of a stdio agent: needs nothing but the standard library, and would look alike in any language.

In:  {"task": ID, "capability": ..., "input": ...} and, for a task that is not wanted any more, {"cancel": ID}.
Out: {"task": ID, "result": ...} or {"task": ID, "error": {"message": ..., "retry": false}}.
The end of the input means: finish and exit. What goes to stderr is the agent's log.
"""

import json
import sys

for line in sys.stdin:
    message = json.loads(line)
    if "task" not in message:
        continue  # a cancel: this agent is done with each task before it reads the next line
    text = message["input"]
    if isinstance(text, str):
        answer = {"result": len(text.split())}
    else:
        answer = {"error": {"message": "the input must be text", "retry": False}}
    sys.stdout.write(json.dumps({"task": message["task"], **answer}) + "\n")
    sys.stdout.flush()
