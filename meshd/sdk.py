"""The one import promised to agent authors: `Agent`, `Context`, `TaskError`, `InputError`, `MeshRefusal`.

    agent = Agent("sales-recommendation")

    @agent.handles("scoring@2")
    async def score(ctx: Context, customer: str) -> float: ...

Invariant: a handler sees only values that fit its type hints, and only values that fit leave it.
Neighbours: `meshd.agents.worker` runs agents for the daemon; `Agent.handle_locally` without one.
"""

import asyncio
import inspect
import itertools
import json
import re
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from types import UnionType
from typing import Any, Literal, Protocol, TypeAlias, TypeVar, Union, get_args, get_origin, get_type_hints

import msgspec
from msgspec import Struct

Handler: TypeAlias = Callable[..., Any]
_H = TypeVar("_H", bound=Handler)

_CAPABILITY = re.compile(r"[a-z][a-z0-9_.-]{0,63}@(0|[1-9][0-9]{0,3})")
_TOPIC = re.compile(r"[a-z0-9_-]{1,32}\.[a-z0-9_-]{1,32}")
_HOPS_MAX = 8  # as on a mesh: events that led to an event
_TOPIC_RULE = "write domain.name, each 1 to 32 of a-z 0-9 _ -, for example sales.price_changed"
_EVERYBODY = "all"  # the name of the topic that a broadcast to a domain goes to


class TaskError(Exception):
    """Raise it in a handler to fail the task in your own words. `retry`: another try may help.

    Without `retry` the task fails for good, as it does by any other exception: what failed once for
    what it was given fails again. A crash of the process and a run past its limit are retried.
    """

    def __init__(self, message: str, *, retry: bool = False) -> None:
        super().__init__(message)
        self.message = message
        self.retry = retry


class InputError(TaskError):
    """Raise it when the task cannot be done for what was given: it fails for good, and does not count against you."""

    def __init__(self, message: str) -> None:
        super().__init__(message)


class MeshRefusal(RuntimeError):
    """A call or submit that did not work out. `code` is one of the mesh's error codes, like "no_agent"."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message


class Mesh(Protocol):
    """What a context asks; the worker and `handle_locally` each have one. Raises MeshRefusal."""

    async def call(
        self, task: str, capability: str, input: object, timeout_s: float | None, *, agent: str = ""
    ) -> object:
        """Request and reply, with one agent if it is named."""
        ...

    async def submit(self, task: str, capability: str, input: object, *, key: str, wait: bool) -> object:
        """A durable task: its id, or with `wait` its result."""
        ...

    async def publish(self, task: str, topic: str, value: object) -> None:
        """To whoever listens."""
        ...

    def progress(self, task: str, value: object) -> None:
        """How far a task is."""
        ...


class Context:
    """One task, as its handler sees it; or one event, whose `topic` and `publisher`, an agent, are empty for a task.

    `task` and `epoch` together are a fencing token: a system that remembers the highest epoch of a
    task can refuse a late writer. `attempt` counts from 1; `deadline_s` was left when it began.
    """

    def __init__(
        self,
        mesh: Mesh,
        *,
        task: str,
        epoch: int,
        attempt: int,
        deadline_s: float,
        iid: str,
        gid: str,
        topic: str = "",
        publisher: str = "",
    ) -> None:
        self.topic = topic
        self.publisher = publisher
        self.task = task
        self.epoch = epoch
        self.attempt = attempt
        self.deadline_s = deadline_s
        self.iid = iid
        self.gid = gid
        self._mesh = mesh

    async def call(
        self, capability: str, input: object = None, *, timeout_s: float | None = None, agent: str = ""
    ) -> Any:
        """Ask another agent and wait for its answer; it leaves no record. Raises MeshRefusal.

        With `agent` only agents of that name are asked.
        """
        return await self._mesh.call(self.task, capability, msgspec.to_builtins(input), timeout_s, agent=agent)

    async def publish(self, topic: str, value: object = None) -> None:
        """Say something under a topic, `domain.name`, to every agent that listens right now.

        Best effort: it is heard at most once, nothing is kept, and nobody answers. It goes as far as the agent
        that says it is visible. Raises MeshRefusal for what is no topic, too large, too often or in a circle.
        """
        await self._mesh.publish(self.task, topic, msgspec.to_builtins(value))

    async def broadcast(self, domain: str, value: object = None) -> None:
        """Say something to all agents that listen to `DOMAIN.all`. As `publish`."""
        await self.publish(f"{domain}.{_EVERYBODY}", value)

    async def submit(self, capability: str, input: object = None, *, key: str = "", wait: bool = False) -> Any:
        """Submit a task of its own: its id, or with `wait` its result. Raises MeshRefusal.

        When this handler runs again, the same `key` finds the same task; so does, without a key,
        the same work.
        """
        return await self._mesh.submit(self.task, capability, msgspec.to_builtins(input), key=key, wait=wait)

    async def step(self, name: str, /, **fields: object) -> None:
        """Say which step was done, for those who watch and for the record."""
        self.progress({**fields, "step": name})

    def progress(self, value: object) -> None:
        """Say how far it is; the last word is shown."""
        self._mesh.progress(self.task, msgspec.to_builtins(value))


class Schema(Struct, frozen=True):
    """What a handler takes and gives, as JSON schemas by parameter; `needs`: those without a default."""

    takes: dict[str, dict[str, Any]]
    gives: dict[str, Any]
    needs: tuple[str, ...] = ()


class _Handling:
    """One handler with its parameters as types."""

    def __init__(self, capability: str, function: Handler) -> None:
        self.capability = capability
        self.function = function
        parameters = list(inspect.signature(function).parameters.values())
        hints = _hints(capability, function)
        self._has_context = bool(parameters) and (
            hints.get(parameters[0].name) is Context or parameters[0].name in ("ctx", "context")
        )
        self._parameters = parameters[1:] if self._has_context else parameters
        for parameter in self._parameters:
            if parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD, parameter.POSITIONAL_ONLY):
                raise TypeError(f"{capability}: {parameter} has no name that an input could use")
        self._types = {parameter.name: hints.get(parameter.name, Any) for parameter in self._parameters}
        self._gives = _given_type(hints.get("return", Any), function)
        self.schema = Schema(
            takes={name: _schema(capability, name, kind) for name, kind in self._types.items()},
            gives=_schema(capability, "the result", self._gives),
            needs=tuple(name for name in self._types if not self._has_default(name)),
        )

    async def handle(self, ctx: Context, input: object, part: Callable[[object], None]) -> object:
        """Run it on a plain value; the result is a plain value. Raises TaskError when either does not fit."""
        arguments = self._arguments(input)
        given = (ctx,) if self._has_context else ()
        if inspect.isasyncgenfunction(self.function):
            async for one in self.function(*given, **arguments):
                part(self._fit(one))
            return None
        if inspect.iscoroutinefunction(self.function):
            return self._fit(await self.function(*given, **arguments))
        if inspect.isgeneratorfunction(self.function):
            return await asyncio.to_thread(self._generate, given, arguments, part)
        return self._fit(await asyncio.to_thread(self.function, *given, **arguments))

    def _generate(self, given: tuple[Any, ...], arguments: Mapping[str, Any], part: Callable[[object], None]) -> object:
        generator = self.function(*given, **arguments)
        while True:
            try:
                one = next(generator)
            except StopIteration as end:
                return _plain(end.value)
            part(self._fit(one))

    def _arguments(self, input: object) -> dict[str, Any]:
        """The input as arguments: spread when there are several, as it is when there is one."""
        names = list(self._types)
        if len(names) == 1 and not (input is None and self._has_default(names[0])):
            return {names[0]: self._converted(names[0], input)}
        if input is None:
            input = {}
        if not isinstance(input, dict):
            raise InputError(f"{self.capability} takes an object with {_listed(names)}, not {_kind(input)}")
        for name in input:
            if name not in self._types:
                raise InputError(f"{self.capability} takes {_listed(names)}, and was given {name!r:.80}")
        missing = [name for name in names if name not in input and not self._has_default(name)]
        if missing:
            raise InputError(f"{self.capability} needs {_listed(missing)}")
        return {name: self._converted(name, value) for name, value in input.items()}

    def _has_default(self, name: str) -> bool:
        return any(
            parameter.name == name and parameter.default is not parameter.empty for parameter in self._parameters
        )

    def _converted(self, name: str, value: object) -> Any:
        try:
            return msgspec.convert(value, self._types[name], str_keys=True)
        except msgspec.ValidationError as failure:
            raise InputError(f"{self.capability}: {name}: {_said(failure)}") from None

    def _fit(self, result: object) -> object:
        plain = _plain(result)
        try:
            msgspec.convert(plain, self._gives, str_keys=True)
        except msgspec.ValidationError as failure:
            raise TaskError(f"{self.capability}: the result does not fit its type hint: {_said(failure)}") from None
        return plain


class Agent:
    """A named set of handlers, each of one capability."""

    def __init__(self, name: str) -> None:
        self.name = name
        self._functions: dict[str, Handler] = {}
        self._handlings: dict[str, _Handling] = {}

    def handles(self, capability: str) -> Callable[[_H], _H]:
        """Register a function for `name@major`: sync or async, or a generator whose parts are the result.

        Its first parameter may be the Context. One further parameter gets the input as it is;
        several get the fields of an object. Raises ValueError for what is no capability or taken.
        """
        if not _CAPABILITY.fullmatch(capability):
            raise ValueError(f"{capability!r} is no capability; write name@major, for example scoring@2")
        return self._registering(capability)

    def on(self, topic: str) -> Callable[[_H], _H]:
        """Register a function for the events of a topic, `domain.name`; its parameters are as those of a handler.

        Events come one at a time, at most once each; what the function returns is nobody's, and what it
        raises is logged. Raises ValueError for what is no topic or taken.
        """
        if not _TOPIC.fullmatch(topic):
            raise ValueError(f"{topic!r} is no topic; {_TOPIC_RULE}")
        return self._registering(topic)

    def _registering(self, name: str) -> Callable[[_H], _H]:
        if name in self._functions:
            raise ValueError(f"{name} is handled by {self._functions[name].__name__} already")

        def register(function: _H) -> _H:
            self._functions[name] = function
            return function

        return register

    @property
    def capabilities(self) -> tuple[str, ...]:
        """What it handles, in the order of registration."""
        return tuple(name for name in self._functions if "@" in name)

    @property
    def topics(self) -> tuple[str, ...]:
        """What it listens to, in the order of registration."""
        return tuple(name for name in self._functions if "@" not in name)

    def schema(self, capability: str) -> Schema:
        """What a handler takes and gives, by capability or topic.

        Raises KeyError, or TypeError for hints that JSON cannot carry.
        """
        return self._handling(capability).schema

    def is_blocking(self, capability: str) -> bool:
        """True for plain functions: they run in a thread, which nothing but the end of the process stops."""
        function = self._functions.get(capability)
        return function is not None and not (
            inspect.iscoroutinefunction(function) or inspect.isasyncgenfunction(function)
        )

    async def handle(
        self, capability: str, input: object, ctx: Context, part: Callable[[object], None] | None = None
    ) -> object:
        """Run one task or event: plain value in, plain value out. Parts go to `part`, or make up the result.

        Raises TaskError when input or result do not fit, and whatever the handler raises.
        """
        if capability not in self._functions:
            raise TaskError(f"{self.name} does not handle {capability}; it handles {_listed(self.capabilities)}")
        if part is not None:
            return await self._handling(capability).handle(ctx, input, part)
        parts: list[object] = []
        result = await self._handling(capability).handle(ctx, input, parts.append)
        return parts if result is None and parts else result

    async def handle_locally(self, capability: str, input: object = None, *, others: Sequence["Agent"] = ()) -> Any:
        """Run one task in this process, without a daemon. What it calls or submits goes to itself and `others`.

        So do events: they are handled when the task is done, in order, and what a handler of one raises is raised.
        """
        mesh = _LocalMesh((self, *others))
        result = await mesh.run(self, capability, msgspec.to_builtins(input))
        await mesh.deliver()
        return result

    def _handling(self, capability: str) -> _Handling:
        # On first use, when the whole module is there: hints may name what stands further down.
        if capability not in self._handlings:
            self._handlings[capability] = _Handling(capability, self._functions[capability])
        return self._handlings[capability]


class _LocalMesh:
    """A mesh of a few agents in one process; tasks run when they are submitted."""

    def __init__(self, agents: Sequence[Agent]) -> None:
        self._agents = agents
        self._count = itertools.count(1)
        self._submitted: dict[tuple[str, str], tuple[str, object]] = {}
        self._events: deque[tuple[str, str, object, int]] = deque()  # topic, publisher, value, how many led to it
        self._agent_of: dict[str, tuple[str, int]] = {}  # whose task, and how many events led to it

    async def run(self, agent: Agent, capability: str, input: object, *, publisher: str = "", hops: int = 0) -> object:
        number = next(self._count)
        self._agent_of[f"local-{number}"] = (agent.name, hops)
        ctx = Context(
            self,
            task=f"local-{number}",
            epoch=1,
            attempt=1,
            deadline_s=3_600.0,
            iid=f"local-iid-{number}",
            gid="local-gid",
            topic="" if "@" in capability else capability,
            publisher=publisher,
        )
        return await agent.handle(capability, input, ctx)

    async def deliver(self) -> None:
        """Hand out what was published, and what comes of it."""
        while self._events:
            topic, publisher, value, hops = self._events.popleft()
            for agent in self._agents:
                if topic in agent.topics:
                    await self.run(agent, topic, value, publisher=publisher, hops=hops + 1)

    async def publish(self, task: str, topic: str, value: object) -> None:
        agent, hops = self._agent_of[task]
        if not _TOPIC.fullmatch(topic):
            raise MeshRefusal("bad_topic", f"{topic!r:.80} is not a topic; {_TOPIC_RULE}")
        if hops > _HOPS_MAX:
            what = f"this event would be number {hops} that one led to; the limit is {_HOPS_MAX}"
            raise MeshRefusal("bad_input", what)
        self._events.append((topic, agent, _plain(value), hops))

    async def call(
        self, task: str, capability: str, input: object, timeout_s: float | None, *, agent: str = ""
    ) -> object:
        for each in self._agents:
            if capability in each.capabilities and agent in ("", each.name):
                return await self._asked(each, capability, input, timeout_s)
        if agent:
            raise MeshRefusal("unknown_agent", f"no agent here is called {agent} and handles {capability}")
        raise MeshRefusal("no_agent", f"no agent here handles {capability}; give one with others=[...]")

    async def submit(self, task: str, capability: str, input: object, *, key: str, wait: bool) -> object:
        known = self._submitted.get((capability, key)) if key else None
        if known is None:
            known = (f"local-task-{next(self._count)}", await self.call(task, capability, input, None))
            self._submitted[capability, key] = known
        return known[1] if wait else known[0]

    def progress(self, task: str, value: object) -> None:
        _plain(value)

    async def _asked(self, agent: Agent, capability: str, input: object, timeout_s: float | None) -> object:
        try:
            async with asyncio.timeout(timeout_s):
                return await self.run(agent, capability, input)
        except TaskError as failure:
            code = "bad_input" if isinstance(failure, InputError) else "agent_failed"
            raise MeshRefusal(code, failure.message) from failure
        except TimeoutError:
            raise MeshRefusal("timed_out", f"{capability} did not answer within {timeout_s} s") from None


def _plain(value: object) -> Any:
    """The value as JSON will carry it. Raises TaskError when it cannot."""
    try:
        text = json.dumps(msgspec.to_builtins(value), allow_nan=False, ensure_ascii=False)
        text.encode()  # half a surrogate pair is no text
        return json.loads(text)
    except (TypeError, ValueError, RecursionError) as failure:
        raise TaskError(f"{_kind(value)} cannot be written as JSON: {failure}") from None


def _hints(capability: str, function: Handler) -> dict[str, Any]:
    try:
        hints = get_type_hints(function, include_extras=True)
        return {name: _widened(hint) for name, hint in hints.items()}
    except NameError as failure:
        raise TypeError(f"{capability}: a type hint of {function.__name__} is not defined: {failure}") from None


def _widened(hint: Any) -> Any:
    """The hint with `object` read as anything, wherever it stands: `dict[str, object]` is any object."""
    if hint is object:
        return Any
    arguments = get_args(hint)
    widened = tuple(_widened(each) for each in arguments)
    if widened == arguments or get_origin(hint) is Literal:
        return hint
    if isinstance(hint, UnionType):
        return Union[widened]  # noqa: UP007 - of a tuple made at run time
    return hint.copy_with(widened) if hasattr(hint, "copy_with") else get_origin(hint)[widened]


def _given_type(hint: Any, function: Handler) -> Any:
    """The type of a result, or of a part: `Iterator[int]` of a generator gives `int`."""
    if inspect.isgeneratorfunction(function) or inspect.isasyncgenfunction(function):
        return get_args(hint)[0] if get_origin(hint) is not None else Any
    return hint


def _schema(capability: str, what: str, kind: Any) -> dict[str, Any]:
    try:
        return msgspec.json.schema(kind)
    except TypeError:
        raise TypeError(f"{capability}: {what}: JSON cannot carry a {getattr(kind, '__name__', kind)}") from None


def _said(failure: msgspec.ValidationError) -> str:
    return str(failure).replace("`", "")


def _kind(value: object) -> str:
    match value:
        case None:
            return "null"
        case bool():
            return "a boolean"
        case int() | float():
            return "a number"
        case str():
            return "text"
        case list() | tuple():
            return "a list"
        case dict():
            return "an object"
        case _:
            return f"a value of type {type(value).__name__}"


def _listed(names: Sequence[str]) -> str:
    return ", ".join(names) if names else "nothing"
