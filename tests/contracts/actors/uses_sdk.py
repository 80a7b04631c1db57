"""An agent for the contract suite on the SDK: does what each task's input tells it to.

The input is [verb, argument]. Neighbours: `speaks_pipe` does the same without the SDK.
"""

import asyncio
import os
import signal
import subprocess
import sys
import threading
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

from meshd.sdk import Agent, Context, MeshRefusal, TaskError

agent = Agent("actor")


@agent.handles("act@1")
async def act(ctx: Context, order: list[Any]) -> Any:
    """One task."""
    verb, argument = order
    match verb:
        case "echo":
            return argument
        case "given":
            return {"task": ctx.task, "epoch": ctx.epoch, "attempt": ctx.attempt, "iid": ctx.iid, "gid": ctx.gid}
        case "hold" | "stubborn":
            await hold(ctx, is_stubborn=verb == "stubborn")
        case "meet":
            return await meet(*argument)
        case "call" | "submit" | "submit-only":
            return await asked(ctx, verb, argument)
        case "progress":
            ctx.progress(argument)
        case "publish":
            return await published(ctx, *argument)
        case "heard":
            ctx.progress([ctx.topic, ctx.publisher])
        case "fail":
            raise TaskError(argument, retry=True)
        case "raise":
            raise LookupError(argument)
        case _:
            return at_once(verb, argument)


@agent.on("sales.orders")
async def hear(ctx: Context, order: list[Any]) -> Any:
    """One event, that tells it what to do as a task does."""
    return await act(ctx, order)


async def published(ctx: Context, topic: str, value: object) -> str:
    """What came of saying something."""
    try:
        await ctx.publish(topic, value)
    except MeshRefusal as refusal:
        return f"{refusal.code}: {refusal.message}"
    return "published"


@agent.handles("parts@1")
async def parts(order: list[Any]) -> AsyncIterator[Any]:
    """Its argument, part by part."""
    for part in order[1]:
        yield part


@agent.handles("blocked@1")
def blocked(ctx: Context, order: list[Any]) -> list[Any]:
    """A plain function; "loop" never ends."""
    if order[0] == "loop":
        print("looping")
        threading.Event().wait()
    return order


def at_once(verb: str, argument: Any) -> object:
    """What needs no waiting."""
    match verb:
        case "exit":
            os._exit(argument)
        case "last-words":
            print(argument, file=sys.stderr, flush=True)
            os._exit(3)
        case "die":
            os.kill(os.getpid(), signal.SIGKILL)
        case "log":
            print(argument, file=sys.stderr)
        case "print":
            print(argument)
        case "child":
            return subprocess.Popen(["sleep", "1000"]).pid
        case "environment":
            return dict(os.environ)
        case "folder":
            return os.getcwd()
        case "flood":
            return "x" * 50_000_000
        case "huge":
            return "x" * argument
        case "memory":
            return len(bytearray(argument))
        case "nan":
            return float("nan")
        case "loop":
            while True:
                pass
    return None


async def hold(ctx: Context, *, is_stubborn: bool) -> None:
    """Work until told to stop, or for ever."""
    ctx.progress({"pid": os.getpid()})
    while True:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            if not is_stubborn:
                raise


async def meet(folder: str, count: int, mine: str) -> int:
    """Return once so many tasks are here at once."""
    (Path(folder) / mine).touch()
    while len(os.listdir(folder)) < count:  # noqa: ASYNC110 - the others are other processes
        await asyncio.sleep(0.01)
    return os.getpid()


async def asked(ctx: Context, verb: str, argument: object) -> object:
    """A request of the mesh, and its reply."""
    try:
        if verb == "call":
            return await ctx.call("other@1", argument)
        if verb == "submit":
            return await ctx.submit("other@1", argument, wait=True)
        return await ctx.submit("other@1", argument, key="mine")
    except MeshRefusal as refusal:
        return f"{refusal.code}: {refusal.message}"
