"""Suspicions as a trace tells them, and what is told of a rule that one of them broke by lasting too long."""

from collections.abc import Callable
from pathlib import Path
from typing import ClassVar

import pytest

from protocol.events import PeerSuspect
from simulations import checks, world
from simulations.command import main
from simulations.recorded import Recorded
from simulations.running import PASSED, VIOLATED
from simulations.seen import Handled, Happened, Seen
from simulations.setting import Setting, Wanted
from simulations.suspicions import suspicions

STOPPED = """
about = "one of four is stopped for less than it takes to be declared dead"
nodes = 4
run_s = 12
expect = { always = ["refuted-soon"] }
[[fault]]
kind = "pause"
node = "n4"
at_s = 4
for_s = 3
"""


def test_who_was_never_declared_dead_is_told_of_what_it_was_suspected(
    traced: Callable[[str, int], Path], capsys: pytest.CaptureFixture[str]
) -> None:
    trace = traced(STOPPED, 1)
    capsys.readouterr()
    assert main(["explain", str(trace), "n4"]) == PASSED
    first, *doubts = capsys.readouterr().out.splitlines()
    assert first == "n4 was never declared dead"
    assert len(doubts) == len(suspicions(Recorded(trace), "n4")) >= 1
    assert all(line.startswith("n4 was suspected by n") and ": it did not answer; " in line for line in doubts)
    assert "3 took it for suspect, none of them after 7." in doubts[-1]
    assert main(["explain", str(trace), "n1"]) == PASSED
    assert capsys.readouterr().out == "n1 was never declared dead\n"


def test_of_what_a_liar_says_it_is_told_who_believed_it(
    traced: Callable[[str, int], Path], capsys: pytest.CaptureFixture[str]
) -> None:
    lie = '[[fault]]\nkind = "attack"\nshape = "accuse"\nnode = "n4"\nof = "n2"\nat_s = 6\nfor_s = 0.1\n'
    trace = traced(f'about = "one lies"\nnodes = 4\nrun_s = 8\nexpect = {{ always = [] }}\n{lie}', 1)
    capsys.readouterr()
    assert main(["explain", str(trace), "n2"]) == PASSED
    _, first, *_ = capsys.readouterr().out.splitlines()
    assert first.startswith("n2 was suspected at 6.00")
    assert "had heard so; of who said it there is no line; 2 took it for suspect, none of them after 6.0" in first


class _Impatient:
    """A rule that is broken a second after somebody is suspect, by whatever comes then."""

    wants: ClassVar[Wanted] = (Handled, Happened)

    def __init__(self, setting: Setting) -> None:
        self._setting = setting
        self._since_s = 0.0
        self._said = ""

    def on(self, seen: Seen) -> str | None:
        now_s = self._setting.timeline.now_s
        if isinstance(seen, Happened) and isinstance(seen.event, PeerSuspect) and not self._said:
            self._since_s, self._said = now_s, f"{seen.node} suspects {seen.event.name} for 1 s"
        return self._said if isinstance(seen, Handled) and self._said and now_s > self._since_s + 1 else None


def test_a_rule_that_is_broken_by_waiting_is_led_to_by_what_was_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "stopped.toml"
    path.write_text(STOPPED)
    monkeypatch.setattr(world, "CHECKS", {**checks.CHECKS, "refuted-soon": _Impatient})
    assert main(["run", str(path), "--once"]) == VIOLATED
    led, _, story = capsys.readouterr().out.partition("what led to it, the last first:")[2].partition("what happened")
    assert "PeerSuspect(" in led.splitlines()[1]
    assert "name='n4'" in led.splitlines()[1]
    assert " accuses   n4 suspect" in story
    assert "Confirm" not in story
