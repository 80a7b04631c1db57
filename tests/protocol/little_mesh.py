"""A little mesh in memory: membership and gossip of several nodes, a network that loses, and virtual time.

Frames are handles to values, not bytes: what is checked here is who hears what and believes what.
As with real frames, a fact opens only where its source was introduced (alive and goodbye
introduce themselves, and a dead fact introduces whom it buries).
"""

from collections.abc import Callable, Iterable
from heapq import heappop, heappush
from random import Random

from msgspec import structs

from protocol.effects import Carry, Effect, Emit, Send, Spread
from protocol.events import Event, PeerDead
from protocol.gossip import Gossip
from protocol.membership import Membership
from protocol.presets import PRESETS
from protocol.primitives import NS_PER_MS, NS_PER_S, Instant
from protocol.replica import Heard, Me, sealed_inside
from protocol.wire.gossip import Alive, AnyFact, Dead, Delta, Digest, Left
from protocol.wire.kinds import AnyBody
from protocol.wire.swim import Ack, Ping
from tests.protocol.conversation import WALL_MS, instant

LATENCY_S = 0.001


class Host:
    """One node: its machines, and what is happening to it."""

    def __init__(self, name: str, life: int, rng: Random) -> None:
        self.me = Me(id=name, life=life, name=name, region="r", domain="")
        self.membership = Membership(me=self.me, settings=PRESETS["lan"], rng=rng)
        self.gossip = Gossip(me=self.me, rng=rng)
        self.introduced = {name}
        self.events: list[tuple[float, Event]] = []
        self.side = 0  # of a partition
        self.is_linked = True
        self.stopped_at: float | None = None
        self.waiting: list[Callable[[], None]] = []  # arrived while it was stopped
        self.sequence = 0

    @property
    def id(self) -> str:
        return self.me.id


class LittleMesh:
    """Hosts by name, and the network between them."""

    def __init__(self, *, seed: int = 1, loss: float = 0.0) -> None:
        self.rng = Random(seed)
        self.loss = loss
        self.hosts: dict[str, Host] = {}
        self.seconds = 0.0
        self.sent = 0
        self._sealed: dict[bytes, Heard] = {}
        self._queue: list[tuple[float, int, Callable[[], None]]] = []
        self._order = 0

    # --- what is done to it

    def start(self, *names: str) -> "LittleMesh":
        """Start these nodes, each with a life of its own."""
        for name in names:
            life = WALL_MS + round(self.seconds * 1_000) + 1
            host = self.hosts[name] = Host(name, life, Random(self.rng.getrandbits(32)))
            self._perform(host, host.membership.start(self.now))
        return self

    def kill(self, name: str) -> Host:
        """As by kill -9: the broker knows at once, and says so to who asks."""
        return self.hosts.pop(name)

    def leave(self, name: str) -> None:
        """Say goodbye and go, after the one repetition."""
        host = self.hosts[name]
        self._perform(host, host.membership.leave(self.now))
        self.run(1.5)
        del self.hosts[name]

    def stop(self, name: str) -> None:
        """As by SIGSTOP: subscribed, and silent."""
        self.hosts[name].stopped_at = self.seconds

    def resume(self, name: str) -> None:
        """As by SIGCONT: it finds that time has passed, then what has arrived, then its deadlines."""
        host = self.hosts[name]
        assert host.stopped_at is not None
        late_ms, host.stopped_at = round((self.seconds - host.stopped_at) * 1_000), None
        self._perform(host, host.membership.on_lag(late_ms, self.now))
        waiting, host.waiting = host.waiting, []
        for deliver in waiting:
            deliver()

    def link(self, names: Iterable[str], *, is_up: bool) -> None:
        """The broker goes away for these, or is back."""
        for name in names:
            host = self.hosts[name]
            host.is_linked = is_up
            self._perform(host, host.membership.on_link(is_up=is_up, now=self.now))
            self._perform(host, host.gossip.on_link(is_up=is_up, now=self.now))

    def cut(self, *names: str) -> None:
        """These are on another side from now on; nothing goes across and nothing says so."""
        for name in names:
            self.hosts[name].side += 1

    def heal(self) -> None:
        """One side again."""
        for host in self.hosts.values():
            host.side = 0

    def run(self, seconds: float) -> "LittleMesh":
        """Let so much time pass."""
        end = self.seconds + seconds
        while True:
            at, act = self._next()
            if act is None or at > end:
                break
            self.seconds = max(self.seconds, at)
            act()
        self.seconds = end
        return self

    # --- what is seen

    @property
    def now(self) -> Instant:
        return instant(self.seconds)

    def view(self, name: str) -> dict[str, str]:
        """State by name, as this node sees it."""
        return {peer.name: peer.state for peer in self.hosts[name].membership.snapshot()}

    def alive(self) -> dict[str, list[str]]:
        """Whom each node sees alive."""
        return {name: host.membership.alive() for name, host in self.hosts.items()}

    def agrees(self) -> bool:
        """True when everybody sees exactly the running nodes alive, and knows the same facts."""
        names = sorted(self.hosts)
        hashes = {host.gossip.facts.hashes() for host in self.hosts.values()}
        return all(seen == names for seen in self.alive().values()) and len(hashes) == 1

    def deaths(self) -> list[tuple[str, str, float]]:
        """Who declared or believed whom dead, and when."""
        return [
            (name, event.peer, at)
            for name, host in self.hosts.items()
            for at, event in host.events
            if isinstance(event, PeerDead)
        ]

    def say(self, name: str, fact: AnyFact) -> None:
        """Let a node spread a fact of its own."""
        self._perform(self.hosts[name], [Spread(fact)])

    # --- inside

    def _next(self) -> tuple[float, Callable[[], None] | None]:
        best_at, best = (self._queue[0][0], None) if self._queue else (float("inf"), None)
        for host in self.hosts.values():
            if host.stopped_at is not None:
                continue
            for machine in (host.membership, host.gossip):
                deadline = machine.next_deadline()
                if deadline is not None:
                    at = (deadline - instant(0.0).mono_ns + NS_PER_MS // 1_000) / NS_PER_S
                    if at < best_at:
                        best_at, best = at, self._ticking(host)
        if best is None and self._queue:
            return self._queue[0][0], heappop(self._queue)[2]
        return best_at, best

    def _ticking(self, host: Host) -> Callable[[], None]:
        def tick() -> None:
            self._perform(host, host.membership.on_tick(self.now))
            self._perform(host, host.gossip.on_tick(self.now))

        return tick

    def _perform(self, host: Host, effects: Iterable[Effect]) -> None:
        for effect in effects:
            match effect:
                case Emit():
                    host.events.append((self.seconds, effect.event))
                    if isinstance(effect.event, PeerDead):
                        host.gossip.facts.forget(effect.event.peer)
                case Spread():
                    fact = self._sealed.get(effect.frame) or self._seal(host, effect.body)
                    if not effect.frame:
                        self._perform(host, host.gossip.keep_own(fact, self.now))
                    for other in list(self.hosts.values()):
                        if other is not host:
                            self._carry(host, other, self._hearing(other, fact))
                case Carry():
                    for other in [each for each in self.hosts.values() if each is not host]:
                        for frame in effect.body.facts:
                            told = structs.replace(self._sealed[frame], is_relayed=True)
                            self._carry(host, other, self._hearing(other, told))
                case Send():
                    self._send(host, effect)
                case _:
                    raise AssertionError(effect)

    def _seal(self, host: Host, body: AnyBody) -> Heard:
        host.sequence += 1
        frame = f"{host.id}.{host.me.life}.{host.sequence}".encode()
        fact = Heard(host.id, host.me.life, host.sequence, self.now.wall_ms, body, frame, f"mesh.m.fact.r.{host.id}")
        self._sealed[frame] = fact
        return fact

    def _send(self, host: Host, send: Send) -> None:
        target = self.hosts.get(send.to)
        if target is not None and target.me.life == send.life:
            body, life = send.body, host.me.life
            self._carry(host, target, lambda: self._receive(target, host.id, life, body))
        elif send.probe is not None and host.is_linked:
            probe = send.probe
            self._carry(host, host, lambda: self._perform(host, host.membership.on_absent(probe, self.now)))

    def _carry(self, source: Host, target: Host, deliver: Callable[[], None]) -> None:
        self.sent += 1
        if not source.is_linked or source.side != target.side or self.rng.random() < self.loss:
            return
        self._order += 1

        def arrive() -> None:
            if self.hosts.get(target.id) is not target or not target.is_linked or source.side != target.side:
                return
            if target.stopped_at is not None:
                target.waiting.append(deliver)
            else:
                deliver()

        heappush(self._queue, (self.seconds + LATENCY_S, self._order, arrive))

    def _hearing(self, host: Host, fact: Heard) -> Callable[[], None]:
        return lambda: self._hear(host, fact)

    def _open(self, host: Host, fact: Heard) -> bool:
        if fact.src == host.id:
            return False
        if isinstance(fact.body, Alive | Left):
            host.introduced.add(fact.src)
        return fact.src in host.introduced

    def _hear(self, host: Host, fact: Heard) -> None:
        if not self._open(host, fact):
            return
        is_news, effects = host.gossip.on_fact(fact, self.now)
        self._perform(host, effects)
        if not is_news:
            return
        if not isinstance(fact.body, Dead):
            self._perform(host, host.membership.on_fact(fact, self.now))
            return
        inside = [self._sealed[frame] for frame in sealed_inside(fact.body)]
        proof = tuple(structs.replace(each, is_relayed=True) for each in inside if self._open(host, each))
        self._perform(host, host.membership.on_fact(fact, self.now, proof))
        if host.membership.has_buried(fact.body):
            host.gossip.keep(fact, self.now)

    def _receive(self, host: Host, src: str, life: int, body: AnyBody) -> None:
        if src not in host.introduced:
            host.gossip.on_gap(self.now)
            return
        match body:
            case Ping() | Ack():
                self._perform(host, host.membership.on_message(src, life, body, self.now))
            case Digest():
                self._perform(host, host.gossip.on_digest(src, life, body, self.now))
            case Delta():
                for frame in body.facts:
                    self._hear(host, structs.replace(self._sealed[frame], is_relayed=True))
            case _:
                raise AssertionError(body)
