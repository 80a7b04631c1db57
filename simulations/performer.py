"""What one life of a host decides, carried out, as the daemon's performer does: in order, each with its cause.

Invariant: while it is held nothing leaves by the wire, and all of that later, in order; what comes back goes to the
life that asked. Decides nothing. Neighbours: `host` is whose it is; `broker`, `store` and `agents` do it, `lanes`
are the writes under way.
"""

from collections.abc import Callable, Sequence
from typing import TypeAlias, assert_never

from protocol.effects import (
    Announce,
    Carry,
    Effect,
    Emit,
    List,
    Listen,
    Read,
    Reply,
    RunAgent,
    Send,
    Spread,
    StopAgent,
    Tune,
    Write,
)
from protocol.inputs import Input
from protocol.primitives import WallMs
from simulations.agents import Agents
from simulations.lanes import Lanes
from simulations.seen import Answered, Happened
from simulations.surroundings import Surroundings

_BY_WIRE = (Send, Spread, Carry, Tune, Write, Read, List)

Tell: TypeAlias = Callable[[Input, WallMs], None]


class Performer:
    """Does what each life of one host asks for. `tell` has what comes of it; `is_living`: does that life go on?"""

    def __init__(self, host: str, around: Surroundings, *, is_living: Callable[[WallMs], bool], tell: Tell) -> None:
        self._host = host
        self._around = around
        self._is_living = is_living
        self._tell = tell
        self._life: WallMs = 0
        self._held: list[tuple[Effect, int]] | None = None  # what is not sent, each with its cause
        self.agents, self._lanes = self._new_agents(), self._new_lanes()

    @property
    def is_held(self) -> bool:
        """Does what goes by the wire wait?"""
        return self._held is not None

    def begin(self, life: WallMs) -> None:
        """Another life: its agents are at nothing, and no write of it is under way."""
        self._life = life
        self.agents, self._lanes = self._new_agents(), self._new_lanes()

    def end(self) -> None:
        """The life ends: its agents do, too, and what was held is never sent."""
        self.agents.lose_all()
        self._held = None

    def hold(self) -> None:
        """From now on what goes by the wire waits."""
        self._held = [] if self._held is None else self._held

    def release(self, *, unheard: tuple[type, ...] = ()) -> None:
        """All that waited leaves now, but for what is `unheard`."""
        held, self._held = self._held or [], None
        for effect, self._around.timeline.cause in held:
            self.perform([] if isinstance(effect, unheard) else [effect])

    def perform(self, effects: Sequence[Effect]) -> None:
        """What a node asks for at once."""
        around, host, life, cause = self._around, self._host, self._life, self._around.timeline.cause
        for effect in effects:
            around.timeline.cause = cause  # each effect has the input for its cause, not the effect before it
            if self._held is not None and isinstance(effect, _BY_WIRE):
                self._held.append((effect, cause))
                continue
            match effect:
                case Send():
                    around.broker.send(host, effect)
                case Spread():
                    around.broker.spread(host, effect)
                case Carry():
                    around.broker.carry(host, effect, around.places.within(around.places.region_of(host)))
                case Tune():
                    around.broker.tune(host, effect.on)
                case Announce() | Listen():
                    pass  # its agents publish nothing
                case Write():
                    self._lanes.put(effect)
                case Read():
                    around.store.read(host, effect.key, self._answer(life), self._lives(life))
                case List():
                    around.store.list(host, effect.partitions, self._answer(life), self._lives(life))
                case RunAgent():
                    self._note("run", effect)
                    self.agents.run(effect)
                case StopAgent():
                    self._note("stop", effect)
                    self.agents.stop(effect)
                case Reply():
                    around.see(Answered(host, effect))
                case Emit():
                    around.see(Happened(host, life, effect.event))
                case _:
                    assert_never(effect)

    def _note(self, deed: str, order: RunAgent | StopAgent) -> None:
        around = self._around
        around.trace.note(around.timeline.now_ns, self._host, deed, f"{order.task} epoch {order.epoch}")

    def _lives(self, life: WallMs) -> Callable[[], bool]:
        return lambda: self._is_living(life)

    def _answer(self, life: WallMs) -> Callable[[Input], None]:
        return lambda outcome: self._tell(outcome, life)

    def _new_lanes(self) -> Lanes:
        store, host, is_wanted = self._around.store, self._host, self._lives(self._life)
        return Lanes(
            begin=lambda write, answer: store.write(host, write, answer, is_wanted), tell=self._answer(self._life)
        )

    def _new_agents(self) -> Agents:
        around, report = self._around, self._answer(self._life)
        return Agents(
            host=self._host, timeline=around.timeline, chance=around.chance, model=around.agents, report=report
        )
