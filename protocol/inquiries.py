"""Asking other nodes what only they know: how a home's tasks run, and what an operator wants of them.

Invariant: an inquiry is answered within `WITHIN_S`, if only with the news that there is no answer. A node that
says that it is asked too often is left alone for `REST_S`: orders for it are refused here.
Neighbours: `ledger` and `duty` answer.
"""

from msgspec import Struct, structs

from protocol import limits
from protocol.awards import refused
from protocol.effects import Effect, Reply, Send
from protocol.inputs import Inquiry, Operate
from protocol.primitives import Instant, Mono, NodeId
from protocol.timers import Timers
from protocol.wire.ops import AnyOrder, AnyReport, Refused
from protocol.wire.task import Account, Inquire, Status

WITHIN_S = 0.5  # a person is waiting, and the record is there to be shown without it
REST_S = 1.0  # for a node that refused an order; after that it takes limits.ORDERS_PER_S_MAX of them


class _Open(Struct):
    request: int
    node: NodeId
    order: str = ""  # what an operator asks, in the words of the wire


class Inquiries:
    """Inquiries on their way."""

    def __init__(self) -> None:
        self._open: dict[int, _Open] = {}
        self._timers: Timers[int] = Timers()
        self._rests: dict[NodeId, Mono] = {}  # until when
        self._number = 0

    def make(self, order: Inquiry, life: int | None, now: Instant) -> list[Effect]:
        """Ask the home, if it is there."""
        body = Inquire(self._number + 1, order.tasks[: limits.INQUIRED_MAX])
        return self._ask(_Open(order.request, order.home), life, body, now)

    def operate(self, order: Operate, life: int | None, now: Instant) -> list[Effect]:
        """Ask the node what the operator asks, if it is there."""
        one = _Open(order.request, order.node, type(order.body).__name__.lower())
        if now.mono_ns < self._rests.get(order.node, now.mono_ns):
            return [_asked_too_often(one)]
        body = structs.replace(order.body, request=self._number + 1)
        return self._ask(one, life, body, now)

    def _ask(self, one: _Open, life: int | None, body: Inquire | AnyOrder, now: Instant) -> list[Effect]:
        if life is None:
            return [refused(one.request, "timed_out", what=one.node, seconds="0")]
        number = self._number = body.request
        self._open[number] = one
        self._timers.set(number, now.after(WITHIN_S))
        return [Send(to=one.node, life=life, body=body, probe=number)]

    def on_account(self, sender: NodeId, body: Account) -> list[Effect]:
        """The home's answer."""
        return self._answered(sender, body, body.tasks)

    def on_report(self, sender: NodeId, body: AnyReport, now: Instant) -> list[Effect]:
        """How a node stands that was asked, what its agents take, or that it was asked too often."""
        if not isinstance(body, Refused):
            return self._answered(sender, body, body)
        one = self._ended(sender, body)
        if one is None:
            return []
        self._rests = {node: until for node, until in self._rests.items() if now.mono_ns < until}
        self._rests[sender] = now.after(REST_S)
        return [_asked_too_often(one)]

    def _answered(self, sender: NodeId, body: Account | AnyReport, value: object) -> list[Effect]:
        one = self._ended(sender, body)
        return [] if one is None else [Reply(one.request, value=value)]

    def _ended(self, sender: NodeId, body: Account | AnyReport) -> _Open | None:
        """What this answers; another's word, an answer to something else, or one that comes too late ends nothing."""
        one = self._open.get(body.request)
        if one is None or one.node != sender or isinstance(body, Account) is bool(one.order):
            return None
        self._timers.cancel(body.request)
        return self._open.pop(body.request)

    def on_absent(self, number: int, now: Instant) -> list[Effect]:
        """The home is not there."""
        del now  # as the others are told
        return self._unanswered(number) if number in self._open else []

    def on_tick(self, now: Instant) -> list[Effect]:
        """Inquiries that were not answered in time."""
        return [effect for number in self._timers.due(now.mono_ns) for effect in self._unanswered(number)]

    @staticmethod
    def account(request: int, lines: tuple[Status, ...]) -> Account:
        """What a home answers, within one frame: without progress when that is too much of it."""
        lines = lines[: limits.INQUIRED_MAX]
        if sum(len(line.progress) for line in lines) > limits.ANSWER_PROGRESS_BYTES_MAX:
            lines = tuple(structs.replace(line, progress=b"") for line in lines)
        return Account(request, lines)

    def next_deadline(self) -> Mono | None:
        """When the first open inquiry ends."""
        return self._timers.next()

    def _unanswered(self, number: int) -> list[Effect]:
        self._timers.cancel(number)
        waiting = self._open.pop(number)
        return [refused(waiting.request, "timed_out", what=waiting.node, seconds=f"{WITHIN_S:g}")]


def _asked_too_often(one: _Open) -> Reply:
    per_s, seconds = limits.ORDERS_PER_S_MAX, f"{REST_S:g}"
    return refused(one.request, "too_often", what=one.node, order=one.order, per_s=per_s, seconds=seconds)
