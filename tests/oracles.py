"""In place of membership and gossip, for worlds that are about work: they know what they are told.

Invariant: they decide nothing and send nothing. Neighbour: `tests.explore` puts them into nodes.
"""

from typing import Any

from protocol import effects as fx
from protocol import events
from protocol.agreement import Agreement
from protocol.primitives import Instant, NodeId
from protocol.replica import Heard, Me, Peer


class Oracle:
    """In place of membership: it knows who lives because it is told, when the world chooses."""

    def __init__(self, *, me: Me, **_: Any) -> None:
        self.me = me
        self.lives: dict[NodeId, int] = {me.id: me.life}
        self.doubted: set[NodeId] = set()
        self.met: dict[NodeId, None] = {me.id: None}
        self.news: list[fx.Effect] = []

    def tell(self, peer: NodeId, life: int | None) -> None:
        """Somebody is alive in this life, or gone."""
        if life is None:
            if self.lives.pop(peer, None) is not None:
                self.news.append(fx.Emit(events.PeerDead(peer, "", 1, (), "timeout", 0.0)))
        elif self.lives.get(peer) != life:
            self.lives[peer] = life
            self.met[peer] = None
            self.news.append(fx.Emit(events.PeerAlive(peer, "", life, 0)))

    def alive(self) -> list[NodeId]:
        """Everybody who lives, oneself included."""
        return sorted(self.lives)

    @property
    def agreement(self) -> Agreement:
        """Of what it was told."""
        made = Agreement(me=self.me.id, life=self.me.life)
        for node in self.living():
            made.note(node, self.lives[node], "alive", Instant(0, 0))
        return made

    def snapshot(self) -> tuple[Peer, ...]:
        """Who lives."""
        return tuple(Peer(node, node[:8], life, "alive", 0, "r", "", 0) for node, life in sorted(self.lives.items()))

    def living(self) -> tuple[NodeId, ...]:
        """The others who live."""
        return tuple(node for node in self.alive() if node != self.me.id)

    def ask(self, node: NodeId, now: Instant) -> list[fx.Effect]:
        """It probes nobody."""
        del node, now
        return []

    def asked_at(self, node: NodeId, life: int, probe: int) -> None:
        """It probed nobody."""
        del node, life, probe

    def suspects(self) -> tuple[NodeId, ...]:
        """Nobody is in doubt."""
        return ()

    def is_frozen(self) -> bool:
        """It is never in doubt about itself."""
        return False

    def is_alive(self, node: NodeId) -> bool:
        """True for who lives, and is not in doubt."""
        return node in self.lives and node not in self.doubted

    def life_of(self, node: NodeId) -> int | None:
        """The life that we were told of."""
        return self.lives.get(node)

    def peer(self, node: NodeId) -> Me | None:
        """Somebody whom we ever heard of."""
        return self.me if node in self.met else None

    def forget(self, node: NodeId) -> bool:
        """True for who does not live, and is heard of no more."""
        if node not in self.lives:
            self.met.pop(node, None)
        return node not in self.lives

    def round_trip_s(self, node: NodeId) -> float:
        """The loopback."""
        return 0.01

    def settled_s(self, now: Instant) -> float:
        """The view has stood for long."""
        return 100.0

    def on_tick(self, now: Instant) -> list[fx.Effect]:
        """What we were told since."""
        news, self.news = self.news, []
        return news

    def on_link(self, *, is_up: bool, now: Instant) -> list[fx.Effect]:
        """It knows all the same."""
        return []

    def on_lag(self, late_ms: int, now: Instant) -> list[fx.Effect]:
        """It knows all the same."""
        return []

    def on_answered(self, now: Instant) -> None:
        """As `Membership.on_answered`."""

    def on_absent(self, number: int, now: Instant) -> list[fx.Effect]:
        """It probes nobody."""
        return []

    def next_deadline(self) -> None:
        """It waits for nothing."""
        return None


class AllNews:
    """In place of facts: nothing is kept, so nothing was heard before."""

    def is_news(self, *args: Any) -> bool:
        """Nothing that has a bound."""
        return False

    def renewed(self, heard: Heard, now: Instant) -> bool | None:
        """Nothing was heard before."""
        return None

    def is_about_nobody(self, heard: Heard) -> bool:
        """Everybody is known."""
        return False

    def forget(self, node: NodeId) -> None:
        """Nothing to forget."""


class Quiet:
    """In place of gossip: every fact is news, and nothing is repaired."""

    def __init__(self, **_: Any) -> None:
        self.facts = AllNews()

    def on_fact(self, heard: Heard, now: Instant) -> tuple[bool, list[fx.Effect]]:
        """News."""
        return True, []

    def keep_own(self, heard: Heard, now: Instant) -> list[fx.Effect]:
        """Nobody will ask for it."""
        return []

    def on_link(self, *, is_up: bool, now: Instant) -> list[fx.Effect]:
        """It knows all the same."""
        return []

    def on_tick(self, now: Instant) -> list[fx.Effect]:
        """What we were told since."""
        return []

    def on_gap(self, now: Instant, node: NodeId | None = None) -> None:
        """Nothing to repair."""

    def next_deadline(self) -> None:
        """It waits for nothing."""
        return None
