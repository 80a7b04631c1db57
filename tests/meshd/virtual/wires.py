"""A broker with distance: frames take their time, sides may be cut from each other, and readers may be slow.

Invariant: what one client is brought comes in the order in which it reached the broker. What a slow reader
has no room for is dropped and counted, as a server does with a slow consumer.
"""

import asyncio
from collections.abc import Callable, Iterable
from hashlib import blake2b
from random import Random

from meshd.transport.memory import MemoryBus, MemoryTransport

LATENCY_S = (0.0005, 0.002)
UNREAD_MAX = 512  # frames on their way to one client


class Wires(MemoryBus):
    """A bus in virtual time."""

    def __init__(self, rng: Random) -> None:
        super().__init__()
        self._rng = rng
        self._side: dict[MemoryTransport, int] = {}
        self._slow: dict[MemoryTransport, tuple[float, float]] = {}
        self._free_at: dict[MemoryTransport, float] = {}
        self._unread: dict[MemoryTransport, int] = {}
        self.dropped = 0
        self.carried = 0
        self._trace = blake2b(digest_size=16)

    @property
    def digest(self) -> str:
        """Of every frame that reached the broker: when, where to, and each of its bytes."""
        return self._trace.hexdigest()

    def split(self, *sides: Iterable[MemoryTransport]) -> None:
        """From now on each side hears itself alone; every link stays up."""
        self._side = {client: number for number, side in enumerate(sides) for client in side}

    def heal(self) -> None:
        """One side again."""
        self._side = {}

    def slow(self, client: MemoryTransport, least_s: float, most_s: float) -> None:
        """This client reads each frame that much later."""
        self._slow[client] = (least_s, most_s)

    def carry(self, sender: MemoryTransport, subject: str, frame: bytes, reply: str) -> None:
        """As a `MemoryBus`, but each listener has it after a while."""
        self.carried += 1
        self._trace.update(repr((asyncio.get_running_loop().time(), subject, frame, reply)).encode())
        listeners = [each for each in self._attached if self._hears(each, sender) and each.listens(subject)]
        for client in listeners:
            self._bring(client, lambda client=client: client.receive(subject, frame))  # type: ignore[misc]  # binds the loop's variable
        if reply and not listeners and self.carries(sender):
            self._bring(sender, lambda: sender.miss(reply))

    def _hears(self, client: MemoryTransport, sender: MemoryTransport) -> bool:
        return self.carries(client) and self._side.get(client) == self._side.get(sender)

    def _bring(self, client: MemoryTransport, give: Callable[[], None]) -> None:
        unread = self._unread.get(client, 0)
        if unread >= UNREAD_MAX:
            self.dropped += 1
            return
        self._unread[client] = unread + 1
        loop = asyncio.get_running_loop()
        takes_s = self._rng.uniform(*self._slow.get(client, LATENCY_S))
        at = self._free_at[client] = max(self._free_at.get(client, 0.0), loop.time() + takes_s)
        loop.call_at(at, self._arrive, client, give)

    def _arrive(self, client: MemoryTransport, give: Callable[[], None]) -> None:
        self._unread[client] -= 1
        if self.carries(client):
            give()
