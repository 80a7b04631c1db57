"""A broker in this process, and the transport that speaks to it.

Invariant: delivery is in order and in a later turn of the event loop, never within `publish`;
what is published while cut off reaches nobody, ever. Neighbours: `tests/contracts/` holds it to
the same suite as `nats`.
"""

import asyncio
from collections.abc import Callable

from meshd.ports import Sink
from meshd.transport.subjects import check_absences, check_pattern, check_publish, matches, probe_of
from protocol.errors import MeshError
from protocol.inputs import Absent, LinkChanged, Received


class MemoryBus:
    """The broker: who is attached, who is cut off."""

    def __init__(self) -> None:
        self._attached: list[MemoryTransport] = []
        self._cut: set[MemoryTransport] = set()
        self._is_stopped = False

    def cut(self, client: "MemoryTransport") -> None:
        """Take one client's link away."""
        self._change(lambda: self._cut.add(client))

    def restore(self, client: "MemoryTransport") -> None:
        """Give it back."""
        self._change(lambda: self._cut.discard(client))

    def stop(self) -> None:
        """The broker goes away: every link is down."""
        self._change(lambda: setattr(self, "_is_stopped", True))

    def start(self) -> None:
        """The broker is back."""
        self._change(lambda: setattr(self, "_is_stopped", False))

    def attach(self, client: "MemoryTransport") -> None:
        """A transport opens. Raises MeshError("broker") while its link is down."""
        if not self._reaches(client):
            raise MeshError("broker", problem="does not answer on this bus", cure="start it")
        self._attached.append(client)

    def detach(self, client: "MemoryTransport") -> None:
        """A transport closes; it hears no more."""
        if client in self._attached:
            self._attached.remove(client)

    def carries(self, client: "MemoryTransport") -> bool:
        """True while this client's link is up."""
        return client in self._attached and self._reaches(client)

    def carry(self, sender: "MemoryTransport", subject: str, frame: bytes, reply: str) -> None:
        """Deliver one frame to all who listen, or tell the sender that nobody does."""
        listeners = [client for client in self._attached if self.carries(client) and client.listens(subject)]
        for client in listeners:
            client.receive(subject, frame)
        if reply and not listeners and self.carries(sender):
            sender.miss(reply)

    def _reaches(self, client: "MemoryTransport") -> bool:
        return not self._is_stopped and client not in self._cut

    def _change(self, act: Callable[[], None]) -> None:
        before = {client: self.carries(client) for client in self._attached}
        act()
        for client, was_up in before.items():
            if self.carries(client) != was_up:
                client.link_changed(up=not was_up)


class MemoryTransport:
    """One node's link to a `MemoryBus`."""

    def __init__(self, bus: MemoryBus) -> None:
        self._bus = bus
        self._sink: Sink | None = None
        self._patterns: list[str] = []
        self._absences: list[str] = []

    @property
    def is_up(self) -> bool:
        """As `meshd.ports.Transport.is_up`."""
        return self._bus.carries(self)

    @property
    def server(self) -> str:
        """As `meshd.ports.Transport.server`."""
        return "memory"

    async def open(self, sink: Sink) -> None:
        """As `meshd.ports.Transport.open`."""
        self._bus.attach(self)
        self._sink = sink
        self.link_changed(up=True)

    async def subscribe(self, subject: str) -> None:
        """As `meshd.ports.Transport.subscribe`."""
        check_pattern(subject)
        if subject not in self._patterns:
            self._patterns.append(subject)

    async def unsubscribe(self, subject: str) -> None:
        """As `meshd.ports.Transport.unsubscribe`."""
        if subject in self._patterns:
            self._patterns.remove(subject)

    async def watch_absences(self, subject: str) -> None:
        """As `meshd.ports.Transport.watch_absences`."""
        check_absences(subject)
        if subject not in self._absences:
            self._absences.append(subject)

    def publish(self, subject: str, frame: bytes, reply: str = "") -> bool:
        """As `meshd.ports.Transport.publish`."""
        check_publish(subject, frame, reply)
        if not self.is_up:
            return False
        asyncio.get_running_loop().call_soon(self._bus.carry, self, subject, frame, reply)
        return True

    async def flush(self) -> None:
        """As `meshd.ports.Transport.flush`."""
        await asyncio.sleep(0)

    async def close(self) -> None:
        """As `meshd.ports.Transport.close`."""
        await self.flush()
        self._bus.detach(self)

    def listens(self, subject: str) -> bool:
        """For the bus: does a subscription of this client match?"""
        return any(matches(pattern, subject) for pattern in (*self._patterns, *self._absences))

    def receive(self, subject: str, frame: bytes) -> None:
        """For the bus: a frame arrived. One input for every subscription that matches, as in NATS."""
        for pattern in self._patterns:
            if self._sink is not None and matches(pattern, subject):
                self._sink(Received(subject=subject, frame=frame))

    def miss(self, reply: str) -> None:
        """For the bus: nobody listens where this client's message with `reply` went."""
        probe = probe_of(reply)
        for pattern in self._absences:
            if self._sink is not None and probe is not None and matches(pattern, reply):
                self._sink(Absent(probe=probe))

    def link_changed(self, *, up: bool) -> None:
        """For the bus: the link came or went."""
        if self._sink is not None:
            self._sink(LinkChanged(up=up))
