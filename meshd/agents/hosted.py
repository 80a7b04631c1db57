"""An agent that runs in processes of its own, as the daemon sees it: `meshd.ports.Agent` over seats.

Invariant: a task goes to a seat that has room for it, or waits for one that will have; when no process
is up or coming, the answer is "unavailable" at once. Neighbours: `stdio` and `python` say which seats.
"""

import asyncio
from collections.abc import Mapping, Sequence

from msgspec import structs

from meshd.agents.child import Log, Plan
from meshd.agents.manifest import Manifest, card, checks_of, schemas_of
from meshd.agents.reaper import Reaper
from meshd.agents.said import Offers
from meshd.agents.seat import Manner, Patience, Seat, State
from meshd.ports import AgentWatcher, Desk, Event, Failed, Outcome, Schema, Work
from meshd.supervise import Supervisor
from protocol.errors import MeshError
from protocol.wire.agents import Card


class HostedAgent:
    """One agent over one or more processes."""

    def __init__(
        self,
        manifest: Manifest,
        *,
        command: tuple[str, ...],
        memory_bytes: int,
        slots_of_seats: Sequence[int],
        manner: Manner,
        on_change: AgentWatcher,
        supervisor: Supervisor,
        reaper: Reaper,
        patience: Patience,
    ) -> None:
        """`slots_of_seats`: a process for each, with so many tasks at once."""
        self._manifest = manifest
        self._card = card(manifest)
        self._checks = checks_of(manifest)
        self._watcher = on_change
        self._supervisor = supervisor
        self._log = Log()
        self._note = ""
        self._schemas: Mapping[str, Schema] = schemas_of(manifest)
        self._told: tuple[str, str, Card] = ("stopped", "", self._card)
        self._change = asyncio.Event()
        self._is_stopped = True
        plan = Plan(agent=manifest.name, command=command, folder=manifest.folder, memory_bytes=memory_bytes)
        self._seats = [
            Seat(
                plan,
                slots=slots,
                output_bytes_max=manifest.limits.output_bytes,
                manner=manner,
                patience=patience,
                log=self._log,
                supervisor=supervisor,
                reaper=reaper,
                on_change=self._changed,
                on_offers=self._offered,
            )
            for slots in slots_of_seats
        ]

    @property
    def card(self) -> Card:
        """What is announced."""
        return self._card

    @property
    def state(self) -> str:
        """starting, ready, restarting, failed (given up) or stopped."""
        return self._standing()[0]

    @property
    def detail(self) -> str:
        """Why it is in that state, one sentence or nothing."""
        return self._standing()[1]

    @property
    def schemas(self) -> Mapping[str, Schema]:
        """What its capabilities take and give: as the manifest says, else as its type hints or its tools do."""
        return self._schemas

    @property
    def pids(self) -> list[int]:
        """Its processes, without those that they started."""
        return [seat.pid for seat in self._seats if seat.pid]

    async def start(self) -> None:
        """Bring it up; return when its first process is ready, the others follow.

        Raises MeshError("manifest") when it never can be. An agent that gave up begins anew.
        """
        self._is_stopped = False
        first, *others = self._seats
        if problem := await first.start():
            raise MeshError("manifest", path=self._manifest.path, problem=f"run: the agent {problem}")
        if others:
            self._supervisor.spawn(f"agent {self._manifest.name}: other seats", self._start(others))

    async def run(self, work: Work, desk: Desk) -> Outcome:
        """Do one task; see `meshd.ports.Agent.run`."""
        if isinstance(work, Event):
            return await self._hear(work, desk)
        if refusal := self._checks.refusal(work):
            return refusal
        try:
            async with asyncio.timeout(work.deadline_s):
                seat = await self._seat_for(work.task)
        except TimeoutError:
            return Failed("agent_unavailable", f"no slot was free within {work.deadline_s:g} s", retry=True)
        if seat is None:
            state, detail = self._standing()
            why = f"the agent is {state}" + (f": {detail}" if detail else "")
            return Failed("agent_unavailable", why, retry=True)
        outcome = await seat.run(work, desk, min(work.deadline_s, self._manifest.limits.task_s))
        return self._checks.judged(work, outcome)

    async def stop(self) -> None:
        """End it and everything it started. Idempotent."""
        self._is_stopped = True
        await asyncio.gather(*(seat.stop() for seat in self._seats))

    @property
    def logged(self) -> int:
        """How many lines it ever wrote."""
        return self._log.count

    def log(self) -> list[str]:
        """Its last lines of stderr, oldest first, with what the daemon noted about it."""
        return self._log.lines()

    async def _start(self, seats: Sequence[Seat]) -> None:
        for seat in seats:  # one after the other, so that a start costs one core
            if not self._is_stopped:
                await seat.start()

    async def _hear(self, event: Event, desk: Desk) -> Outcome:
        """Its first process hears all events, so that what it keeps in memory of them is whole; none waits for it."""
        for seat in self._seats:
            if seat.is_open:
                return await seat.run(event, desk, min(event.deadline_s, self._manifest.limits.task_s))
        return Failed("agent_unavailable", f"the agent is {self.state}", retry=False)

    async def _seat_for(self, task: str) -> Seat | None:
        while True:
            roomy = max(self._seats, key=lambda seat: seat.room(task))
            if roomy.room(task):
                return roomy
            if self._is_stopped or not any(seat.is_hopeful for seat in self._seats):
                return None
            self._change.clear()
            await self._change.wait()

    def _standing(self) -> tuple[State, str]:
        if self._is_stopped:
            return "stopped", ""
        up = [seat for seat in self._seats if seat.state == "ready"]
        down = [seat for seat in self._seats if seat.state in ("restarting", "failed")]
        if up:
            some = f"{len(up)} of {len(self._seats)} slots are up: {down[0].detail}" if down else self._note
            return "ready", some
        for state in ("restarting", "starting", "failed"):
            for seat in self._seats:
                if seat.state == state:
                    return state, seat.detail
        return "stopped", ""

    def _offered(self, offers: Offers) -> None:
        """What a worker says that it can do now."""
        self._card = structs.replace(self._card, capabilities=tuple(offers.capabilities), topics=offers.topics)
        self._schemas = offers.capabilities | schemas_of(self._manifest)
        self._note = offers.note
        if self.state == "ready":  # else it is said with the next state
            self._changed()

    def _changed(self) -> None:
        self._change.set()
        state, detail = self._standing()
        if (state, detail, self._card) != self._told:
            self._told = (state, detail, self._card)
            self._watcher(self._manifest.name, state, detail)
