"""What must always hold of any node: it raises nothing, lies never, floods nobody, comes to rest.

Invariant: judged from what a node did, whatever it was about. Neighbour: `checks` lists these.
"""

from typing import ClassVar

from protocol.events import FrameRefused, PeerMisbehaved
from protocol.limits import PASSED_OVER_MAX
from protocol.primitives import NodeId
from protocol.prober import ASKS
from protocol.wire.task import ENDED
from simulations.seen import Broke, Handled, Happened, Routine, Said, Seen, Sight, Span, Stored
from simulations.setting import Setting, Wanted
from simulations.timeline import ns

HONEST_REFUSALS = frozenset(
    {"not_admitted", "not_known", "replayed", "old_life", "expired", "from_future", "echo"}
)  # faults explain
HARMED_REFUSALS = frozenset(
    {"too_short", "too_large", "bad_magic", "bad_version", "bad_header", "bad_body", "bad_signature", "unknown_kind"}
    | {"wrong_family", "wrong_subject", "wrong_signer"}
)  # of what a link harmed
PEOPLE = ("attack", "stranger", "skew", "impostor")  # faults of people
INTRUDERS = ("attack", "stranger")  # who also speak as if they were nodes that are none
SAID_PER_S_MAX = 100  # awards, answers, results and up to eight words a waiting task, of the load that scenarios bring
LATE_SENDERS = ("hold", "block")  # faults after which others are given much at once
LATE_S = 2.0  # of a host that was not well a second of the clock before this one
SAID_PER_WRITE = 4  # of a task's record: three are asked, or it is reserved at four
SAID_PER_S_PER_NODE = 10  # a burst of digests, deltas and verifications when a view changes

QUIET_S = 20.0  # so long after the last fault and the last write nothing of them is left to say
IDLE_S = 5.0
IDLE_PER_S = 4.0  # of one node: its beacon, a comparison, its beat and their answers
IDLE_PER_PROBE = 2.0  # it is asked and it asks: each is a question or an answer of its own
IDLE_PER_ASK = 2.0  # of a task that has not ended: its owner is asked and answers
TORN = 2  # times what is idle, at most
EFFECTS_PER_TASK = 5  # three are asked, and that is told; or it is reserved at four
EFFECTS_MAX = PASSED_OVER_MAX * EFFECTS_PER_TASK  # of those looked at in one turn beyond the room there is
EFFECTS_PER_NODE = 8 + 6 * EFFECTS_PER_TASK  # and of as many tasks as it may have slots in a swarm


class NoException:
    """A16, A18: the core raises nothing and does not spin."""

    wants: ClassVar[Wanted] = (Broke,)

    def __init__(self, setting: Setting) -> None:
        del setting

    def on(self, seen: Seen) -> str | None:
        """A host says so itself."""
        return f"{seen.node} on {seen.kind}: {seen.error}" if isinstance(seen, Broke) else None


class Honest:
    """A8, A16: who does not lie is called no liar, whoever else lies; none of its frames is refused for what it is."""

    wants: ClassVar[Wanted] = (Happened, Sight, Span)

    def __init__(self, setting: Setting) -> None:
        self._setting = setting
        self._harmed: set[str] = set()  # who was sent what a link had harmed
        self._odd: set[str] = set()  # whose key somebody else has, who has another's, or is of another version
        self._odd_ids: set[NodeId] = set()
        self._is_intruded = False  # does anybody speak who is no node at all?

    def on(self, seen: Seen) -> str | None:
        """Refusals and accusations, and what explains a refusal."""
        if isinstance(seen, Sight) and seen.kind == "harmed":
            self._harmed.add(seen.node)
        elif isinstance(seen, Span) and seen.fault in PEOPLE:
            self._odd |= set(seen.nodes)
            self._is_intruded |= seen.fault in INTRUDERS
        if not isinstance(seen, Happened):
            return None
        event = seen.event
        if isinstance(event, FrameRefused | PeerMisbehaved) and self._is_odd(seen.node, event):
            return None
        if isinstance(event, FrameRefused) and event.code in HARMED_REFUSALS and seen.node in self._harmed:
            return None
        if isinstance(event, PeerMisbehaved):
            return f"{seen.node} says that {event.peer} misbehaved: {event.code} {event.detail}"
        if isinstance(event, FrameRefused) and event.code not in HONEST_REFUSALS:
            return f"{seen.node} refused a frame of {event.src} on {event.subject}: {event.code}"
        return None

    def _is_odd(self, node: str, event: FrameRefused | PeerMisbehaved) -> bool:
        hosts, src = self._setting.hosts, event.src if isinstance(event, FrameRefused) else event.peer
        self._odd_ids |= {hosts[name].id for name in self._odd}  # an impostor has its own again in the end
        is_nobody = self._is_intruded and all(host.id != src for host in hosts.values())
        return is_nobody or src in self._odd_ids or hosts[node].id in self._odd_ids


class Calm:
    """A18: no node floods the mesh: its messages within one second stay below a bound.

    A write that stands may be told to several, so many writes at once, as after a store that stood still, raise
    the bound. A host that reads or sends late says at once what is due since long: until a second later it is excused;
    so are all when the broker, or a host that could not send, stood still, and gives them at once the questions of
    that time.
    """

    wants: ClassVar[Wanted] = (Said, Stored, Span)

    def __init__(self, setting: Setting) -> None:
        self._setting = setting
        self._said: dict[str, tuple[int, int]] = {}  # node → the second, and its messages in it
        self._owed: dict[str, tuple[int, int]] = {}  # node → the second, and what its writes in it may be worth
        self._released_ns = -ns(LATE_S)

    def on(self, seen: Seen) -> str | None:
        """Every message that is handed to the broker, and what may be the reason of many."""
        second = int(self._setting.timeline.now_s)
        if isinstance(seen, Span) and seen.fault in LATE_SENDERS and not seen.is_on:
            self._released_ns = self._setting.timeline.now_ns
        if isinstance(seen, Stored):
            self._owed[seen.node] = second, self._now(self._owed, seen.node, second) + SAID_PER_WRITE
        if not isinstance(seen, Said):
            return None
        count = self._now(self._said, seen.node, second) + 1
        self._said[seen.node] = (second, count)
        most = SAID_PER_S_MAX + SAID_PER_S_PER_NODE * len(self._setting.hosts)
        if count <= most + self._now(self._owed, seen.node, second):
            return None
        last_ns = max(self._setting.hosts[seen.node].well_since_ns, self._released_ns)
        is_late = last_ns > self._setting.timeline.now_ns - ns(LATE_S)
        return None if is_late else f"{seen.node} said {count} things within a second, the last a {seen.kind}"

    def _now(self, counts: dict[str, tuple[int, int]], node: str, second: int) -> int:
        at, count = counts.get(node, (second, 0))
        return count if at == second else 0


TALKING = frozenset({"attack", "stranger"})  # faults


class Quiet:
    """E5: when nothing is done to the mesh and no task moves, its traffic falls to that of idle nodes.

    Beside that the owner of each task that is under way is asked how it goes.
    While two that do not reach each other both reach a third they go on doubting each other, who reaches both hears
    their accusations, and they refute them: such a mesh has no view to agree on, and may say so much more.
    """

    wants: ClassVar[Wanted] = (Said, Span, Stored)

    def __init__(self, setting: Setting) -> None:
        self._setting = setting
        self._moved_ns = 0  # when something last happened that has consequences
        self._since_ns = 0
        self._said = 0
        self._talking = 0  # people who lie, or play what they heard
        self._is_torn: bool | None = None  # not looked at since the last fault began or ended
        self._under_way: set[str] = set()  # tasks
        self._per_task = IDLE_PER_ASK / setting.settings.tasks.ask_interval_s * IDLE_S
        settings = setting.settings.membership
        again_s = settings.probe_timeout_s / ASKS  # who is too far away to answer by then is asked again
        tries = 1 / max(1 - setting.network.useless, 1 / ASKS) ** 2  # until a question and its answer are heard
        asks = min(ASKS, (1 + int(setting.network.round_trip_s / again_s)) * tries)
        per_s = IDLE_PER_S + IDLE_PER_PROBE * asks / settings.probe_interval_s
        self._most = int(per_s * IDLE_S * len(setting.hosts))

    def on(self, seen: Seen) -> str | None:
        """Faults and writes, and every message long enough after them."""
        now_ns = self._setting.timeline.now_ns
        if isinstance(seen, Span) or (isinstance(seen, Stored) and seen.record is not None and not seen.is_renewed):
            self._moved_ns = now_ns
            self._is_torn = None if isinstance(seen, Span) else self._is_torn
            if isinstance(seen, Stored) and seen.record is not None:
                self._under_way |= {seen.key}
                self._under_way -= {seen.key} if seen.record.state in ENDED else set()
            if isinstance(seen, Span) and seen.fault in TALKING:
                self._talking += 1 if seen.is_on else -1
        elif isinstance(seen, Said) and now_ns - self._moved_ns > ns(QUIET_S):
            if now_ns - self._since_ns > ns(IDLE_S):
                self._since_ns, self._said = now_ns, 0
            self._said += 1
            most = self._most + int(self._per_task * len(self._under_way))
            if self._said > most and self._is_disturbed():
                self._moved_ns, self._said = now_ns, 0
            if self._said > most and self._is_torn is None:
                self._is_torn = self._is_in_part_apart()
            if self._said > (TORN * most if self._is_torn else most):
                return f"{self._said} messages within {IDLE_S:g} s of an idle mesh, the last a {seen.kind}"
        return None

    def _is_disturbed(self) -> bool:
        """Does something go on that others must talk about, again and again?"""
        ails = any(host.is_up and host.is_ailing for host in self._setting.hosts.values())
        return ails or self._talking > 0 or self._setting.network.is_rough

    def _is_in_part_apart(self) -> bool:
        """Does somebody reach two who do not reach each other? Never when all are in parts, each a whole."""
        reaches = self._setting.network.reaches
        near = {one: {other for other in self._setting.hosts if reaches(one, other)} for one in self._setting.hosts}
        return any(near[other] != seen for seen in near.values() for other in sorted(seen))


class Bounded:
    """A18: what a node does about one input is bounded by the size of the mesh and of its work."""

    wants: ClassVar[Wanted] = (Handled, Routine)

    def __init__(self, setting: Setting) -> None:
        self._setting = setting

    def on(self, seen: Seen) -> str | None:
        """Every input handled."""
        if not isinstance(seen, Handled) or len(seen.effects) <= EFFECTS_MAX:
            return None
        most = EFFECTS_MAX + EFFECTS_PER_NODE * len(self._setting.hosts)
        if len(seen.effects) <= most:
            return None
        return f"{seen.node} wants {len(seen.effects)} things done about one {seen.kind}"
