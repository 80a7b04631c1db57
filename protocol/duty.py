"""Whether this node takes work, what its agents take, and what an operator asks of it.

Invariant: a draining node finishes what it has, takes nothing new, and says so in every load, while there is a
cause for it; an operator's lasts for this life. Neighbours: `holder` and `calls` are closed and opened here;
`node` asks.
"""

from collections.abc import Mapping
from typing import assert_never

from protocol import ids, limits
from protocol.allowances import Allowances
from protocol.calls import Calls
from protocol.effects import Effect, Emit, Send
from protocol.events import PeerForgotten, StateChanged
from protocol.holder import Holder
from protocol.inputs import Cause
from protocol.link import Link
from protocol.membership import Membership
from protocol.primitives import Instant, NodeId
from protocol.replica import Me
from protocol.wire.agents import Card
from protocol.wire.bounds import NAME_CHARS_MAX
from protocol.wire.ops import (
    AnyOrder,
    AnyReport,
    Describe,
    Description,
    Forget,
    Look,
    Refused,
    Report,
    Shape,
    Sight,
    Sights,
    Steer,
    Survey,
)

HELD_BY: Mapping[Cause, str] = {
    "operator": "it was asked to take no new work",
    "audit": "its audit cannot be written",
    "leaving": "it is stopping",
}


class Duty:
    """One node's readiness to work."""

    def __init__(self, *, me: Me, link: Link, membership: Membership, holder: Holder, calls: Calls) -> None:
        self._me = me
        self._link = link
        self._membership = membership
        self._holder = holder
        self._calls = calls
        self._asking = Allowances(per_s=limits.ORDERS_PER_S_MAX, most=limits.ORDERS_AT_ONCE_MAX)
        self._refusing = Allowances(per_s=limits.REFUSED_PER_S_MAX, most=limits.REFUSED_AT_ONCE_MAX)
        self._causes: tuple[Cause, ...] = ()
        self._shapes: tuple[Shape, ...] = ()
        self._private: frozenset[str] = frozenset()  # agents that other nodes are told nothing of

    @property
    def state(self) -> str:
        """starting, joined, detached, islanded or draining."""
        is_draining = self.is_draining and self._link.state == "joined"
        return "draining" if is_draining else self._link.state

    @property
    def is_draining(self) -> bool:
        """True while there is any cause for it."""
        return bool(self._causes)

    @property
    def held_by(self) -> tuple[Cause, ...]:
        """Why this node takes nothing new."""
        return self._causes

    def drain(self, *, is_on: bool, cause: Cause = "operator", asker: NodeId = "") -> list[Effect]:
        """Take nothing new for this cause, or no longer; nothing happens when it is so already.

        `asker` is the node that an operator asked, when it is another one.
        """
        was_draining = self.is_draining
        others = tuple(each for each in self._causes if each != cause)
        self._causes = (*others, cause) if is_on else others
        if self._causes:
            self._holder.close(HELD_BY[self._causes[-1]])
        if self.is_draining == was_draining:
            return []
        if is_on:
            self._calls.close()
        else:
            self._holder.reopen()
            self._calls.reopen()
        through = f", through node {ids.short(asker)}" if asker not in ("", self._me.id) else ""
        return [Emit(StateChanged(self.state, (HELD_BY[cause] if is_on else "it takes new work again") + through))]

    def learn(self, cards: tuple[Card, ...], shapes: tuple[Shape, ...]) -> None:
        """What the agents of this node declare; replaces what was said before."""
        self._shapes = shapes
        self._private = frozenset(card.name for card in cards if card.visibility == "private")

    def _describe(self, asker: NodeId, order: Describe) -> Description:
        """Those of one capability, as far as one frame holds them; the others without their schemas."""
        room = limits.DESCRIPTION_BYTES_MAX
        hidden = frozenset() if asker == self._me.id else self._private
        told: list[Shape] = []
        for shape in self._shapes:
            if shape.capability == order.capability and shape.agent not in hidden:
                room -= len(shape.takes) + len(shape.gives)
                told.append(shape if room >= 0 else Shape(shape.agent, shape.capability))
        return Description(order.request, tuple(told[: limits.CARDS_PER_NODE_MAX]))

    def _sights(self, order: Look) -> Sights:
        """Everybody in view, as far as one frame holds them."""
        peers = sorted(self._membership.snapshot(), key=lambda peer: peer.state not in ("alive", "suspect"))
        shown = tuple(
            Sight(peer.id, peer.name[:NAME_CHARS_MAX], peer.state, peer.life, peer.incarnation)
            for peer in peers[: limits.SIGHTS_MAX]
        )
        return Sights(order.request, self._membership.agreement.view, shown, more=len(peers) > len(shown))

    def hears(self, asker: NodeId, now: Instant) -> bool:
        """One order more of another node; False when it has asked too often: one key must not keep us busy."""
        return self._asking.take(asker, now)

    def refuse(self, asker: NodeId, life: int, order: AnyOrder, now: Instant) -> list[Effect]:
        """Tell who has asked too often, now and then: one key must not make us talk either."""
        is_told = self._refusing.take(asker, now)
        return [Send(to=asker, life=life, body=Refused(order.request))] if is_told else []

    def obey(self, asker: NodeId, order: AnyOrder, now: Instant) -> tuple[list[Effect], AnyReport]:
        """Do what an operator asks, and say how this node stands then, or what was asked for."""
        effects: list[Effect] = []
        is_obeyed = True
        match order:
            case Survey():
                pass
            case Steer():
                effects = self.drain(is_on=order.draining, asker=asker)
            case Forget():
                is_known = self._membership.peer(order.peer) is not None
                is_obeyed = self._membership.forget(order.peer)
                effects = [Emit(PeerForgotten(order.peer, asker))] if is_known and is_obeyed else []
            case Describe():
                return [], self._describe(asker, order)
            case Look():
                return [], self._sights(order)
            case _:
                assert_never(order)
        report = Report(
            request=order.request,
            wall_ms=now.wall_ms,
            view=self._membership.agreement.view,
            alive=len(self._membership.alive()),
            draining=self.is_draining,
            version=self._me.version,
            obeyed=is_obeyed,
            held_by=self._causes,
        )
        return effects, report
