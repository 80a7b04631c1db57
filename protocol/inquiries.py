"""Asking other nodes what only they know: how a home's tasks run, and what an operator wants of them.

Invariant: an inquiry is answered within `WITHIN_S`, if only with the news that there is no answer.
Neighbours: `ledger` and `duty` answer.
"""

from msgspec import Struct, structs

from protocol import limits
from protocol.awards import refused
from protocol.effects import Effect, Reply, Send
from protocol.inputs import Inquiry, Operate
from protocol.primitives import Instant, Mono, NodeId
from protocol.timers import Timers
from protocol.wire.ops import AnyOrder, AnyReport
from protocol.wire.task import Account, Inquire, Status

WITHIN_S = 0.5  # a person is waiting, and the record is there to be shown without it


class _Open(Struct):
    request: int
    node: NodeId


class Inquiries:
    """Inquiries on their way."""

    def __init__(self) -> None:
        self._open: dict[int, _Open] = {}
        self._timers: Timers[int] = Timers()
        self._number = 0

    def make(self, order: Inquiry, life: int | None, now: Instant) -> list[Effect]:
        """Ask the home, if it is there."""
        body = Inquire(self._number + 1, order.tasks[: limits.INQUIRED_MAX])
        return self._ask(_Open(order.request, order.home), life, body, now)

    def operate(self, order: Operate, life: int | None, now: Instant) -> list[Effect]:
        """Ask the node what the operator asks, if it is there."""
        body = structs.replace(order.body, request=self._number + 1)
        return self._ask(_Open(order.request, order.node), life, body, now)

    def _ask(self, one: _Open, life: int | None, body: Inquire | AnyOrder, now: Instant) -> list[Effect]:
        if life is None:
            return [refused(one.request, "timed_out", what=one.node, seconds="0")]
        number = self._number = body.request
        self._open[number] = one
        self._timers.set(number, now.after(WITHIN_S))
        return [Send(to=one.node, life=life, body=body, probe=number)]

    def on_account(self, sender: NodeId, body: Account) -> list[Effect]:
        """The home's answer."""
        return self._answered(sender, body.request, body.tasks)

    def on_report(self, sender: NodeId, body: AnyReport) -> list[Effect]:
        """How a node stands that was asked, or what its agents take."""
        return self._answered(sender, body.request, body)

    def _answered(self, sender: NodeId, number: int, value: object) -> list[Effect]:
        waiting = self._open.get(number)
        if waiting is None or waiting.node != sender:
            return []
        self._timers.cancel(number)
        return [Reply(self._open.pop(number).request, value=value)]

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
