"""How long a call and a task take, against a raw NATS request and two synced writes in the same run.

The floor of a task is what plain nats-py needs for the two writes that every task costs: one that
makes and awards it, one that ends it, each synced to the disk before it is acknowledged.
"""

import asyncio
import itertools
import statistics
import sys
from asyncio.subprocess import PIPE
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import nats
from nats.aio.client import Client
from nats.js.kv import KeyValue

from meshd.api import schemas
from meshd.statedir import Credential
from tests.bench.actor import ACTOR, SUBJECT
from tests.bench.guest import Door, echoing, guest, submit_here
from tests.bench.meter import Act, heading, per_s, row, side_by_side, spread

VALUE = {"text": "x" * 240}
RAW = bytes(256)
ROUNDS, BLOCK = 12, 20
IN_FLIGHT, TASKS = 64, 1_000
RECORD = bytes(700)  # as large as a small task's record


@asynccontextmanager
async def plain(url: str, credential: Credential) -> AsyncIterator[Client]:
    """A plain nats-py client, and a process beside it that answers its requests."""
    client = await nats.connect(url, user=credential.user, password=credential.password)
    command = (sys.executable, ACTOR, "--respond", url, credential.user, credential.password)
    responder = await asyncio.create_subprocess_exec(*command, stdin=PIPE, stdout=PIPE)
    try:
        assert responder.stdout is not None
        await responder.stdout.readline()
        yield client
    finally:
        responder.kill()
        await responder.wait()
        await client.close()


def two_writes(bucket: KeyValue, first: bytes = RECORD, last: bytes = RECORD) -> Act:
    """What every task costs at least: its record is made, and replaced."""
    numbers = itertools.count()

    async def write() -> None:
        key = f"{len(last)}-{next(numbers)}"
        revision = await bucket.create(key, first)
        await bucket.update(key, last, last=revision)

    return write


async def latencies(directory: Path) -> None:
    """Nodes a (server and an agent), b (an agent), and a guest in this process with an agent of its own."""
    async with (
        echoing(directory, a="here@1", b="there@1") as hosts,
        guest(directory, hosts["a"], "mine@1") as (service, credential, url),
        plain(url, credential) as client,
    ):
        bucket = await client.jetstream().create_key_value(bucket="floor", history=1)
        door = Door(hosts["a"], IN_FLIGHT)
        request = schemas.CallRequest(input=VALUE)
        acts: dict[str, Act] = {
            "raw request to another process": lambda: client.request(SUBJECT, RAW, timeout=5),
            "floor: create and update of nats-py, synced": two_writes(bucket),
            "GET /healthz": lambda: door.ask("GET", "/healthz"),
            "call of the own agent, in the engine": lambda: service.call("mine@1", request),
            "call to another node, in the engine": lambda: service.call("there@1", request),
            "call to another node, over the API": lambda: door.ask("POST", "/v1/call/there@1", {"input": VALUE}),
            "submit local, in the engine": lambda: submit_here(service, "mine@1", VALUE),
            "submit local, over the API": lambda: door.submit("here@1", VALUE),
            "submit awarded, in the engine": lambda: submit_here(service, "there@1", VALUE),
            "submit awarded, over the API": lambda: door.submit("there@1", VALUE),
        }
        try:
            heading("Calls and tasks: p50 / p99, and p50 against a raw request of the same run")
            _print_durations(await side_by_side(acts, rounds=ROUNDS, block=BLOCK))
            heading(f"Tasks a second, {IN_FLIGHT} in flight")
            rates = {
                name: await per_s(act, TASKS, IN_FLIGHT)
                for name, act in acts.items()
                if name.startswith(("floor", "submit"))
            }
        finally:
            await door.close()
    floor = next(iter(rates.values()))
    for name, rate in rates.items():
        row(name, f"{rate:.0f} /s  x {rate / floor:.2f} of the floor", RATE_AIMS.get(name, ""))


AIMS = {
    "call to another node, in the engine": "<= 2.2 of raw, signed",
    "submit local, in the engine": "<= 2.5 of raw, aim 1.8 (record not synced)",
    "submit awarded, in the engine": "<= 6 of raw, aim 3.5 (record not synced)",
}
RATE_AIMS = {"submit awarded, in the engine": ">= 0.35 of the floor, aim 0.55"}


def _print_durations(found: dict[str, list[float]]) -> None:
    raw, floor, *_ = (statistics.median(values) for values in found.values())
    for name, values in found.items():
        p50 = statistics.median(values)
        against_floor = f", floor x {p50 / floor:.2f}" if name.startswith("submit") else ""
        row(name, f"{spread(values)}  x {p50 / raw:.2f}{against_floor}", AIMS.get(name, ""))
