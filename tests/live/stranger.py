"""Somebody with the mesh's NATS credential and bad manners: publishes what no daemon would.

Invariant: what it sends is refused by the daemons, so a mesh is the same after it as before it.
Neighbours: `hosts` are who it speaks to; `protocol.envelope` seals what is nearly right.
"""

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import nats
from nats.aio.client import Client
from nats.aio.msg import Msg

from protocol.envelope import Sealer
from protocol.identity import Identity
from protocol.primitives import Instant
from protocol.subjects import Subjects
from protocol.wire.kinds import AnyBody
from protocol.wire.swim import Ping
from tests.live.hosts import Host
from tests.waiting import until, until_told


class Stranger:
    """A connection to the server of `at`'s mesh, and what `at` says of what it refused."""

    def __init__(self, at: Host, client: Client) -> None:
        mesh = json.loads((at.dir / "mesh.json").read_text())
        self._at = at
        self._client = client
        self.subjects = Subjects(mesh["id"])

    def inbox(self, to: Host, src: str) -> str:
        """Where the running life of a host listens to `src`."""
        return self.subjects.node(dst=node_of(to).id, life=life_of(to), src=src)

    async def publish(self, subject: str, *frames: bytes) -> None:
        """Send frames and return when the server has them."""
        for frame in frames:
            await self._client.publish(subject, frame)
        await self._client.flush()

    async def put(self, key: str, value: bytes) -> None:
        """Write a key of the bucket, whatever stands there."""
        await self._client.jetstream().publish(self.subjects.record(key), value)

    async def value(self, key: str) -> bytes:
        """What stands under a key of the bucket."""
        stream = await self._client.jetstream().find_stream_name_by_subject(self.subjects.record(key))
        found = await self._client.jetstream().get_last_msg(stream, self.subjects.record(key))
        return found.data or b""

    async def overheard(self, subject: str) -> Msg:
        """The next message on a subject."""
        heard: list[Msg] = []

        async def keep(message: Msg) -> None:
            heard.append(message)

        subscription = await self._client.subscribe(subject, cb=keep)
        await until(lambda: heard, what=f"a message on {subject}")
        await subscription.unsubscribe()
        return heard[0]

    async def refused(self) -> dict[str, int]:
        """How many frames `at` has refused, by code."""
        text = await self._at.metrics()
        rows = [line.rpartition(" ") for line in text.splitlines() if line.startswith("meshd_frames_refused_total{")]
        return {name.split('"')[1]: int(float(value)) for name, _, value in rows}

    async def is_refused(self, code: str, subject: str, frame: bytes) -> None:
        """Send a frame, and return when `at` has counted one more with this code."""
        before = (await self.refused()).get(code, 0)
        await self.publish(subject, frame)

        async def look() -> bool:
            return (await self.refused()).get(code, 0) > before

        await until_told(look, what=f"a refusal for {code}")


@asynccontextmanager
async def stranger(at: Host) -> AsyncIterator[Stranger]:
    """Connected with the credential and address that lie in the state directory of the record's host."""
    credential = json.loads((at.dir / "credential.json").read_text())
    port = (at.dir / "nats" / "port").read_text()
    client = await nats.connect(f"nats://127.0.0.1:{port}", **credential)
    try:
        yield Stranger(at, client)
    finally:
        await client.close()


def node_of(host: Host) -> Identity:
    """The key of a host's node."""
    return Identity((host.dir / "identity.key").read_bytes())


def life_of(host: Host) -> int:
    """The life that a host's node is in."""
    return int((host.dir / "life").read_text())


def sealed(signer: Identity, *, subject: str, at: Instant, life: int, body: AnyBody | None = None) -> bytes:
    """A frame that is right in itself, by whoever signs it."""
    return Sealer(signer=signer, life=life).seal(body or Ping(probe=1), subject=subject, now=at)
