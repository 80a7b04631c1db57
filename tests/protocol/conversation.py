"""Conversations with one machine: what it is told, when, and what it answers.

    script(machine).at(0.4).tick().expects(Send(to="b", life=1, body=Ping(probe=ANY), probe=ANY))

A failed expectation prints the whole exchange with its times. `ANY` fits every value.
"""

from collections.abc import Sequence
from typing import Any
from unittest.mock import ANY

from protocol.effects import Effect
from protocol.primitives import NS_PER_S, Instant, NodeId
from protocol.replica import Heard

__all__ = ["ANY", "WALL_MS", "Script", "heard", "instant", "script"]

WALL_MS = 1_800_000_000_000  # the wall clock at the beginning of every conversation


def instant(seconds: float) -> Instant:
    """The moment `seconds` after the beginning."""
    return Instant(mono_ns=1_000 * NS_PER_S + round(seconds * NS_PER_S), wall_ms=WALL_MS + round(seconds * 1_000))


def heard(src: NodeId, body: Any, *, life: int = 1, at: float = 0.0, seq: int = 1, is_relayed: bool = False) -> Heard:
    """A fact as if it had been opened and verified; its frame names what it says."""
    frame = f"{src}/{life}/{body}#{seq}".encode()
    return Heard(
        src=src,
        life=life,
        seq=seq,
        sent_ms=instant(at).wall_ms,
        body=body,
        frame=frame,
        subject=f"mesh.m.fact.r.{src}",
        is_relayed=is_relayed,
    )


class Script:
    """One machine, the time, and all that was said."""

    def __init__(self, machine: Any) -> None:
        self.machine = machine
        self.now = instant(0.0)
        self.effects: list[Effect] = []
        self.is_news: bool | None = None
        self._lines: list[str] = []
        self.seconds = 0.0

    def at(self, seconds: float) -> "Script":
        """It is now `seconds` after the beginning; nothing happens by that alone."""
        assert seconds >= self.seconds, "time does not go back"
        self.seconds = seconds
        self.now = instant(seconds)
        return self

    def do(self, verb: str, *arguments: Any, **named: Any) -> "Script":
        """Call `machine.verb(..., now)` and keep what it answers."""
        said = ", ".join([*map(repr, arguments), *(f"{name}={value!r}" for name, value in named.items())])
        self._lines.append(f"{self.seconds:9.3f} ─▶ {verb}({said})")
        answer = getattr(self.machine, verb)(*arguments, now=self.now, **named)
        if isinstance(answer, tuple):
            self.is_news, answer = answer
            self._lines.append(f"{'':9} is news: {self.is_news}")
        self.effects = list(answer or [])
        self._note(self.effects)
        return self

    def starts(self) -> "Script":
        """The machine begins."""
        return self.do("start")

    def tick(self) -> "Script":
        """Time has passed."""
        return self.do("on_tick")

    def until(self, seconds: float) -> "Script":
        """Tick at every deadline up to and including `seconds`; `effects` holds all that came of it."""
        gathered: list[Effect] = []
        for _ in range(100_000):
            deadline = self.machine.next_deadline()
            if deadline is None or deadline > instant(seconds).mono_ns:
                break
            moment = max(self.seconds, (deadline - instant(0.0).mono_ns) / NS_PER_S)
            self.seconds, self.now = moment, instant(moment)
            effects = list(self.machine.on_tick(self.now))
            self._lines.append(f"{moment:9.3f} ─▶ tick")
            self._note(effects)
            gathered += effects
        else:
            raise AssertionError(f"the machine never comes to rest\n{self}")
        self.at(seconds)
        self.effects = gathered
        return self

    def hears(
        self, src: NodeId, body: Any, *, life: int = 1, seq: int = 1, is_relayed: bool = False, **named: Any
    ) -> "Script":
        """A fact of `src` arrives."""
        fact = heard(src, body, life=life, at=self.seconds, seq=seq, is_relayed=is_relayed)
        return self.do("on_fact", fact, **named)

    def gets(self, src: NodeId, body: Any, *, life: int = 1) -> "Script":
        """A message of `src` arrives."""
        return self.do("on_message", src, life, body)

    def expects(self, *expected: Effect) -> "Script":
        """Each of these is among the last effects, in this order; others may be between them."""
        rest: Sequence[Effect] = self.effects
        for effect in expected:
            found = next((index for index, each in enumerate(rest) if each == effect), None)
            assert found is not None, f"missing: {effect!r}\n{self}"
            rest = rest[found + 1 :]
        return self

    def expects_only(self, *expected: Effect) -> "Script":
        """These are the last effects, all of them, in this order."""
        assert list(expected) == self.effects, f"expected only: {list(expected)!r}\n{self}"
        return self

    def expects_nothing(self) -> "Script":
        """The last thing had no effect."""
        return self.expects_only()

    def expects_no(self, kind: type) -> "Script":
        """No effect, and no body or event in an effect, is of this kind."""
        for effect in self.effects:
            inner = getattr(effect, "body", getattr(effect, "event", None))
            assert not isinstance(effect, kind), f"unexpected: {effect!r}\n{self}"
            assert not isinstance(inner, kind), f"unexpected: {effect!r}\n{self}"
        return self

    def said(self, kind: type) -> list[Any]:
        """Bodies and events of this kind in the last effects."""
        inner = [getattr(effect, "body", getattr(effect, "event", None)) for effect in self.effects]
        return [each for each in inner if isinstance(each, kind)]

    def _note(self, effects: list[Effect]) -> None:
        for effect in effects:
            self._lines.append(f"{'':9} ◀─ {effect!r}")

    def __str__(self) -> str:
        return "\n".join(["the exchange:", *self._lines])


def script(machine: Any) -> Script:
    """Begin a conversation at time 0."""
    return Script(machine)
