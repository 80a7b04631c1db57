"""What the API answers and takes about looking after the agents of one node; `schemas` has the agents themselves.

Invariant: as in `schemas`: field names are promised to scripts. Neighbours: `routes`, and the service behind it.
"""

from typing import Annotated

from msgspec import Meta, Struct


class HearingView(Struct, frozen=True):
    """How an agent keeps up with the events that it listens to, since its node started."""

    waiting: int
    handled: int
    failed: int
    dropped: int


class RunsView(Struct, frozen=True):
    """How an agent has done since its node started; `restarts`: how often it went down."""

    done: int = 0
    failed: int = 0
    latency_ms: float = 0.0
    restarts: int = 0
    last_error: str = ""
    last_error_ms: int = 0


class Leaving(Struct, frozen=True):
    """An agent was removed: it takes nothing new, and is gone once the work in hand has ended or was given back."""

    name: str
    running: int


class LogLine(Struct, frozen=True):
    """One line of an agent's log; `seq` rises by one with each."""

    seq: int
    text: str


class AgentLog(Struct, frozen=True):
    """The last lines an agent wrote to stderr, and what the daemon noted about it, oldest first."""

    name: str
    lines: tuple[LogLine, ...]


class NewAgent(Struct, frozen=True, forbid_unknown_fields=True):
    """An agent to host: its manifest as TOML, and where it came from, to be named in errors.

    `replace`: it may take the place of an agent of its name.
    """

    manifest: Annotated[str, Meta(min_length=1, max_length=65_536)]
    file: Annotated[str, Meta(max_length=4_096)] = ""
    replace: bool = False


class LinesQuery(Struct, frozen=True, forbid_unknown_fields=True):
    """`lines`: so many of the last ones; `after`: only those after this `seq`."""

    lines: Annotated[int, Meta(ge=0, le=500)] = 500
    after: Annotated[int, Meta(ge=0)] = 0
