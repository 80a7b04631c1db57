"""Request and reply to an agent somewhere: no record, no retry of what may have run; fails fast.

Invariant: a call moves on to another node only when nobody received it or the receiver refused.
Neighbours: `slots` is shared with `holder`, so that calls and tasks do not overcommit an agent.
"""

from msgspec import Struct

from protocol import ids, limits
from protocol.awards import refused
from protocol.effects import Effect, Reply, RunAgent, Send, StopAgent
from protocol.inputs import AgentFailed, AgentFinished, MakeCall
from protocol.primitives import Instant, Mono, NodeId, Rng
from protocol.records import cycle_of
from protocol.routing import Candidate
from protocol.slots import Slots
from protocol.timers import Timers
from protocol.view import View
from protocol.wire.call import Call, CallReply

PREFIX = "call-"  # ids of calls as agents see them; task ids are base32 and never hold a dash
ELSEWHERE = ("no_free_agent", "agent_down", "no_agent", "draining")  # the receiver did not run it
STOPPING = "stopping"  # the receiver began it, and will not end it
TRIES_MAX = 4  # nodes that one call may be offered to


class _Asked(Struct):
    """A call of ours on its way. Mutable."""

    order: MakeCall
    candidates: list[Candidate]
    ends: Mono
    iid: str
    gid: str
    to: NodeId = ""
    agent: str = ""
    tries: int = 0
    down: tuple[NodeId, str, str] | None = None  # an agent that was not up: where, its name, why
    is_busy: bool = False  # one had no free slot


class Answered(Struct, frozen=True):
    """The value of the reply to a call: the result (msgpack), and who gave it."""

    result: bytes
    node: NodeId
    agent: str
    iid: str
    gid: str


class _Served(Struct):
    """A call that an agent of ours runs."""

    asker: NodeId
    life: int
    request: int


class Calls:
    """Calls made from here, and calls served here."""

    def __init__(self, *, view: View, slots: Slots, rng: Rng) -> None:
        self._view = view
        self._slots = slots
        self._rng = rng
        self._asked: dict[int, _Asked] = {}
        self._served: dict[str, _Served] = {}
        self._timers: Timers[int] = Timers()
        self._number = 0
        self._is_open = True

    # --- asking

    def make(self, order: MakeCall, now: Instant) -> list[Effect]:
        """Call the best agent for it; the reply comes within `timeout_s`."""
        if not ids.is_capability(order.capability):
            return [refused(order.request, "bad_capability", capability=order.capability)]
        if len(order.input) > limits.INPUT_BYTES_MAX:
            sizes = {"bytes": len(order.input), "limit": limits.INPUT_BYTES_MAX}
            return [refused(order.request, "too_large", what="the input", **sizes)]
        if len(self._asked) >= limits.CALLS_OPEN_MAX:
            return [refused(order.request, "overloaded", what="the list of open calls", limit=limits.CALLS_OPEN_MAX)]
        if order.hops > limits.HOPS_MAX:
            what = f"this call would be number {order.hops} in a row; the limit is {limits.HOPS_MAX}"
            return [refused(order.request, "bad_input", what=what)]
        if path := cycle_of(order.lineage, capability=order.capability, input=order.input):
            return [refused(order.request, "cycle", path=path)]
        candidates = self._view.candidates(order.capability, now)
        candidates = [each for each in candidates if order.agent in ("", each.agent)]
        if not candidates and order.agent:
            return [refused(order.request, "unknown_agent", agent=order.agent)]
        if not candidates:
            return [self._nobody(order, now)]
        candidates.sort(key=lambda each: each.free <= 0)  # stable: the policy's order within
        self._number += 1
        iid, gid = order.iid or ids.minted(self._rng), order.gid or ids.minted(self._rng)
        self._asked[self._number] = _Asked(order, candidates, now.after(order.timeout_s), iid, gid)
        self._timers.set(self._number, now.after(order.timeout_s))
        return self._try_next(self._number, now)

    def _nobody(self, order: MakeCall, now: Instant) -> Reply:
        holders = ", ".join(self._view.draining(order.capability, now))
        if holders:
            return refused(order.request, "only_draining", holders=holders, capability=order.capability)
        return refused(order.request, "no_agent", capability=order.capability)

    def _try_next(self, number: int, now: Instant) -> list[Effect]:
        asked = self._asked[number]
        while asked.candidates and asked.tries < TRIES_MAX:
            candidate = asked.candidates.pop(0)
            life = self._view.life_of(candidate.node)
            if life is None:
                continue
            asked.to, asked.agent = candidate.node, candidate.agent
            asked.tries += 1
            order = asked.order
            left_ms = max(1, (asked.ends - now.mono_ns) // 1_000_000)
            body = Call(
                number,
                order.capability,
                order.input,
                left_ms,
                order.hops,
                order.ancestors,
                candidate.agent,
                order.lineage,
                order.by,
            )
            return [Send(to=candidate.node, life=life, body=body, probe=number, iid=asked.iid, gid=asked.gid)]
        request = asked.order.request
        if asked.down is not None and not asked.is_busy:
            node, agent, problem = asked.down
            return self._end(number, refused(request, "agent_down", agent=agent, node=ids.short(node), problem=problem))
        return self._end(number, refused(request, "no_free_agent", capability=asked.order.capability))

    def _end(self, number: int, reply: Reply) -> list[Effect]:
        self._timers.cancel(number)
        del self._asked[number]
        return [reply]

    def on_reply(self, sender: NodeId, body: CallReply, now: Instant) -> list[Effect]:
        """An answer, or the word that it was not run there."""
        asked = self._asked.get(body.request)
        if asked is None or asked.to != sender:
            return []
        asked.is_busy = asked.is_busy or body.code == "no_free_agent"
        if body.code == "agent_down":
            asked.down = sender, asked.agent, body.message
        if body.code in ELSEWHERE:
            return self._try_next(body.request, now)
        request = asked.order.request
        if body.code == STOPPING:
            node, capability = ids.short(sender), asked.order.capability
            return self._end(body.request, refused(request, STOPPING, node=node, capability=capability))
        if body.code == "bad_input":
            return self._end(body.request, refused(request, "bad_input", what=body.message))
        if body.code:
            by = {"agent": asked.agent, "node": ids.short(sender)}
            return self._end(body.request, refused(request, "agent_failed", message=body.message, **by))
        answered = Answered(body.result, sender, asked.agent, asked.iid, asked.gid)
        return self._end(body.request, Reply(request, value=answered))

    def on_absent(self, number: int, now: Instant) -> list[Effect]:
        """Nobody received the call."""
        return self._try_next(number, now) if number in self._asked else []

    def on_tick(self, now: Instant) -> list[Effect]:
        """Calls that ran out of time."""
        effects: list[Effect] = []
        for number in self._timers.due(now.mono_ns):
            order = self._asked[number].order
            seconds = f"{order.timeout_s:g}"
            effects += self._end(number, refused(order.request, "timed_out", what=order.capability, seconds=seconds))
        return effects

    def next_deadline(self) -> Mono | None:
        """When the first open call runs out of time."""
        return self._timers.next()

    # --- serving

    def on_call(self, sender: NodeId, life: int, body: Call, *, iid: str, gid: str) -> list[Effect]:
        """Run it now or refuse."""
        if not self._is_open:
            return [_no(sender, life, body, "draining", "this node is draining")]
        if not self._slots.has(body.capability, body.agent):
            return [_no(sender, life, body, "no_agent", f"no agent here has {body.capability}")]
        key = f"{PREFIX}{ids.short(sender)}-{life}-{body.request}"
        if key in self._served:
            return []
        agent = self._slots.take(key, body.capability, body.agent)
        if agent is None and (down := self._slots.down(body.capability, body.agent)):
            return [_no(sender, life, body, "agent_down", down.problem or "starting")]
        if agent is None:
            return [_no(sender, life, body, "no_free_agent", "every agent here is busy")]
        self._served[key] = _Served(sender, life, body.request)
        return [
            RunAgent(
                agent=agent,
                task=key,
                epoch=0,
                attempt=1,
                capability=body.capability,
                input=body.input,
                deadline_s=body.timeout_ms / 1_000,
                iid=iid,
                gid=gid,
                hops=body.hops,
                ancestors=body.ancestors,
                lineage=body.lineage,
                by=body.by,
                src=sender,
            )
        ]

    def on_finished(self, report: AgentFinished) -> list[Effect]:
        """The agent's result goes back to who asked."""
        served = self._served.pop(report.task, None)
        if served is None:
            return []
        self._slots.give_back(report.task)
        return [Send(to=served.asker, life=served.life, body=CallReply(served.request, result=report.result))]

    def on_failed(self, report: AgentFailed) -> list[Effect]:
        """So does its failure."""
        served = self._served.pop(report.task, None)
        if served is None:
            return []
        self._slots.give_back(report.task)
        message = report.message[: limits.TEXT_CHARS_MAX]
        reply = CallReply(served.request, code=report.code, message=message)
        return [Send(to=served.asker, life=served.life, body=reply)]

    def close(self) -> None:
        """Serve no more new calls."""
        self._is_open = False

    def reopen(self) -> None:
        """Serve calls again."""
        self._is_open = True

    def leave(self) -> list[Effect]:
        """End what is still served: who asked is told now, and not left to wait for a node that is gone."""
        effects: list[Effect] = []
        for key, served in self._served.items():
            self._slots.wind_down(key, 0)
            reply = CallReply(served.request, code=STOPPING, message="the node is stopping")
            effects += [StopAgent(key, 0), Send(to=served.asker, life=served.life, body=reply)]
        self._served.clear()
        return effects


def _no(sender: NodeId, life: int, body: Call, code: str, message: str) -> Send:
    return Send(to=sender, life=life, body=CallReply(body.request, code=code, message=message))
