"""Why something happened: the chain of causes backwards, from a file or from a run again.

Invariant: each line of a chain is the cause of the next, and the first has none but the scenario.
Neighbours: `trace` knows causes, `recorded` keeps them; `report` and the commands show chains.
"""

from collections.abc import Callable, Iterable, Sequence

from protocol.primitives import NS_PER_MS, NS_PER_S
from simulations.recorded import End, Record, Recorded
from simulations.scenario import Scenario, ScenarioError
from simulations.setting import Check, Setting
from simulations.trace import TICK, Ancestry, Line
from simulations.world import Verdict, World

# What joins a line to its cause, by the kinds of both; the first that fits.
_LINKS: tuple[tuple[str, str, str], ...] = (
    ("input", "message", "it had arrived"),
    ("input", "absent", "the broker had said so"),
    ("input", "stored", "the record had taken it"),
    ("input", "run", "the agent had begun"),
    ("input", "life", "its life had begun"),
    ("message", "input", "it was sent"),
    ("message", "life", "it was sent at the start"),
    ("absent", "input", "it was asked for"),
    ("stored", "input", "it was written"),
    ("input", "input", "it was arranged"),  # a timer, the client, an agent
    ("event", "accuses", "enough accused it, and its time was up"),
    ("accuses", "accuses", "the last word that was needed"),
    ("accuses", "input", "of what it had heard, or had not"),
    ("message", "accuses", "it was told"),
    ("", "fault", "this was done to it"),
    ("", "input", "in answer to this"),
)


def again(
    scenario: Scenario, *, seed: int, wanted: Iterable[int], watch: Sequence[Callable[[Setting], Check]] = ()
) -> tuple[Verdict, list[Line]]:
    """The same run once more, and those lines of it that were asked for."""
    numbers = frozenset(wanted)
    found: list[Line] = []

    def keep(line: Line) -> None:
        if line.seq in numbers:
            found.append(line)

    return World(scenario, seed=seed, write=keep, watch=watch).run(), found


def chain(trace: Recorded, seq: int, *, count: int) -> list[Line]:
    """A line of a trace and at most `count` of its causes, the oldest first. Raises ScenarioError for no such line."""
    ancestry = Ancestry()
    for record in trace.records():
        if isinstance(record, End) or 0 < seq < record.seq:
            break
        ancestry.add(record.cause, is_tick=record.what == TICK)
    if not 0 < seq <= len(ancestry):
        raise ScenarioError(f"there is no line {seq} in this trace, which has lines 1 to {len(ancestry)}")
    return collected(trace, ancestry.of(seq, count=count + 1))


def collected(trace: Recorded, wanted: Iterable[int]) -> list[Line]:
    """These lines of a trace, in their order."""
    numbers = frozenset(wanted)
    found: list[Line] = []
    for record in trace.records():
        if isinstance(record, Record) and record.seq in numbers:
            found.append(record.line())
        if len(found) == len(numbers):
            break
    return found


def told(lines: Sequence[Line]) -> list[str]:
    """A chain for people, backwards: every line, and between two how the one led to the other."""
    shown: list[str] = []
    for number, line in enumerate(reversed(lines), start=1):
        shown.append(str(line))
        if number < len(lines):
            cause = lines[-number - 1]
            shown.append(f"{'':>8} {_apart(line.at_ns - cause.at_ns):>12}  {_link(line, cause)}")
    if lines and not lines[0].cause:
        shown.append(f"{'':>8} {'':>12}  the scenario wanted it")
    return shown


def _link(line: Line, cause: Line) -> str:
    if line.cause != cause.seq:
        return "a timer, after others"
    fits = (words for of, by, words in _LINKS if of in ("", line.kind) and by == cause.kind)
    return next(fits, "it came of this")


def _apart(took_ns: int) -> str:
    if not took_ns:
        return "at once"
    return f"{took_ns / NS_PER_S:.3f} s" if took_ns >= NS_PER_S else f"{took_ns / NS_PER_MS:.3f} ms"
