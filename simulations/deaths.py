"""Why a node was declared dead: what was done to it, who accused it, and what each of them had heard of it.

Invariant: told from the trace alone, in one reading; what a trace does not say is said to be missing.
Neighbours: `accusations` notes who accuses whom, `recorded` opens traces, `postmortem` prints.
"""

import ast
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Literal

from msgspec import Struct

from protocol.primitives import NS_PER_S
from simulations.accusations import ACCUSES
from simulations.recorded import End, Record, Recorded
from simulations.scenario import Scenario
from simulations.signing import Keys
from simulations.trace import Line

DONE_SHOWN = 5  # of what was done to it before, the last
DEATHS_SHOWN = 3


class Heard(Struct):
    """What one node had from another, and the other way, since it last heard anything of it. Mutable."""

    last: Record | None = None
    unread: set[int] = set()  # messages that had come, and were not read yet
    lost: int = 0
    reached: int = 0  # messages of it that came there
    unread_there: set[int] = set()
    lost_there: int = 0


class Accused(Struct, frozen=True):
    """One accusation, and what its accuser had heard until then, in words."""

    line: Record
    evidence: str
    heard: str


class Death(Struct):
    """One death of a life, which may be back and die again: the first who said so, and who followed. Mutable."""

    life: object
    line: Record
    accusers: tuple[str, ...]
    evidence: str
    after_s: float | None  # since it was suspected there, if it was
    count: int  # deaths of late, where it was damped for them; else 0
    done: tuple[Record, ...]
    accusations: dict[str, Accused]
    believed: dict[int, str]  # a line in which it was believed, and by whom
    last_ns: int
    returned: set[str] = set()  # who believed it, and sees it alive again

    @property
    def believers(self) -> int:
        """How many nodes believed it."""
        return len(set(self.believed.values()))

    def knows(self, line: Line) -> bool:
        """Is that line of this death, whoever says it?"""
        return line.seq in self.believed


def deaths(trace: Recorded, node: str) -> tuple[Death, ...]:
    """Each time that somebody declared a node dead who was taken for alive, in their order."""
    return tuple(_Reading(trace.scenario, node).read(trace))


def subject_of(line: Record | Line) -> str:
    """Who is declared dead by this line; nobody when it is about something else."""
    return str(_fields(line.what).get("name", "")) if _fate(line) == "dead" else ""


def died_in(trace: Recorded, led: Sequence[Line]) -> tuple[str, tuple[Death, ...]]:
    """The death that a chain of causes ends in, and whose; nobody's when it ends in something else."""
    node = subject_of(led[-1]) if led else ""
    return node, tuple(death for death in deaths(trace, node) if death.knows(led[-1])) if node else ()


def told(death: Death, node: str) -> list[str]:
    """The whole answer, for people."""
    line = death.line
    since = "unsuspected there" if death.after_s is None else f"{death.after_s:g} s after it was suspected there"
    if death.count:
        since = f"death {death.count} of it there, where it was damped for dying so often"
    others = f"; {death.believers - 1} more believed it by {_s(death.last_ns)}" if death.believers > 1 else ""
    said = [f"{node} was declared dead by {line.node} at {_s(line.t)} (line {line.seq}), {since}{others}"]
    said += [f"  what was done: {each.what.strip()}, at {_s(each.t)} (line {each.seq})" for each in death.done]
    if not death.done:
        said.append("  nothing was done to it, nor to the mesh")
    for accuser in death.accusers:
        accused = death.accusations.get(accuser)
        if accused is None:
            said.append(f"  {accuser} accused it; of when, and why, there is no line")
            continue
        when = f"at {_s(accused.line.t)} (line {accused.line.seq})"
        said.append(f"  {accuser} accused it {when}: {accused.evidence}; it {accused.heard}")
    return said


class _Reading:
    """One pass over a trace, with an eye on one node."""

    def __init__(self, scenario: Scenario, node: str) -> None:
        keys = Keys(scenario.wire)
        self._names = {keys.signer(name).id: name for name in scenario.names}
        self._node = node
        self._heard: dict[str, Heard] = {}
        self._done: list[Record] = []
        self._accused: dict[str, Accused] = {}

    def read(self, trace: Recorded) -> Iterator[Death]:
        """Its deaths."""
        found: list[Death] = []
        for record in trace.records():
            if isinstance(record, End):
                break
            match record.kind:
                case "fault" if self._is_done(record):
                    self._done = [*self._done, record][-DONE_SHOWN:]
                case "message" | "input" | "lost":
                    self._hear(record)
                case kind if kind == ACCUSES and record.what.startswith(f"{self._node} "):
                    self._accuse(record)
                case "event" if fate := _fate(record):
                    self._befell(record, fate, found)
                case _:
                    pass
        yield from found

    def _is_done(self, record: Record) -> bool:
        """A fault of this node, or of all."""
        nodes = record.what.split()[2:]
        return not nodes or self._node in nodes

    def _with(self, other: str) -> Heard:
        return self._heard.setdefault(other, Heard(unread=set(), unread_there=set()))

    def _hear(self, record: Record) -> None:
        node, at = self._node, record.node
        _, way, named = record.what.rsplit(" ", 2) if record.what.count(" ") > 1 else (record.what, "", "")
        match record.kind, way:
            case "message", "from" if named == node:
                self._with(at).unread.add(record.seq)
            case "message", "from" if at == node:
                known = self._with(named)
                known.reached += 1
                known.unread_there.add(record.seq)
            case "lost", "to" if named == node:
                self._with(at).lost_there += 1
            case "lost", "to" if at == node:
                self._with(named).lost += 1
            case "input", _ if at == node:
                for known in self._heard.values():
                    known.unread_there.discard(record.cause)
            case "input", _ if at in self._heard and record.cause in self._heard[at].unread:
                unread = self._heard[at].unread
                unread.discard(record.cause)
                self._heard[at] = Heard(record, unread, unread_there=set())
            case _:
                pass

    def _accuse(self, record: Record) -> None:
        evidence = "the broker said that nobody listens there" if ", absent" in record.what else "it did not answer"
        if " dead, " in record.what and record.node in self._accused:
            return  # the verdict of one who has accused it before
        self._accused[record.node] = Accused(record, evidence, _heard(self._with(record.node), self._node))

    def _befell(self, record: Record, fate: str, found: list[Death]) -> None:
        """A node takes it for dead, or for alive again."""
        fields = _fields(record.what)
        if fields.get("name") != self._node:
            return
        former = next((death for death in reversed(found) if death.life == fields.get("life")), None)
        if fate == "dead":
            accusers: object = fields.get("accusers")
            names = [self._names.get(str(each), str(each)) for each in accusers] if isinstance(accusers, tuple) else []
            if former is None or self._is_another(former, record.node, names):
                found.append(self._died(record, fields, names))
            else:
                former.believed[record.seq] = record.node
                former.last_ns = record.t
        elif former is not None and record.node in former.believed.values():
            if not former.returned:
                self._accused = {}
            former.returned.add(record.node)

    def _is_another(self, former: Death, observer: str, accusers: Collection[str]) -> bool:
        """Was it back in between? Where it was; and where it was not, if it was accused anew since it was elsewhere."""
        return observer in former.returned or (
            bool(former.returned) and any(each in self._accused for each in accusers)
        )

    def _died(self, record: Record, fields: Mapping[str, object], names: Collection[str]) -> Death:
        after_s, count = fields.get("after_s"), fields.get("deaths")
        accused, self._accused = self._accused, {}
        return Death(
            fields.get("life"),
            record,
            tuple(sorted(names, key=lambda name: accused[name].line.seq if name in accused else record.seq)),
            str(fields.get("evidence")),
            after_s if isinstance(after_s, float) else None,
            count if isinstance(count, int) else 0,
            tuple(self._done),
            {name: accused[name] for name in names if name in accused},
            believed={record.seq: record.node},
            last_ns=record.t,
            returned=set(),
        )


def _fate(line: Record | Line) -> Literal["alive", "dead", ""]:
    """What a node takes another for in this line: it died often, and is not told of as others are."""
    if line.kind != "event":
        return ""
    match line.what.partition("(")[0]:
        case "PeerAlive":
            return "alive"
        case "PeerDead":
            return "dead"
        case "PeerDamped":
            return "dead" if _fields(line.what).get("state") == "dead" else "alive"
        case _:
            return ""


def _heard(known: Heard, node: str) -> str:
    """What an accuser had heard of a node, and what became of all that was said between the two since then."""
    last = known.last
    parts = [
        (len(known.unread), f"of {node} waited here unread"),
        (known.lost, f"of {node} lost"),
        (known.lost_there, f"to {node} lost"),
        (known.reached - len(known.unread_there), f"to {node} read there"),
        (len(known.unread_there), f"to {node} came there unread"),
    ]
    since = ", ".join(f"{count} {what}" for count, what in parts if count)
    heard = f"heard of it last at {_s(last.t)} (line {last.seq})" if last else "never heard of it"
    return f"{heard}; messages since then: {since}" if since else heard


def _fields(what: str) -> dict[str, object]:
    """What an event says, by the names of its fields."""
    try:
        call = ast.parse(what, mode="eval").body
        keywords = call.keywords if isinstance(call, ast.Call) else []
        return {word.arg: ast.literal_eval(word.value) for word in keywords if word.arg}
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return {}  # a trace can be edited; what is no event says nothing


def _s(at_ns: int) -> str:
    return f"{at_ns / NS_PER_S:.3f} s"
