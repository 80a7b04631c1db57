"""What happens again and again is one record a minute, with how often it was: an agent that crashes, a topic's events.

Invariant: everything is counted in some record. The first of its kind is recorded at once, unless it is only counted;
what follows within `SPAN_S` at the end of that, or sooner when something else is told of the same thing.
Neighbours: `audit` asks before it records.
"""

import asyncio
from collections.abc import Callable

from msgspec import Struct, structs

from protocol import limits
from protocol.audit import Act
from protocol.effects import Uttered
from protocol.events import AgentChanged, Event

SPAN_S = 60.0
AGAIN = frozenset({"starting", "ready", "restarting"})  # the states that an agent which crashes goes through


class _Count(Struct):
    """Of one kind; `last` is the act that is recorded for all of them. Mutable."""

    last: Act
    times: int
    timer: asyncio.TimerHandle


class Counts:
    """Counts within a span; `record` takes what is to be recorded now."""

    def __init__(self, record: Callable[[Act], None]) -> None:
        self._record = record
        self._counts: dict[tuple[str, str], _Count] = {}
        self._kinds: dict[str, dict[str, None]] = {}  # of each resource, in order: nearly every event asks for one

    def add(self, act: Act, *, kind: str) -> None:
        """Record it, or count it when the same kind was recorded of this resource within the span."""
        count = self._counts.get((act.resource, kind))
        if count is None:
            self._record(act)
            self._open(act, kind, times=0)
        else:
            count.last, count.times = act, count.times + 1

    def count(self, act: Act, *, kind: str) -> None:
        """Only count it: it is recorded at the end of the span."""
        count = self._counts.get((act.resource, kind))
        if count is None:
            self._open(act, kind, times=1)
        else:
            count.last, count.times = act, count.times + 1

    def close(self, resource: str = "") -> None:
        """Record what was counted of this resource, or of all, now."""
        if not resource:
            for key in tuple(self._counts):
                self._end(key)
        for kind in tuple(self._kinds.get(resource, ())):
            self._end((resource, kind))

    def _open(self, act: Act, kind: str, *, times: int) -> None:
        if len(self._counts) >= limits.AUDIT_TALLIES_MAX:
            self._end(next(iter(self._counts)))
        key = (act.resource, kind)
        timer = asyncio.get_running_loop().call_later(SPAN_S, self._end, key)
        self._counts[key] = _Count(act, times, timer)
        self._kinds.setdefault(act.resource, {})[kind] = None

    def _end(self, key: tuple[str, str]) -> None:
        count = self._counts.pop(key)
        resource, kind = key
        del self._kinds[resource][kind]
        if not self._kinds[resource]:
            del self._kinds[resource]
        count.timer.cancel()
        if count.times:
            self._record(structs.replace(count.last, more={**count.last.more, "times": count.times}))


def recurs(event: Event) -> str:
    """The kind under which an event that comes again and again is counted; nothing for all others."""
    return event.state if isinstance(event, AgentChanged) and event.state in AGAIN else ""


def published(said: Uttered) -> Act:
    """What is counted of an event that an agent published: the last of a minute stands for all."""
    return Act("topic.publish", f"topic/{said.topic}", "allow", f"agent/{said.agent}", iid=said.iid, gid=said.gid)
