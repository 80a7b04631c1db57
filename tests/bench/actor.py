"""The other ends of the benches: an agent that echoes over the stdio pipe, and a plain NATS responder.

As an agent: the result is the input; `{"hold_s": 60, "mark": PATH}` first writes the time in
milliseconds to PATH and then takes that long. With `--respond URL USER PASSWORD` it answers requests.
"""

import asyncio
import json
import sys
import threading
import time
from typing import Any

SUBJECT = "bench.echo"
ACTOR = __file__


def _answer(task: dict[str, Any], speaking: threading.Lock) -> None:
    order = task["input"]
    if isinstance(order, dict) and "mark" in order:
        with open(order["mark"], "a") as file:
            file.write(f"{time.time() * 1e3}\n")
        threading.Event().wait(order["hold_s"])
    line = json.dumps({"task": task["task"], "result": order}) + "\n"
    with speaking:
        sys.stdout.write(line)
        sys.stdout.flush()


def echo() -> None:
    """Tasks from stdin; the few that take their time have a thread each."""
    speaking = threading.Lock()
    for line in sys.stdin:
        task = json.loads(line)
        if "capability" not in task:
            continue
        if isinstance(task["input"], dict) and "mark" in task["input"]:
            threading.Thread(target=_answer, args=(task, speaking), daemon=True).start()
        else:
            _answer(task, speaking)


async def respond(url: str, user: str, password: str) -> None:
    """Answer requests on `SUBJECT` with what they carry, until stdin ends."""
    import nats
    from nats.aio.msg import Msg

    async def answer(message: Msg) -> None:
        await message.respond(message.data)

    client = await nats.connect(url, user=user, password=password)
    await client.subscribe(SUBJECT, cb=answer)
    await client.flush()
    print("ready", flush=True)
    await asyncio.to_thread(sys.stdin.read)
    await client.close()


if __name__ == "__main__":
    if sys.argv[1:2] == ["--respond"]:
        asyncio.run(respond(*sys.argv[2:5]))
    else:
        echo()
