"""One node's membership and what the tests of it have in common: who is there, who answers, who is dead."""

from random import Random

from protocol.effects import Effect, Send
from protocol.membership import Membership
from protocol.presets import PRESETS, MembershipSettings
from protocol.primitives import NS_PER_S
from protocol.replica import Me
from protocol.wire.gossip import Alive, Confirm, Dead
from protocol.wire.swim import Ack, Ping
from tests.protocol.conversation import WALL_MS, Script, heard, instant, script

LIFE = WALL_MS - 5_000


def alive(name: str, incarnation: int = 0, *, is_fresh: bool = False) -> Alive:
    return Alive(incarnation, name, "r", "", b"", is_fresh)


def node(name: str = "a", *, seed: int = 7, preset: MembershipSettings | None = None) -> Script:
    me = Me(id=name, life=LIFE, name=name, region="r", domain="", admission=b"")
    return script(Membership(me=me, settings=preset or PRESETS["lan"], rng=Random(seed))).starts()


def among(*others: str, seed: int = 7) -> Script:
    """Node a, which has heard of these."""
    talk = node(seed=seed)
    for other in others:
        talk.hears(other, alive(other))
    return talk


def state(talk: Script, peer: str) -> str:
    found = talk.machine.peer(peer)
    return "" if found is None else str(found.state)


def pings(talk: Script) -> list[Send]:
    """The probes among the last effects."""
    return [each for each in talk.effects if isinstance(each, Send) and isinstance(each.body, Ping)]


def probed(talk: Script) -> Send:
    """The last probe that was sent."""
    return pings(talk)[-1]


def number_of(ping: Send) -> int:
    """The number under which an answer or an absence comes back."""
    assert isinstance(ping.body, Ping)
    return ping.body.probe


def lives(talk: Script, until: float, *, silent: str = "", took_s: float = 0.004) -> Script:
    """Go on with everybody but the `silent` answering; `effects` holds all that came of it."""
    gathered: list[Effect] = []
    for _ in range(100_000):
        deadline = talk.machine.next_deadline()
        seconds = until if deadline is None else (deadline - instant(0.0).mono_ns) / NS_PER_S
        if seconds > until or deadline is None:
            talk.until(max(until, talk.seconds))
            talk.effects = gathered + talk.effects
            return talk
        talk.until(max(talk.seconds, seconds))
        gathered += talk.effects
        for ping in pings(talk):
            if ping.to not in silent:
                talk.at(talk.seconds + took_s).gets(ping.to, Ack(number_of(ping), 0))
                gathered += talk.effects
    raise AssertionError(f"the machine never comes to rest\n{talk}")


def fails_to_answer(talk: Script, peer: str, *, evidence: str) -> Script:
    """Let probes go out until `peer` is probed; all others answer, it does not."""
    for _ in range(200):
        deadline = talk.machine.next_deadline()
        assert deadline is not None
        talk.until(max(talk.seconds, (deadline - instant(0.0).mono_ns) / NS_PER_S))
        for ping in pings(talk):
            if ping.to != peer:
                talk.gets(ping.to, Ack(number_of(ping), 0))
            elif evidence == "absent":
                return talk.do("on_absent", ping.probe)
            else:
                return lives(talk, talk.seconds + 0.5, silent=peer)
    raise AssertionError(f"{peer} was never probed\n{talk}")


def dead(talk: Script, peer: str, by: list[str], *, life: int = 1, incarnation: int = 0, last: int = 0) -> Script:
    """A dead fact by the first accuser, with the sealed words of the others and of the dead node itself."""
    body = Dead(peer, life, incarnation, "timeout", ())
    carried = [heard(peer, alive(peer, last), life=life)]
    carried += [heard(each, Confirm(peer, life, incarnation, "timeout")) for each in by[1:]]
    return talk.hears(by[0], body, accusations=tuple(carried))
