"""Which life of which node this is, and how it ends: from what the directory keeps, what is told, and the record.

Invariant: a life is above every one that the directory remembers; one that finds a later one of its node on record
ends before it has written there, and the next begins above that. Neighbours: `app` runs one life after the other;
`protocol.link` finds out on the way what `on_record` finds at the start.
"""

import asyncio
import socket
from collections.abc import Sequence
from importlib.metadata import version
from typing import Protocol

from meshd import clock, config
from meshd.statedir import StateDir
from protocol.ids import is_token, presence_key
from protocol.inputs import Entry
from protocol.primitives import WallMs
from protocol.replica import Me

BEGAN_ABOVE = (
    "this life began above one that the directory did not know: the host's clock was set back, or the directory is an"
    " older image, or was copied"
)


class Course:
    """How long one life goes on: until it is told to stop, something fails, or a later life of its node is found."""

    def __init__(self) -> None:
        self._over = asyncio.Event()
        self._is_told = False
        self.failure: BaseException | None = None
        self.outdone_by: WallMs = 0  # the life above which the next begins; 0: there is no next

    @property
    def is_over(self) -> bool:
        """True when it ends, or has."""
        return self._over.is_set()

    async def wait(self) -> None:
        """Until it is over."""
        await self._over.wait()

    def stop(self) -> None:
        """It was told to, by whatever way: there is no next, also when there was to be one."""
        self._is_told = True
        self.outdone_by = 0
        self._over.set()

    def fail(self, failure: BaseException) -> None:
        """A bug: the first is the one to tell."""
        self.failure = self.failure or failure
        self._over.set()

    def give_way(self, life: WallMs) -> None:
        """Nobody listens to this one: a later life of its node is on record."""
        self.outdone_by = 0 if self._is_told else life
        self._over.set()


def next_life(state: StateDir, loaded: config.Config) -> Me:
    """The life of this directory's node that begins now, called and placed as it was told, now or once."""
    node = loaded.settings.node
    name = node.name or _host_name()
    keep(state, "node.name", name)
    for key, told in (("node.region", node.region), ("node.domain", node.domain)):
        keep(state, key, told if loaded.origins[key].origin != "default" else "")
    return Me(
        id=state.identity().id,
        life=state.next_life(clock.wall_ms()),
        name=name,
        region=node.region,
        domain=node.domain,
        admission=state.admission(),
        seen=state.seen(),
        version=version("agent-meshd"),
    )


def keep(state: StateDir, key: str, told: str) -> None:
    """Let the next start go on with it, whatever was kept before; nothing was not told."""
    file, content = config.KEPT_FILES[key], told.encode() + b"\n"
    if told and state.read(file) != content:
        state.write(file, content)


class Reading(Protocol):
    """Who can tell whose beat it is: `protocol.node.Node`."""

    @property
    def me(self) -> Me:
        """Whose life is looked for."""
        ...

    def own_life_in(self, key: str, frame: bytes) -> WallMs:
        """As `protocol.node.Node.own_life_in`."""
        ...


def on_record(node: Reading, entries: Sequence[Entry]) -> WallMs:
    """The life of this node whose beat is among these, or 0."""
    key = presence_key(node.me.id)
    return max((node.own_life_in(key, entry.frame) for entry in entries if entry.key == key), default=0)


def _host_name() -> str:
    """The host's name as a subject token."""
    text = socket.gethostname().partition(".")[0].lower()
    token = "".join(char if is_token(char) else "-" for char in text)[:32]
    return token or "node"
