"""The audit of one node: what happens becomes records, and what a record authorises waits until it is on disk.

Invariant: the only things that wait are those of `waits`: an award, a run, the answer to a submit, and what
takes an award back. They go out in their order; a run that goes on is stopped at once, and a call waits for nothing.
While the disk takes nothing, or too little, none of these is kept waiting: they are refused, calls too, and the node
takes no new work.
Neighbours: `perform` hands effects in; `journal` writes.
"""

from collections import deque
from collections.abc import Callable, Sequence
from typing import TypeGuard

from meshd.observe.journal import Journal
from meshd.observe.tally import Counts, published, recurs
from protocol.audit import Act
from protocol.audited import act_of
from protocol.effects import Effect, Reply, RunAgent, Send, StopAgent, Uttered
from protocol.errors import MeshError
from protocol.events import Event
from protocol.wire.task import ENDED, Award, TaskRecord, Withdraw


def waits(effect: Effect) -> bool:
    """True for an award, a run, the answer to a submit, and what takes one of these back."""
    match effect:
        case RunAgent():
            return effect.epoch > 0  # a call only leaves a record, an event none
        case Send():
            return isinstance(effect.body, Award | Withdraw)
        case Reply():
            # Who is told of an end learns nothing new to act on: what led to it was on record before the run.
            return isinstance(effect.value, TaskRecord) and effect.value.state not in ENDED
        case _:
            return False


def is_call(effect: Effect) -> TypeGuard[RunAgent]:
    """True for the run of a call."""
    return isinstance(effect, RunAgent) and effect.epoch == 0 and not effect.topic


class Audit:
    """A reader of events, and the gate before what they authorise. `on_failing` hears when the disk fails or mends."""

    def __init__(self, journal: Journal, *, on_failing: Callable[[bool], None] = lambda is_failing: None) -> None:
        self.journal = journal
        self._on_failing = on_failing
        self._held: deque[tuple[int, Sequence[Effect], Callable[[Effect], None], Callable[[Effect], None]]] = deque()
        self._is_failing = False
        self._spool_problem = ""
        self._tally = Counts(journal.add)
        journal.watch(self.look)

    @property
    def problem(self) -> str:
        """Why nothing can be recorded, or nothing."""
        return self._stuck or self._spool_problem

    @property
    def _stuck(self) -> str:
        """Why what waits for the disk is not kept waiting: it takes nothing, or so little that some are left out."""
        full = f"its disk is behind by {self.journal.waiting} records, and more find no room"
        return self.journal.problem or (full if self.journal.left_out else "")

    def hold(self, problem: str) -> None:
        """Take no new work for this reason, though what happens can still be recorded; none: go on."""
        self._spool_problem = problem
        self.look()

    def tell(self, event: Event) -> None:
        """Something happened here."""
        act = act_of(event)
        if act is None:
            return
        if kind := recurs(event):
            self._tally.add(act, kind=kind)
        else:
            self._tally.close(act.resource)  # what came before it is recorded before it
            self.journal.add(act)

    def close(self) -> None:
        """This life ends: what was only counted is recorded."""
        self._tally.close()

    def note(self, act: Act) -> None:
        """A decision that is no event: what the API refused, what an operator did."""
        self.journal.add(act)

    def check(self) -> None:
        """Raises MeshError("unaudited") while nothing can be recorded: no new work then."""
        if self.problem:
            raise MeshError("unaudited", problem=self.problem)

    def pass_on(
        self, effects: Sequence[Effect], *, do: Callable[[Effect], None], refuse: Callable[[Effect], None]
    ) -> None:
        """As `meshd.perform.Gate`: what waits does so until all that was told so far is on disk."""
        held: list[Effect] = []
        for effect in effects:
            if waits(effect) or (isinstance(effect, StopAgent) and self._is_held(effect, held)):
                held.append(effect)
            elif is_call(effect):
                self.note(_call(effect))
                (refuse if self.problem else do)(effect)
            else:
                if isinstance(effect, Reply) and isinstance(effect.value, Uttered):
                    self._tally.count(published(effect.value), kind=effect.value.agent)
                do(effect)
        if held:
            self._held.append((self.journal.added, held, do, refuse))
            self.journal.hurry()
            self.look()

    def _is_held(self, stop: StopAgent, held: list[Effect]) -> bool:
        """True while the run that is to be stopped waits itself; one that goes on is stopped whatever the disk does."""
        waiting = (effect for effects in (held, *(each[1] for each in self._held)) for effect in effects)
        return any(
            isinstance(each, RunAgent) and (each.task, each.epoch) == (stop.task, stop.epoch) for each in waiting
        )

    def look(self) -> None:
        """More is on disk, or the disk fails or mends."""
        if bool(self.problem) != self._is_failing:
            self._is_failing = not self._is_failing
            self._on_failing(self._is_failing)
        while self._held and (self._held[0][0] <= self.journal.written or self._stuck):
            added, effects, do, refuse = self._held.popleft()
            for effect in effects:
                (do if added <= self.journal.written else refuse)(effect)


def _call(order: RunAgent) -> Act:
    return Act(
        action="call.run",
        resource=f"agent/{order.agent}",
        decision="allow",
        who=order.by,
        iid=order.iid,
        gid=order.gid,
        more={"call": order.task, "capability": order.capability, "src": order.src},
    )
