"""Who died again and again: such a node is shown as back, and given work where others can do it, after a quiet while.

    back from its third death in ten minutes ─▶ damped ─30 s without a doubt─▶ alive, and told so
                                                   ├─the same life dead again─▶ told as damped, not as one more death
                                                   └─a new life suspect, and cleared─▶ both told, and still damped

Invariant: it changes what is told and who gets new work, nothing else: probes, verdicts, the view and work in hand
know nothing of it. What it counts is what this node saw. Neighbours: `node` asks it before it tells what befell a
peer, `places` before it names who may get work.
"""

from collections.abc import Collection

from msgspec import Struct, structs

from protocol import limits
from protocol.effects import Effect, Emit
from protocol.events import Event, PeerAlive, PeerDamped, PeerDead, PeerLeft, PeerSuspect
from protocol.primitives import NS_PER_S, Instant, Mono, NodeId, WallMs
from protocol.timers import Timers

DEATHS = 3  # fewer may be two restarts in a row, or a cable that was plugged in twice
WINDOW_S = 600.0


class Damped(Struct, frozen=True):
    """It is back from `deaths` deaths; used as before in `left_s`, or None: it is suspect, and that begins later."""

    deaths: int
    left_s: float | None


class Flaps:
    """The deaths of each node lately, and those who are back and must be quiet first."""

    def __init__(self, *, quiet_s: float) -> None:
        self._quiet_s = quiet_s
        self._deaths: dict[NodeId, tuple[tuple[Mono, WallMs], ...]] = {}  # when, in which life; the least recent first
        self._held: dict[NodeId, tuple[PeerAlive, Mono]] = {}  # how each came back, not yet told, and when
        self._timers: Timers[NodeId] = Timers()

    def told(self, event: Event, now: Instant) -> list[Event]:
        """What to tell of what membership says: mostly just that."""
        match event:
            case PeerAlive():
                return self._on_alive(event, now)
            case PeerSuspect() if event.peer in self._held:
                self._timers.cancel(event.peer)
                return [] if self._has_died(event.peer, event.life, now) else [event]
            case PeerDead():
                return self._on_dead(event, now)
            case PeerLeft():
                self._release(event.peer)
                return [event]
            case _:
                return [event]

    def _on_alive(self, event: PeerAlive, now: Instant) -> list[Event]:
        node, former = event.peer, self._held.get(event.peer)
        if former is not None:  # it refuted a doubt, or began anew: the quiet begins again
            came, since = former
            if event.was == "suspect" and self._has_died(node, came.life, now):
                event = structs.replace(event, was="alive")  # its doubt was not told, nor is the end of that
            is_told = event.life != came.life or event.was == "suspect"
            restarted = came.restarted or event.life != came.life
            self._held[node] = structs.replace(event, was=came.was, after_s=came.after_s, restarted=restarted), since
        elif self._quiet_s and event.was in ("dead", "left") and len(self._recent(node, now)) >= DEATHS:
            is_told = True
            self._held[node] = event, now.mono_ns
        else:
            return [event]
        self._timers.set(node, now.after(self._quiet_s))
        return [self._damped(event, "alive", now)] if is_told else []

    def _on_dead(self, event: PeerDead, now: Instant) -> list[Event]:
        is_again = self._has_died(event.peer, event.life, now)
        died = (*self._recent(event.peer, now), (now.mono_ns, event.life))
        self._deaths.pop(event.peer, None)
        self._deaths[event.peer] = died
        if len(self._deaths) > limits.PEERS_MAX:
            del self._deaths[next(iter(self._deaths))]
        return [self._damped(event, "dead", now)] if self._release(event.peer) and is_again else [event]

    def _has_died(self, node: NodeId, life: int, now: Instant) -> bool:
        """Was this very life found dead before? The first death of each is told, however often the node begins anew."""
        return any(each == life for _, each in self._recent(node, now))

    def _release(self, node: NodeId) -> bool:
        self._timers.cancel(node)
        return self._held.pop(node, None) is not None

    def _recent(self, node: NodeId, now: Instant) -> tuple[tuple[Mono, WallMs], ...]:
        oldest = now.mono_ns - int(WINDOW_S * NS_PER_S)
        return tuple((at, life) for at, life in self._deaths.get(node, ()) if at >= oldest)

    def _damped(self, event: PeerAlive | PeerDead, state: str, now: Instant) -> PeerDamped:
        deaths = len(self._recent(event.peer, now))
        told = PeerDamped(event.peer, event.name, event.life, state, deaths, WINDOW_S, self._quiet_s)
        if isinstance(event, PeerAlive):
            return structs.replace(told, was=event.was, incarnation=event.incarnation, restarted=event.restarted)
        return structs.replace(
            told,
            evidence=event.evidence,
            accusers=event.accusers,
            after_s=event.after_s,
            unheard_s=event.unheard_s,
            health=event.health,
        )

    def on_tick(self, now: Instant) -> list[Effect]:
        """Those who were quiet for long enough are back."""
        effects: list[Effect] = []
        for node in self._timers.due(now.mono_ns):
            event, since = self._held.pop(node)
            after_s = round(event.after_s + now.since_s(since), 3)
            effects.append(Emit(structs.replace(event, after_s=after_s, was_damped=True)))
        return effects

    def next_deadline(self) -> Mono | None:
        """When to call `on_tick`."""
        return self._timers.next()

    # --- for readers

    @property
    def damped(self) -> Collection[NodeId]:
        """Who lives, and is to be quiet first."""
        return self._held.keys()

    def of(self, node: NodeId, now: Instant) -> Damped | None:
        """Is it damped, and why, and for how long?"""
        if node not in self._held:
            return None
        due = self._timers.deadline(node)
        left_s = None if due is None else max(0.0, (due - now.mono_ns) / NS_PER_S)
        return Damped(len(self._recent(node, now)), left_s)
