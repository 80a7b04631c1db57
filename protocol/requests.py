"""What clients and operators ask of this node: done here, asked of the node that knows, or refused at once.

Invariant: a node that drains or has lost the time takes no new work from outside. Neighbours: `ledger` takes
tasks, `duty` obeys operators, `inquiries` waits for other nodes' answers; `node` carries out.
"""

from protocol.duty import Duty
from protocol.effects import Effect, Reply
from protocol.inputs import Inquiry, Operate, Retry, Submit
from protocol.inquiries import Inquiries
from protocol.ledger import Ledger
from protocol.places import Places
from protocol.primitives import Instant
from protocol.replica import Me
from protocol.timekeeping import Timekeeping


class Requests:
    """Where they are taken."""

    def __init__(
        self, *, me: Me, duty: Duty, time: Timekeeping, ledger: Ledger, places: Places, homes: Inquiries
    ) -> None:
        self._me = me
        self._duty = duty
        self._time = time
        self._ledger = ledger
        self._places = places
        self._homes = homes

    def order(self, order: Submit | Retry, now: Instant) -> list[Effect]:
        """A task to take, or to open again. What tasks in hand submit belongs to finishing them."""
        if self._duty.is_draining and not order.is_for_task:
            return [Reply(order.request, code="draining", fields={"node": self._me.name})]
        if not self._time.is_right and not order.is_for_task:
            return [Reply(order.request, code="clock_off", fields=self._time.problem())]
        return self._ledger.submit(order, now) if isinstance(order, Submit) else self._ledger.retry(order)

    def inquire(self, order: Inquiry, now: Instant) -> list[Effect]:
        """How tasks run: known here, or asked of their home."""
        status = self._ledger.status(order.tasks)
        if order.home == self._me.id or status:
            return [Reply(order.request, value=status)]
        return self._homes.make(order, self._places.living(order.home), now)

    def operate(self, order: Operate, now: Instant) -> list[Effect]:
        """What an operator wants of this node, or of another."""
        if order.node == self._me.id:
            effects, report = self._duty.obey(self._me.id, order.body, now)
            return [*effects, Reply(order.request, value=report)]
        return self._homes.operate(order, self._places.life_of(order.node), now)
