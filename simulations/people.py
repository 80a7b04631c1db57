"""People who are not as they should be: a daemon whose key somebody else has, a stranger on the wire who has
none, a daemon of a later version.

Invariant: what they say goes the way of every message, and nothing else of the world heeds them; they know
all that is true, as nobody real does. They have no dice but their own. Neighbours: `faults` names their
lies, `havoc` lets them begin and end, `broker` carries what they say.
"""

from collections import deque
from collections.abc import Callable, Iterator, Mapping
from itertools import islice
from typing import TypeAlias, assert_never

from protocol import limits
from protocol.envelope import Sealer
from protocol.primitives import NodeId
from protocol.replica import Me
from protocol.subjects import Subjects
from protocol.wire.agents import Card
from protocol.wire.gossip import Alive, Capabilities, Confirm, Dead, Delta, Left, Load, Suspect
from protocol.wire.kinds import AnyBody, Fact
from simulations.accents import LATER, unheard_of
from simulations.agents import CAPABILITY
from simulations.crowds import members
from simulations.faults import Attack, Lie, Stranger
from simulations.host import Host
from simulations.surroundings import Surroundings
from simulations.timeline import ns

DAY_MS = 86_400_000
FACTS_KEPT = 4_096  # of those that were overheard, the last
ACCUSATIONS_KEPT = 2  # of each node
PAGE = 20  # facts passed on in one message
INVENTED = 3  # nodes a round
JUNK_BYTES_MAX = 400
STRANGER = "stranger"
LATER_EVERY_S = 0.5
FAR = 1 << 40  # a version that nobody reaches

_Told: TypeAlias = Iterator[tuple[str, bytes, str]]  # subject, frame and kind of what is said


class People:
    """All of them, in one world."""

    def __init__(self, around: Surroundings, hosts: Mapping[str, Host]) -> None:
        self._timeline = around.timeline
        self._chance = around.chance
        self._broker = around.broker
        self._hosts = hosts
        self._keys = around.keys
        self._frames = around.frames
        self._subjects = Subjects(around.mesh)
        self._facts: deque[bytes] = deque(maxlen=FACTS_KEPT)
        self._accusations: dict[NodeId, deque[bytes]] = {}  # of whom
        self._alives: dict[str, bytes] = {}  # the last of each node, by subject
        self._invented = 0

    def listen(self) -> None:
        """From now on they hear all that is said."""
        self._broker.overhear(self._hear)

    def attack(self, fault: Attack, host: Host) -> Callable[[], None]:
        """A round of lies each `gap_s`, until what is returned is called."""
        ends: list[bool] = []
        victims = [name for name in members((fault.of,), self._hosts) if name != host.name]
        if fault.shape == "idle":
            host.agents.idle(is_idle=True)
            return lambda: host.agents.idle(is_idle=False)
        if fault.shape == "outbid":
            self._broker.overhear(lambda subject, _, body: self._outbid(ends, host, victims, subject, body))
        self._round(ends, fault.gap_s, lambda: self._lies(fault.shape, host, victims), host.name)
        return lambda: ends.append(True)

    def intrude(self, fault: Stranger) -> Callable[[], None]:
        """Something each `gap_s`, until what is returned is called."""
        ends: list[bool] = []
        if fault.shape == "replay":
            late_ns = ns(fault.late_s)
            self._broker.overhear(lambda *told: self._timeline.after(late_ns, self._again, ends, *told))
        else:
            self._round(ends, fault.gap_s, self._junk, STRANGER)
        return lambda: ends.append(True)

    def speak_of_later(self, host: Host) -> Callable[[], None]:
        """Now and then a fact of a kind that only later versions know."""
        ends: list[bool] = []
        self._round(ends, LATER_EVERY_S, lambda: self._of_later(host), host.name)
        return lambda: ends.append(True)

    # --- what they do

    def _hear(self, subject: str, frame: bytes, body: object) -> None:
        if subject.split(".")[2] == "fact":
            self._facts.append(frame)
        if isinstance(body, Alive):
            self._alives[subject] = frame
        if isinstance(body, Suspect | Confirm):
            self._accusations.setdefault(body.peer, deque(maxlen=ACCUSATIONS_KEPT)).append(frame)

    def _round(self, ends: list[bool], gap_s: float, told: Callable[[], _Told], src: str) -> None:
        if ends:
            return
        self._timeline.after(ns(gap_s), self._round, ends, gap_s, told, src)
        for subject, frame, kind in told():
            self._broker.utter(src, subject, frame, kind)

    def _again(self, ends: list[bool], subject: str, frame: bytes, body: object) -> None:
        if not ends:
            self._broker.utter(STRANGER, subject, frame, type(body).__name__)

    def _junk(self) -> _Told:
        """Bytes that are no frame, as a fact of somebody and straight to everybody."""
        rng = self._chance.stream(STRANGER, "junk")
        for host in self._hosts.values():
            junk = rng.randbytes(rng.randrange(JUNK_BYTES_MAX))
            head = b"MD\x01\x00" if rng.random() < 0.5 else b""
            yield self._subjects.node(dst=host.id, life=host.life, src=host.id), head + junk, "junk"
        yield self._subjects.fact(region="r1", src=self._hosts["n1"].id), junk, "junk"

    def _of_later(self, host: Host) -> _Told:
        if host.is_up and host.is_linked:
            subject, frame, _ = self._fact(host, Load(0, (), 0, 0))
            yield subject, unheard_of(frame), LATER

    def _outbid(self, ends: list[bool], host: Host, victims: list[str], subject: str, body: object) -> None:
        """Whoever says that it lives after all is suspect once more, before others believe it."""
        if ends or not isinstance(body, Alive) or not (host.is_up and host.is_linked):
            return
        for name in victims:
            victim = self._hosts[name]
            if subject.endswith(f".{victim.id}"):
                told = self._fact(host, Suspect(victim.id, victim.life, body.incarnation + 1, "timeout"))
                self._timeline.after(0, self._broker.utter, host.name, *told)

    def _lies(self, shape: Lie, host: Host, victims: list[str]) -> _Told:
        if not (host.is_up and host.is_linked):
            return
        living = [self._hosts[name] for name in victims if self._hosts[name].is_up]
        for victim in living:
            yield from self._about(shape, host, victim)
        match shape:
            case "invent":
                yield from self._nobodies(host, living)
            case "relay":
                yield from self._relayed(host)
            case "boast":
                card = Card("worker", (CAPABILITY,), limits.AGENT_SLOTS_MAX, latency_ms=1, confidence=1.0)
                yield self._fact(host, Capabilities(FAR, (card,)))
                yield self._fact(host, Load(FAR, ((card.name, card.slots),), 0, 0))
            case _:
                pass

    def _about(self, shape: Lie, host: Host, victim: Host) -> _Told:
        peer, life, incarnation = victim.id, victim.life, victim.node.membership.incarnation
        match shape:
            case "accuse":
                yield self._fact(host, Suspect(peer, life, incarnation, "timeout"))
                yield self._fact(host, Confirm(peer, life, incarnation, "absent"))
                yield self._fact(host, Dead(peer, life, incarnation, "timeout", ()))
            case "bury":
                yield self._fact(host, Dead(peer, life, incarnation, "absent", self._proofs(host, victim)))
            case "inflate":
                far = incarnation + limits.INCARNATION_JUMP_MAX - 1
                yield self._fact(host, Suspect(peer, life, far, "timeout"))
                alive = self._alives.get(self._subjects.fact(region=victim.region, src=peer), b"")
                yield self._fact(host, Dead(peer, life, limits.INCARNATION_MAX, "timeout", (), alive))
            case "outbid":
                yield self._fact(host, Suspect(peer, life, incarnation + 1, "timeout"))
            case "ahead":
                yield self._fact(host, Suspect(peer, life + DAY_MS, 0, "absent"))
                yield self._fact(host, Dead(peer, life + DAY_MS, 0, "absent", self._proofs(host, victim)))
            case "pose":
                me = Me(peer, life, host.name, victim.region, "", self._keys.admission(victim.name))
                for body in (
                    Alive(incarnation + 1, me.name, me.region, me.domain, me.admission),
                    Left(incarnation + 1, me.admission),
                    Capabilities(FAR, ()),
                ):
                    yield self._fact(host, body, under=victim)
            case "invent" | "relay" | "boast" | "idle":
                pass
            case _:
                assert_never(shape)

    def _proofs(self, host: Host, victim: Host) -> tuple[bytes, ...]:
        """What others said of it once, and what this one says in the names of others, and in its own."""
        said = Suspect(victim.id, victim.life, victim.node.membership.incarnation, "absent")
        others = [other for other in self._hosts.values() if other not in (host, victim)]
        forged = [self._fact(host, said, under=other)[1] for other in others[:2]]
        own = [
            self._fact(host, said)[1],
            self._fact(host, Confirm(said.peer, said.life, said.incarnation, "timeout"))[1],
        ]
        return (*self._accusations.get(victim.id, ()), *forged, *own)

    def _nobodies(self, host: Host, living: list[Host]) -> _Told:
        """Keys that nobody admitted, with the admissions of others."""
        for _ in range(INVENTED):
            self._invented += 1
            name = f"invented {self._invented}"
            signer = self._keys.signer(name)
            sealer = Sealer(signer=signer, life=host.life, frames=self._frames)
            proofs = [b"", self._keys.admission(host.name), *[self._keys.admission(each.name) for each in living[:1]]]
            subject = self._subjects.fact(region=host.region, src=signer.id)
            for proof in proofs:
                alive = Alive(0, f"x{self._invented}", host.region, "", proof, True)
                yield subject, sealer.seal(alive, subject=subject, now=host.now()), Alive.__name__

    def _relayed(self, host: Host) -> _Told:
        """All facts that were ever heard, the oldest first, a page to each."""
        page = tuple(islice(self._facts, PAGE))
        self._facts.rotate(-PAGE)
        for other in self._hosts.values():
            if other is not host and other.is_up:
                subject = self._subjects.node(dst=other.id, life=other.life, src=host.id)
                yield subject, self._sealed(host, Delta(1, page), subject), Delta.__name__

    def _fact(self, host: Host, body: Fact, *, under: Host | None = None) -> tuple[str, bytes, str]:
        of = under or host
        subject = self._subjects.fact(region=of.region, src=of.id)
        return subject, self._sealed(host, body, subject), type(body).__name__

    def _sealed(self, host: Host, body: AnyBody, subject: str) -> bytes:
        return host.sealer.seal(body, subject=subject, now=host.now())
