"""One cell of the matrix: a fault befalls three hosts under a load, and everything has to be right again.

What has to hold whatever the fault: nobody healthy is called dead, every accepted task is done and its record
tells one result, all see each other again, nobody has more to say of itself than before, and no log complains.
Neighbours: `faults.py`, `ground.py`.
"""

import asyncio
from collections import Counter
from pathlib import Path
from typing import Any

import aiohttp
from msgspec import Struct

from tests.live.faults import Fault
from tests.live.ground import NAMES, SLOTS, Ground, ground
from tests.live.hosts import Host
from tests.waiting import until_told

LOADS = ("idle", "auctions", "running")
SUBMIT_EVERY_S = 0.25
RUN_S = 8.0  # spans most faults
MEND_S_MAX = 60.0
WORDS = {"peer_suspect": "suspected", "peer_dead": "called dead", "clock_off": "off by its clock"}
SAYS_S = 3.0
SAID_WORDS = 6  # of a sentence: what it is about
PATIENCE_S = 10.0  # for the answer to one request, while much is broken


class Row(Struct):
    """What a cell was and what was seen in it; the last is its verdict."""

    fault: str
    load: str
    seen: list[str] = []
    work: str = ""
    mended_s: float = 0.0
    took_s: float = 0.0
    problems: list[str] = []

    def cells(self) -> tuple[str, ...]:
        """As text."""
        times = (f"{self.mended_s:.1f}", f"{self.took_s:.0f}")
        verdict = "; ".join(self.problems) or "holds"
        return (self.fault, self.load, ", ".join(self.seen) or "nothing", self.work, *times, verdict)


class _Work:
    """The load of one cell: what was accepted, and what was refused."""

    def __init__(self, made: Ground, load: str) -> None:
        self._home = made["a"]
        self._load = load
        self.accepted: list[str] = []
        self._refused: Counter[str] = Counter()

    @property
    def refused(self) -> str:
        """How many submits were refused, and with which codes."""
        return ", ".join(f"{count} {code}" for code, count in sorted(self._refused.items())) or "none refused"

    async def begin(self) -> None:
        """Fill every slot with work that outlasts the fault, where that is the load."""
        if self._load == "running":
            for _ in range(2 * SLOTS):
                await self._submit(RUN_S)
            for task in self.accepted:
                await self._home.until_state(task, "running")

    async def go_on(self) -> None:
        """Submit, until cancelled, where that is the load."""
        while self._load == "auctions":
            await self._submit(0.1)
            await asyncio.sleep(SUBMIT_EVERY_S)

    async def _submit(self, takes_s: float) -> None:
        try:
            async with asyncio.timeout(PATIENCE_S):
                told = await self._home.ask("POST", "/v1/tasks", {"capability": "work@1", "input": {"s": takes_s}})
        except (OSError, TimeoutError, ValueError, aiohttp.ClientError):  # the home itself is away
            self._refused["away"] += 1
            return
        if "id" in told:
            self.accepted.append(told["id"])
        else:
            self._refused[told["error"]["code"]] += 1

    async def ends(self) -> list[dict[str, Any]]:
        """Every accepted task as it ended, and one more that shows that work is done again."""

        async def one_more() -> bool:
            before = len(self.accepted)
            await self._submit(0.0)
            return len(self.accepted) > before

        await until_told(one_more, MEND_S_MAX, "a task being accepted again")
        return [await self._home.ended(task, MEND_S_MAX) for task in self.accepted]


async def play(directory: Path, fault: Fault, load: str) -> Row:
    """Play one cell; what was wrong is in the row."""
    row = Row(fault.name, load)
    loop = asyncio.get_running_loop()
    async with ground(directory, fault.ground) as made:
        work = _Work(made, load)
        before = set(await _said(made))
        await work.begin()
        began_s = loop.time()
        going_on = asyncio.ensure_future(work.go_on())
        try:
            async with fault.inflict(made):
                over_s = loop.time() + fault.lasts_s
                await asyncio.sleep(fault.lasts_s - SAYS_S)
                row.seen += await _said(made)  # within its time: a host that is stopped answers late
                await asyncio.sleep(over_s - loop.time())
            mended_s = loop.time()
            await _look(made, row, work, fault)
            if not fault.loses_record:  # of which is told for as long as the server stands
                await _nothing_is_left_to_say(made, row, before)
            row.mended_s = loop.time() - mended_s
        except AssertionError as failure:
            row.problems.append(str(failure).splitlines()[0])
        finally:
            going_on.cancel()
            await asyncio.gather(going_on, return_exceptions=True)
        row.took_s = loop.time() - began_s
        _account(made, row, fault)
    return row


async def _said(made: Ground) -> list[str]:
    """What each host says of itself."""
    each = await asyncio.gather(*(_said_of(host) for host in made.hosts.values()))
    return [sentence for said in each for sentence in said]


async def _said_of(host: Host) -> list[str]:
    try:
        async with asyncio.timeout(SAYS_S):
            status = await host.ask("GET", "/v1/status")
    except (OSError, TimeoutError, ValueError, aiohttp.ClientError):
        return [f"{host.name} does not answer"]
    return [f"{host.name}: {' '.join(sentence.split()[:SAID_WORDS])}" for sentence in status["attention"]]


async def _look(made: Ground, row: Row, work: _Work, fault: Fault) -> None:
    """Wait for one view and for the work, and judge it."""
    for host in made.hosts.values():
        await host.is_in("joined", MEND_S_MAX)
        await host.sees(MEND_S_MAX, **dict.fromkeys(NAMES, "alive"))
    if fault.loses_record:
        return await _lost_record_is_told(made, row, work)
    ended = await work.ends()
    moved = sum(task["epoch"] > 1 for task in ended)
    late = sum(len(task["refused"]) for task in ended)
    row.work = f"{len(ended)} done, {moved} moved, {late} late, {work.refused}"
    row.problems += [f"{task['id'][:8]} {task['state']}" for task in ended if task["state"] != "done"]


async def _nothing_is_left_to_say(made: Ground, row: Row, before: set[str]) -> None:
    left: list[str] = []

    async def is_over() -> bool:
        left[:] = sorted(set(await _said(made)) - before)
        return not left

    try:
        await until_told(is_over, MEND_S_MAX)
    except AssertionError:
        row.problems.append(f"still said: {', '.join(left)}")


async def _lost_record_is_told(made: Ground, row: Row, work: _Work) -> None:
    """The one copy of it is gone: somebody says so, and what is submitted from now on is done."""

    async def is_told() -> bool:
        said = [await host.ask("GET", "/v1/status") for host in made.hosts.values()]
        return any("lost" in " ".join(each["attention"]) or "anew" in " ".join(each["attention"]) for each in said)

    await until_told(is_told, MEND_S_MAX, "the loss being told")
    known = [await made["a"].task(task) for task in work.accepted]
    back = sum(task.get("state") == "done" for task in known)
    row.work = f"{len(work.accepted)} before, {back} back, {work.refused}"
    work.accepted.clear()
    (last,) = await work.ends()
    row.problems += [] if last["state"] == "done" else [f"a new task is {last['state']}"]


def _account(made: Ground, row: Row, fault: Fault) -> None:
    """What the logs tell, and what should not be in them."""
    for kind, word in WORDS.items():
        told = sorted({made.names[event["peer"]] for host in made.hosts.values() for event in host.events(kind)})
        row.seen += [f"{' '.join(told)} {word}"] if told else []
    states = {event["state"] for host in made.hosts.values() for event in host.events("state_changed")}
    row.seen += sorted(states - {"joined", "starting"})
    dead = {
        (made.names[event["peer"]], host.name) for host in made.hosts.values() for event in host.events("peer_dead")
    }
    row.problems += [f"{by} called {name} dead" for name, by in sorted(dead) if name not in fault.may_die]
    for host in made.hosts.values():
        complaints = [] if fault.is_noisy else host.complaints()
        row.problems += [f"{host.name} complained: {line[:2_000]}" for line in complaints[:1]]
