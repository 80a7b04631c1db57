"""What every check is: one rule, told what can be seen, with a world to look at.

Invariant: a check remembers what it needs and costs a few steps a step; it changes nothing.
Neighbours: `checks` lists them all, `world` tells them.
"""

from collections.abc import Mapping
from typing import ClassVar, Protocol, TypeAlias

from protocol.node import NodeSettings
from simulations.host import Host
from simulations.network import Network
from simulations.seen import Seen
from simulations.timeline import Timeline

Wanted: TypeAlias = tuple[type, ...]


class Setting(Protocol):
    """What checks may look at besides what they are told: who is well, who reaches whom, what nodes were told."""

    settings: NodeSettings
    timeline: Timeline
    network: Network
    hosts: Mapping[str, Host]
    line: int  # of the trace, which tells what is seen now; 0 when none does


class Check(Protocol):
    """One rule."""

    wants: ClassVar[Wanted]  # what it is told of

    def on(self, seen: Seen) -> str | None:
        """Why the rule is broken by now, or None."""
        ...
