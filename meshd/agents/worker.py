"""What runs in each process of a python agent: imports the author's module and speaks the pipe for it.

Invariant: the pipe is on descriptors that the author's code does not see; what it prints goes to the
log. One task at a time. Neighbours: `python` starts it, `pipe` is the other end, `meshd.sdk` the agent.
"""

import asyncio
import importlib
import itertools
import os
import sys
import threading
import traceback
from collections.abc import Callable, Sequence
from typing import Any, BinaryIO, Protocol

import msgspec

from meshd import values
from meshd.sdk import Agent, Context, InputError, MeshRefusal, TaskError
from meshd.supervise import Supervisor
from protocol.errors import MeshError
from protocol.limits import CAPABILITIES_PER_CARD_MAX, TOPICS_PER_AGENT_MAX

LINE_BYTES_MAX = 1 << 24  # the daemon bounds what it sends; JSON may write one byte as six
REQUESTS_MAX = 512  # calls and submits under way at once; more wait for their turn


def main() -> None:
    """`worker MODULE:ATTRIBUTE OUTPUT_BYTES_MAX (CAPABILITY | TOPIC)...` in the manifest's folder."""
    tasks, answers = pipe_of_our_own()
    run, limit, *names = sys.argv[1:]
    sys.path.insert(0, os.getcwd())
    capabilities = [name for name in names if "@" in name]
    topics = [name for name in names if "@" not in name]
    agent = load(run, capabilities, topics)
    worker = Worker(agent, answers, int(limit))
    offered = {capability: schema_of(agent, capability) for capability in _offered(agent, capabilities, topics)}
    worker.offer(offered, topics=tuple(topics) or agent.topics)
    asyncio.run(worker.serve(tasks))


def load(run: str, capabilities: list[str], topics: list[str]) -> Agent:
    """Import `module:attribute`. Exits with a sentence when it is no agent with these capabilities and topics."""
    module, _, attribute = run.partition(":")
    agent = getattr(importlib.import_module(module), attribute, None)
    if not isinstance(agent, Agent):
        sys.exit(f"{run} is {type(agent).__name__}, not a meshd.sdk.Agent")
    for capability in capabilities:
        if capability not in agent.capabilities:
            handled = ", ".join(agent.capabilities) or "nothing"
            sys.exit(f"the manifest declares {capability}, which {run} does not handle; it handles {handled}")
    offered = _offered(agent, capabilities, topics)
    if len(offered) > CAPABILITIES_PER_CARD_MAX:
        sys.exit(f"{run} handles {len(offered)} capabilities; an agent may have {CAPABILITIES_PER_CARD_MAX}")
    for capability in offered:
        agent.schema(capability)  # raises for hints that JSON cannot carry
    for topic in topics:
        if topic not in agent.topics:
            heard = ", ".join(agent.topics) or "nothing"
            sys.exit(f"the manifest declares the topic {topic}, to which {run} does not listen; it listens to {heard}")
    if not agent.capabilities and not agent.topics:
        sys.exit(f"{run} handles nothing and listens to nothing; give a function @{attribute}.handles(...)")
    if len(agent.topics) > TOPICS_PER_AGENT_MAX:
        sys.exit(f"{run} listens to {len(agent.topics)} topics; an agent may listen to {TOPICS_PER_AGENT_MAX}")
    for topic in agent.topics:
        agent.schema(topic)
    return agent


def _offered(agent: Agent, capabilities: list[str], topics: list[str]) -> Sequence[str]:
    """What the manifest names; all that the agent handles when it names nothing."""
    return capabilities if capabilities or topics else agent.capabilities


def pipe_of_our_own() -> tuple[BinaryIO, BinaryIO]:
    """Move the pipe away from stdin and stdout, and leave there nothing, and the log."""
    tasks, answers = os.dup(0), os.dup(1)
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.dup2(2, 1)
    os.close(nothing)
    return os.fdopen(tasks, "rb", buffering=0), os.fdopen(answers, "wb", buffering=0)


class Handles(Protocol):
    """What a worker serves: an `Agent`, or the tools of an MCP server."""

    async def handle(self, capability: str, input: Any, ctx: Context, part: Callable[[object], None]) -> object:
        """One task. Raises TaskError, or anything, which fails the task."""
        ...

    def is_blocking(self, capability: str) -> bool:
        """True when nothing but the end of the process stops it."""
        ...


def schema_of(agent: Agent, capability: str) -> dict[str, Any]:
    """What a handler takes and gives, as one JSON Schema each."""
    hints = agent.schema(capability)
    definitions: dict[str, Any] = {}
    properties = {name: dict(schema) for name, schema in hints.takes.items()}
    for schema in properties.values():
        definitions |= schema.pop("$defs", {})
    if len(properties) == 1:
        [takes] = properties.values()
    else:
        takes = {"type": "object", "properties": properties, "additionalProperties": False}
        takes |= {"required": list(hints.needs)} if hints.needs else {}
    return {"takes": takes | ({"$defs": definitions} if definitions else {}), "gives": hints.gives}


def _error(failure: TaskError) -> dict[str, object]:
    is_input = {"bad_input": True} if isinstance(failure, InputError) else {}
    return {"message": failure.message, "retry": failure.retry, **is_input}


class _OversizeError(Exception):
    """A result or part larger than the manifest allows."""

    def __init__(self, size_bytes: object) -> None:
        super().__init__(size_bytes)
        self.size_bytes = size_bytes


class Worker:
    """Serves one process: `meshd.sdk.Mesh` for its tasks."""

    def __init__(self, agent: Handles, answers: BinaryIO, output_bytes_max: int) -> None:
        self._agent = agent
        self._answers = answers
        self._output_bytes_max = output_bytes_max
        self._supervisor = Supervisor(self._failed)
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._replies: dict[int, asyncio.Future[dict[str, Any]]] = {}
        self._count = itertools.count(1)
        self._speaking = threading.Lock()
        self._turns = asyncio.Semaphore(REQUESTS_MAX)

    def offer(self, capabilities: dict[str, dict[str, Any]], note: str = "", *, topics: tuple[str, ...] = ()) -> None:
        """Say what the agent can do from now on, each with what it takes and gives; see `said.Offers`."""
        self._say(offers={"capabilities": capabilities, "note": note, "topics": topics})

    def give_up(self, size_bytes: int) -> None:
        """Somebody said so much at once that nothing after it can be read; the daemon ends this process."""
        self._say(oversize=size_bytes)

    async def serve(self, tasks: BinaryIO) -> None:
        """Until the end of input; then finish what was begun."""
        loop = asyncio.get_running_loop()
        reader = asyncio.StreamReader(limit=LINE_BYTES_MAX)
        await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), tasks)
        self._say(ready=True)
        while line := await reader.readline():
            message = msgspec.json.decode(line)
            match message:
                case {"task": task}:
                    self._tasks[task] = self._supervisor.spawn(task, self._handle(message))
                case {"cancel": task}:
                    self._cancel(task)
                case {"reply": number}:
                    if reply := self._replies.get(number):
                        reply.set_result(message)
        if self._tasks:
            await asyncio.wait(self._tasks.values())

    async def _handle(self, given: dict[str, Any]) -> None:
        task = given["task"]
        ctx = Context(
            self,
            task=task,
            epoch=given.get("epoch", 0),
            attempt=given.get("attempt", 1),
            deadline_s=given["deadline_s"],
            iid=given["iid"],
            gid=given["gid"],
            topic=given.get("topic", ""),
            publisher=given.get("publisher", ""),
        )
        what, value = (ctx.topic, given["event"]) if ctx.topic else (given["capability"], given["input"])
        try:
            result = await self._agent.handle(what, value, ctx, self._part_of(task))
            self._measure(result)
        except TaskError as failure:
            self._say(task=task, error=_error(failure))
        except _OversizeError as failure:
            self._say(task=task, oversize=failure.size_bytes)
        except asyncio.CancelledError:
            if self._agent.is_blocking(what):
                if len(self._tasks) == 1:
                    os._exit(1)  # its thread cannot be stopped otherwise
                del self._tasks[task]
                return  # unanswered, so that the daemon ends the process when the rest is done
            self._say(task=task, error={"message": "cancelled", "retry": True})
        else:
            self._say(task=task, result=result)
        del self._tasks[task]

    def _part_of(self, task: str) -> Callable[[object], None]:
        def say(part: object) -> None:
            self._measure(part)
            self._say(task=task, part=part)

        return say

    def _measure(self, value: object) -> None:
        """The daemon judges values; a larger one might not even fit into its line."""
        try:
            values.packed(value, what="the result", bytes_max=self._output_bytes_max)
        except MeshError as error:
            if error.code == "too_large":
                raise _OversizeError(error.fields["bytes"]) from None

    def _failed(self, task: str, failure: BaseException) -> None:
        """The author's code raised: the whole story to the log, its last line to who asked."""
        self._tasks.pop(task, None)
        traceback.print_exception(failure)
        while isinstance(failure, BaseExceptionGroup) and len(failure.exceptions) == 1:
            [failure] = failure.exceptions
        if isinstance(failure, TaskError):
            self._say(task=task, error=_error(failure))
            return
        [*_, last] = traceback.format_exception_only(failure)
        self._say(task=task, error={"message": last.strip(), "retry": False})

    def _cancel(self, task: str) -> None:
        if task in self._tasks:
            self._tasks[task].cancel()

    def _say(self, **message: Any) -> None:
        left = memoryview(msgspec.json.encode(message) + b"\n")
        with self._speaking:  # parts of a plain generator come from its thread
            while left:
                left = left[self._answers.write(left) :]

    # what a Context asks

    async def call(
        self, task: str, capability: str, input: object, timeout_s: float | None, *, agent: str = ""
    ) -> object:
        wanted = {"capability": capability, "input": input, "timeout_s": timeout_s, "agent": agent}
        return await self._asked(task, call=wanted)

    async def submit(self, task: str, capability: str, input: object, *, key: str, wait: bool) -> object:
        return await self._asked(task, submit={"capability": capability, "input": input, "key": key, "wait": wait})

    async def publish(self, task: str, topic: str, value: object) -> None:
        await self._asked(task, publish={"topic": topic, "value": value})

    def progress(self, task: str, value: object) -> None:
        if task in self._tasks:
            self._say(task=task, progress=value)

    async def _asked(self, task: str, **request: object) -> object:
        async with self._turns:
            number = next(self._count)
            reply = self._replies[number] = asyncio.get_running_loop().create_future()
            try:
                self._say(request=number, task=task, **request)
                answer = await reply
            finally:
                del self._replies[number]
        if "error" in answer:
            raise MeshRefusal(answer["error"]["code"], answer["error"]["message"])
        return answer["result"]
