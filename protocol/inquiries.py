"""Asking a home how its tasks run: what the record does not say.

Invariant: an inquiry is answered within `WITHIN_S`, if only with the news that there is no answer.
Neighbours: `ledger` answers.
"""

from msgspec import Struct, structs

from protocol import limits
from protocol.awards import refused
from protocol.effects import Effect, Reply, Send
from protocol.inputs import Inquiry
from protocol.primitives import Instant, Mono, NodeId
from protocol.timers import Timers
from protocol.wire.task import Account, Inquire, Status

WITHIN_S = 0.5  # a person is waiting, and the record is there to be shown without it


class _Open(Struct):
    request: int
    home: NodeId


class Inquiries:
    """Inquiries on their way."""

    def __init__(self) -> None:
        self._open: dict[int, _Open] = {}
        self._timers: Timers[int] = Timers()
        self._number = 0

    def make(self, order: Inquiry, life: int | None, now: Instant) -> list[Effect]:
        """Ask the home, if it is there."""
        if life is None:
            return [refused(order.request, "timed_out", what=order.home, seconds="0")]
        self._number += 1
        self._open[self._number] = _Open(order.request, order.home)
        self._timers.set(self._number, now.after(WITHIN_S))
        body = Inquire(self._number, order.tasks[: limits.INQUIRED_MAX])
        return [Send(to=order.home, life=life, body=body, probe=self._number)]

    def on_account(self, sender: NodeId, body: Account) -> list[Effect]:
        """The home's answer."""
        waiting = self._open.get(body.request)
        if waiting is None or waiting.home != sender:
            return []
        self._timers.cancel(body.request)
        return [Reply(self._open.pop(body.request).request, value=body.tasks)]

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
        return [refused(waiting.request, "timed_out", what=waiting.home, seconds=f"{WITHIN_S:g}")]
