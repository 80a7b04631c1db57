"""What must always hold of views: lives and incarnations, suspicions, deaths, who knows whose agents.

Invariant: told of events, never polling pairs; who was disturbed or cut off is excused.
Neighbours: `checks` lists these, `checks_news` has what must be known in time.
"""

from collections.abc import Iterator
from typing import ClassVar, TypeAlias, assert_never

from protocol.effects import Spread
from protocol.events import (
    CapabilitiesChanged,
    LeaseLapsed,
    PeerAlive,
    PeerDamped,
    PeerDead,
    PeerLeft,
    PeerSuspect,
    is_death,
)
from protocol.inputs import LinkChanged
from protocol.limits import INCARNATION_MAX
from protocol.primitives import NodeId
from protocol.wire.gossip import Confirm, Dead, Suspect
from simulations.host import Host
from simulations.seen import Handled, Happened, Seen, Sight, Span, stands
from simulations.setting import Setting, Wanted
from simulations.timeline import ns

Standing: TypeAlias = tuple[int, int, int]  # life, incarnation, rank of the state

CLEAR_S = 8.0  # who was disturbed or cut off so shortly before may be found dead still
REFUTED_S = 2.0  # or four times as long as a probe waits, where they wait long


def _accusations(seen: Handled) -> Iterator[Suspect | Confirm | Dead]:
    """What a node says of others because of this input."""
    for effect in seen.effects:
        if isinstance(effect, Spread) and isinstance(effect.body, Suspect | Confirm | Dead):
            yield effect.body


class NoFalseDeath:
    """A5: nobody is found dead who is well and was within reach of one of its accusers all along.

    Where others of them were cut off from it, one that was disturbed itself is no witness, nor one that said so
    before it was back: it took back what it said, and who is cut off could not hear why. Nor could who was stopped:
    it reads first what was said before that, and then why it is so no more. Where the cut off are enough to declare
    it dead nobody else is a witness: who cannot hear it takes it for dead.
    """

    wants: ClassVar[Wanted] = (Handled, Happened)

    def __init__(self, setting: Setting) -> None:
        self._setting = setting
        self._said: dict[tuple[NodeId, NodeId], tuple[tuple[int, int], int]] = {}  # of which incarnation, and when

    def on(self, seen: Seen) -> str | None:
        """Every accusation, and every death, as it is declared or believed."""
        if isinstance(seen, Handled):
            self._note(seen)
        if not isinstance(seen, Happened) or not is_death(seen.event):
            return None
        setting, death = self._setting, seen.event
        names = {host.id: host for host in setting.hosts.values()}
        dead = names[death.peer]
        clear_ns = setting.timeline.now_ns - ns(CLEAR_S)
        if dead.life != death.life or dead.well_since_ns > clear_ns:
            return None
        accusers = [names[each] for each in death.accusers if each != dead.id]
        near = [each for each in accusers if setting.network.clear_since_ns(each.name, dead.name) <= clear_ns]
        if len(accusers) - len(near) >= setting.settings.membership.accusers:
            return None
        has_said_since = [self._said_ns(each, dead) >= self._back_ns(each, dead) for each in near]
        if setting.hosts[seen.node].well_since_ns > clear_ns and not any(has_said_since):
            return None
        for accuser, is_new in zip(near, has_said_since, strict=True):
            is_witness = accuser.well_since_ns <= clear_ns and is_new
            if len(near) == len(accusers) or is_witness:
                return (
                    f"{seen.node} believes that {dead.name} is dead ({death.evidence}, accused by "
                    f"{', '.join(names[each].name for each in death.accusers)}), "
                    f"which was well and within reach of {accuser.name} for {CLEAR_S:g} s"
                )
        return None

    def _note(self, seen: Handled) -> None:
        for said in _accusations(seen):
            words, number = (self._setting.hosts[seen.node].id, said.peer), (said.life, said.incarnation)
            if self._said.get(words, ((0, -1), 0))[0] < number:  # what is said again was said before
                self._said[words] = number, self._setting.timeline.now_ns

    def _back_ns(self, accuser: Host, dead: Host) -> int:
        """From then on it could not take the dead for gone, had it asked."""
        return max(dead.well_since_ns, self._setting.network.clear_since_ns(accuser.name, dead.name)) + ns(REFUTED_S)

    def _said_ns(self, accuser: Host, dead: Host) -> int:
        found = self._said.get((accuser.id, dead.id))
        return self._setting.timeline.now_ns if found is None else found[1]


class NoHastyDeath:
    """A5, G7: who stopped a moment ago, after it was well for long, is not found dead before its time is up."""

    wants: ClassVar[Wanted] = (Happened, Span)

    def __init__(self, setting: Setting) -> None:
        self._setting = setting
        # Of a node: when a fault began after a quiet time (0: none did), when one last began or ended, and what stands
        # of those that began since.
        self._spans: dict[str, tuple[int, int, tuple[str, ...]]] = {}

    def on(self, seen: Seen) -> str | None:
        """Faults, and every death."""
        now_ns = self._setting.timeline.now_ns
        if isinstance(seen, Span):
            for name in seen.nodes or tuple(self._setting.hosts):
                self._spans[name] = self._after(self._spans.get(name, (0, 0, ())), seen)
        elif isinstance(seen, Happened) and is_death(seen.event):
            death, settings = seen.event, self._setting.settings.membership
            since_ns, _, standing = self._spans.get(death.name, (0, 0, ()))
            if not since_ns or not standing:
                return None
            least_s = settings.absent_s if death.evidence == "absent" else settings.suspicion_s_min
            if now_ns - since_ns < ns(least_s) and self._was_in_reach(death, since_ns - ns(CLEAR_S)):
                return f"{seen.node} believes that {death.name} is dead ({death.evidence}) within {least_s:g} s"
        return None

    def _after(self, before: tuple[int, int, tuple[str, ...]], seen: Span) -> tuple[int, int, tuple[str, ...]]:
        since_ns, last_ns, standing = before
        now_ns = self._setting.timeline.now_ns
        if not standing and now_ns - last_ns >= ns(CLEAR_S):
            since_ns = now_ns if seen.is_on else 0
        return since_ns, now_ns, stands(standing, seen.fault, is_on=seen.is_on)

    def _was_in_reach(self, death: PeerDead | PeerDamped, at_ns: int) -> bool:
        """Of all who accuse it: one that was cut off from it before it stopped has begun to count earlier."""
        accusers = [name_of(self._setting, each) for each in death.accusers]
        network, dead = self._setting.network, name_of(self._setting, death.peer)
        return all(name == dead or network.clear_since_ns(name, dead) <= at_ns for name in accusers)


class CutOffJudgesNobody:
    """A5: whose own link is down, or was until a moment ago, accuses nobody and takes nobody's lease."""

    wants: ClassVar[Wanted] = (Handled, Happened)

    def __init__(self, setting: Setting) -> None:
        self._setting = setting
        self._down: dict[str, int] = {}  # who is cut off, in which life; a new life was never connected before
        self._up_ns: dict[tuple[str, int], int] = {}  # when that life of it was back

    def on(self, seen: Seen) -> str | None:
        """Links as their nodes are told of them, and accusations."""
        now_ns = self._setting.timeline.now_ns
        if isinstance(seen, Handled) and isinstance(seen.input, LinkChanged):
            if seen.input.up and self._down.get(seen.node) == seen.life:
                self._up_ns[(seen.node, seen.life)] = now_ns
            self._down[seen.node] = 0 if seen.input.up else seen.life
        elif isinstance(seen, Happened) and isinstance(seen.event, LeaseLapsed):
            lease_ns = ns(self._setting.settings.tasks.lease_s)
            is_back = now_ns - self._up_ns.get((seen.node, seen.life), -lease_ns) >= lease_ns
            if seen.event.evidence != "node_restarted" and not is_back:
                return f"{seen.node} calls a lease lapsed ({seen.event.evidence}) when its own link is hardly back"
        elif isinstance(seen, Happened) and (isinstance(seen.event, PeerSuspect) or is_death(seen.event)):
            if self._down.get(seen.node) == seen.life:
                return f"{seen.node} judges {seen.event.name} while its own link is down"
            is_its_own = isinstance(seen.event, PeerSuspect) and seen.event.accuser == self._setting.hosts[seen.node].id
            grace_ns = ns(self._setting.settings.membership.grace_s)
            if is_its_own and now_ns - self._up_ns.get((seen.node, seen.life), -grace_ns) < grace_ns:
                return f"{seen.node} accuses {seen.event.name} when its own link is hardly back"
        return None


class RisingNumbers:
    """A1, A2, A4: nobody's standing goes down, its own or as each life of another sees it.

    Lives and incarnations rise; who was suspected or found dead is alive again by a higher incarnation
    only, who left by a new life only. A host whose disk was put back or lost knows of no life above its clock until
    it has read the record.
    """

    wants: ClassVar[Wanted] = (Handled, Happened, Sight)

    def __init__(self, setting: Setting) -> None:
        del setting
        self._own: dict[str, tuple[int, int]] = {}
        self._seen: dict[tuple[str, int, NodeId], Standing] = {}

    def on(self, seen: Seen) -> str | None:
        """Every input handled, every event about a peer, and what a disk forgot."""
        if isinstance(seen, Sight) and seen.kind in ("disk-old", "disk-lost"):
            self._own.pop(seen.node, None)
        if isinstance(seen, Handled):
            number, before = (seen.life, seen.incarnation), self._own.get(seen.node, (0, 0))
            self._own[seen.node] = number
            return f"{seen.node} went from life, incarnation {before} to {number}" if number < before else None
        if not isinstance(seen, Happened):
            return None
        event = seen.event
        if not isinstance(event, PeerAlive | PeerDamped | PeerSuspect | PeerDead | PeerLeft):
            return None
        subject = (seen.node, seen.life, event.peer)
        former = self._seen.get(subject, (0, 0, 0))
        standing = self._standing(event, former[1] if former[0] == event.life else 0)
        if standing < former:
            return f"{seen.node} saw {event.name} go from life, incarnation, rank {former} to {standing}"
        self._seen[subject] = standing
        return None

    @staticmethod
    def _standing(event: PeerAlive | PeerDamped | PeerSuspect | PeerDead | PeerLeft, known: int) -> Standing:
        """Who doubts it, or finds it dead, does not tell its incarnation: that is the `known` one."""
        match event:
            case PeerAlive(incarnation=incarnation) | PeerDamped(state="alive", incarnation=incarnation):
                return event.life, incarnation, 0
            case PeerSuspect():
                return event.life, known, 1
            case PeerDead() | PeerDamped():
                return event.life, known, 2
            case PeerLeft():
                return event.life, INCARNATION_MAX, 3
            case _:
                assert_never(event)


class OwnWord:
    """A1, A3, A8: what is said of a node's name, life and incarnation, it said itself; nobody finds itself gone."""

    wants: ClassVar[Wanted] = (Handled, Happened, Span)

    def __init__(self, setting: Setting) -> None:
        self._setting = setting
        self._own: dict[NodeId, tuple[int, int]] = {}
        self._called: dict[NodeId, set[str]] = {}  # an impostor that is gone is believed in under the name it had
        self._is_attacked = False  # who lies may have named an incarnation first

    def on(self, seen: Seen) -> str | None:
        """Accusations as they are made, and returns as they are believed."""
        if isinstance(seen, Span):
            self._is_attacked |= seen.fault == "attack"
        elif isinstance(seen, Handled):
            me = self._setting.hosts[seen.node].id
            self._called.setdefault(me, set()).add(self._setting.hosts[seen.node].known_as)
            self._own[me] = max(self._own.get(me, (0, 0)), (seen.life, seen.incarnation))  # two may have one key
            for said in _accusations(seen):
                if problem := self._ahead(said.peer, said.life, 0 if self._is_attacked else said.incarnation):
                    return f"{seen.node} accuses {problem}"
        elif isinstance(seen, Happened) and (isinstance(seen.event, PeerLeft) or is_death(seen.event)):
            host = self._setting.hosts.get(seen.node)
            if host is not None and host.id == seen.event.peer:
                return f"{seen.node} says that it is itself gone"
        elif isinstance(seen, Happened) and isinstance(seen.event, PeerAlive | PeerDamped):
            event = seen.event
            if problem := self._ahead(event.peer, event.life, event.incarnation) or self._another(event):
                return f"{seen.node} believes in {problem}"
        return None

    def _another(self, event: PeerAlive | PeerDamped) -> str:
        """Who is nobody here, or is called otherwise."""
        names = [host.known_as for host in self._setting.hosts.values() if host.id == event.peer]
        if event.name.partition("#")[0] in {*names, *self._called.get(event.peer, ())}:
            return ""
        return f"{event.name}, which {f'is called {names[0]}' if names else 'nobody admitted'}"

    def _begun_since(self, peer: NodeId) -> tuple[int, int]:
        """What it has begun without having handled anything since: its first words leave before that."""
        lives = [host for host in self._setting.hosts.values() if host.id == peer and host.is_up]
        return max(((host.life, host.node.membership.incarnation) for host in lives), default=(0, 0))

    def _ahead(self, peer: NodeId, life: int, incarnation: int) -> str:
        began = self._own.get(peer)
        if began is None or (life, incarnation) <= began or (life, incarnation) <= self._begun_since(peer):
            return ""
        name = name_of(self._setting, peer)
        return f"{name} at life, incarnation {(life, incarnation)}, which has only begun {began}"


class ProvenDeath:
    """A6: who is found dead was accused by those who are named, two of them where two were there to accuse."""

    wants: ClassVar[Wanted] = (Handled, Happened)

    def __init__(self, setting: Setting) -> None:
        self._setting = setting
        self._accused: set[tuple[NodeId, NodeId, int]] = set()  # who said so, of whom, in which life

    def on(self, seen: Seen) -> str | None:
        """Accusations as they are made, and deaths."""
        host = self._setting.hosts[seen.node] if isinstance(seen, Handled | Happened) else None
        if isinstance(seen, Handled) and host is not None:
            self._accused |= {(host.id, said.peer, said.life) for said in _accusations(seen)}
        elif isinstance(seen, Happened) and is_death(seen.event) and host is not None:
            death = seen.event
            for accuser in death.accusers:
                if (accuser, death.peer, death.life) not in self._accused:
                    by = name_of(self._setting, accuser)
                    return f"{seen.node} believes that {death.name} is dead by the word of {by}, who never said so"
            if len(set(death.accusers)) < 2 and len(host.node.membership.alive()) > 1:
                return f"{seen.node} believes that {death.name} is dead by one word, and others are there"
        return None


class KnownAgents:
    """A7: what is heard of one life's agents is newer each time, until it is gone."""

    wants: ClassVar[Wanted] = (Happened,)

    def __init__(self, setting: Setting) -> None:
        self._setting = setting
        self._versions: dict[tuple[str, int, NodeId], int] = {}

    def on(self, seen: Seen) -> str | None:
        """Announcements as they are taken in, and who comes and goes."""
        if not isinstance(seen, Happened):
            return None
        event = seen.event
        if isinstance(event, PeerAlive | PeerDamped | PeerDead | PeerLeft):
            self._versions.pop((seen.node, seen.life, event.peer), None)
        elif isinstance(event, CapabilitiesChanged):
            subject = (seen.node, seen.life, event.peer)
            former = self._versions.get(subject, 0)
            self._versions[subject] = event.version
            host = self._setting.hosts.get(seen.node)
            is_going = host is not None and host.is_leaving  # after its goodbye it heeds no new life
            if event.version <= former and not is_going:
                return f"{seen.node} took in version {event.version} of the agents of {event.name} after {former}"
        return None


def name_of(setting: Setting, node: NodeId) -> str:
    """The name of the host with this id; the id itself for a stranger."""
    return next((host.name for host in setting.hosts.values() if host.id == node), node)
