"""What every host of a world shares, and the core of a life that begins in it.

Invariant: made once a world, and never changed. Neighbours: `world` makes it, `host` lives in it.
"""

from collections.abc import Callable
from random import Random

from msgspec import Struct

from protocol.envelope import Frames, Opener, Sealer
from protocol.node import Node, NodeSettings
from protocol.replica import Me
from protocol.subjects import Subjects
from simulations.agents import AgentModel
from simulations.broker import Broker
from simulations.chance import Chance
from simulations.crowds import Places
from simulations.placed import Placed
from simulations.seen import Seen
from simulations.signing import Keys
from simulations.store import Store
from simulations.timeline import Timeline
from simulations.trace import Trace


class Surroundings(Struct, frozen=True):
    """What every host shares."""

    timeline: Timeline
    chance: Chance
    broker: Broker
    store: Store
    trace: Trace
    keys: Keys
    frames: Frames
    mesh: str
    settings: NodeSettings
    agents: AgentModel
    see: Callable[[Seen], None]
    placed: tuple[Placed, ...] = ()
    places: Places = Places({})

    def node(self, me: Me, *, sealer: Sealer, rng: Random) -> Node:
        """The core of one life; it has said nothing yet."""
        opener = Opener(me=me.id, subjects=Subjects(self.mesh), root_key=self.keys.root_key, frames=self.frames)
        return Node(me=me, mesh=self.mesh, settings=self.settings, sealer=sealer, opener=opener, rng=rng)
