"""Signals to end come at any moment: in a life, before the first, between two. Each is heard, once."""

import asyncio
import os
import signal
import subprocess
import sys
from pathlib import Path
from types import FrameType
from typing import Any

import pytest

from meshd.signals import NUMBERS, ONCE_S, Signals

TERM, INT = signal.SIGTERM, signal.SIGINT
# A daemon whose first life finds a later one on record. It is signalled at one moment, and says how many lives it had.
DAEMON = """
import asyncio, os, signal, sys
from pathlib import Path
from meshd import app

lives = 0
moments = [sys.argv[2]]

def come(moment):
    if moment in moments:
        moments.clear()
        os.kill(os.getpid(), signal.SIGTERM)

class Daemon(app._Daemon):
    def __init__(self, *parts, above):
        come("between" if above else "before")
        super().__init__(*parts, above=above)

    async def _up(self, stack):
        global lives
        lives += 1
        stack.callback(come, "ending")
        stack.push_async_callback(self._let_go_of_server)
        if lives == 1 and sys.argv[2] != "before":
            self._begin_above(7)
        await asyncio.Event().wait()

app._Daemon = Daemon
app.run(app.Order(dir=Path(sys.argv[1])), said=print)
print(lives)
"""


def _come(*numbers: signal.Signals) -> None:
    for number in numbers:
        os.kill(os.getpid(), number)


async def _heard(signals: Signals, count: int) -> list[signal.Signals]:
    """The next of them, in a loop that has nothing else to do."""
    heard: list[signal.Signals] = []
    signals.listen(heard.append)
    async with asyncio.timeout(10):
        while len(heard) < count:  # noqa: ASYNC110 - a signal is no event of this loop
            await asyncio.sleep(0.01)
    return heard


def test_those_that_came_before_anybody_listened_are_told_first_in_their_order() -> None:
    with Signals() as signals:
        _come(TERM)
        _come(INT)
        assert asyncio.run(_heard(signals, 2)) == [TERM, INT]


def test_one_that_comes_to_us_and_to_our_group_is_one_and_a_later_one_another(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    now_ns = 0
    monkeypatch.setattr("meshd.signals.clock.monotonic_ns", lambda: now_ns)
    with Signals() as signals:
        _come(TERM, TERM, INT)
        now_ns += int(ONCE_S * 1e9)
        _come(TERM)
        assert asyncio.run(_heard(signals, 3)) == [TERM, INT, TERM]


@pytest.mark.parametrize("line", range(1, 6))
def test_one_that_comes_in_the_midst_of_its_own_handling_is_the_same_one(line: int) -> None:
    lines = iter(range(1, 100))

    def follow(frame: FrameType, event: str, _: object) -> Any:
        if frame.f_code is not Signals._came.__code__:
            return None
        if event == "line" and next(lines) == line:
            _come(TERM)
        return follow

    with Signals() as signals:
        former = sys.gettrace()
        sys.settrace(follow)
        _come(TERM)
        sys.settrace(former)
        _come(INT)
        assert asyncio.run(_heard(signals, 2)) == [TERM, INT]


def test_a_second_one_of_a_person_in_a_hurry_is_heard(monkeypatch: pytest.MonkeyPatch) -> None:
    now_ns = 0
    monkeypatch.setattr("meshd.signals.clock.monotonic_ns", lambda: now_ns)
    with Signals() as signals:
        _come(INT)
        now_ns += 250_000_000
        _come(INT)
        assert asyncio.run(_heard(signals, 2)) == [INT, INT]


def test_a_loop_that_has_nothing_to_do_is_woken() -> None:
    async def wait(signals: Signals) -> signal.Signals:
        heard = asyncio.get_running_loop().create_future()
        signals.listen(heard.set_result)
        asyncio.get_running_loop().call_later(0.05, _come, TERM)
        async with asyncio.timeout(10):
            came: signal.Signals = await heard
        return came

    with Signals() as signals:
        assert asyncio.run(wait(signals)) is TERM


def test_what_comes_after_a_life_has_let_go_or_ended_is_for_the_next() -> None:
    heard: list[signal.Signals] = []

    async def let_go(signals: Signals) -> None:
        signals.listen(heard.append)
        await asyncio.sleep(0)
        signals.leave()
        _come(TERM)
        await asyncio.sleep(0.01)

    async def end(signals: Signals) -> None:
        signals.listen(heard.append)

    with Signals() as signals:
        asyncio.run(let_go(signals))
        assert asyncio.run(_heard(signals, 1)) == [TERM]
        asyncio.run(end(signals))
        _come(INT)  # its loop is closed
        assert asyncio.run(_heard(signals, 1)) == [INT]
    assert heard == []


def test_afterwards_all_is_as_it_was() -> None:
    former = [signal.getsignal(number) for number in NUMBERS]
    with Signals():
        assert [signal.getsignal(number) for number in NUMBERS] != former
    assert [signal.getsignal(number) for number in NUMBERS] == former


@pytest.mark.parametrize(("moment", "lives"), [("before", "1"), ("between", "2"), ("ending", "2")])
def test_a_daemon_that_begins_a_new_life_ends_in_order_whenever_it_is_told_to(
    tmp_path: Path, moment: str, lives: str
) -> None:
    words = [sys.executable, "-c", DAEMON, str(tmp_path / "node"), moment]
    said = subprocess.run(words, capture_output=True, text=True, timeout=60, check=False)
    assert (said.returncode, said.stdout.split()[-1:]) == (0, [lives]), said.stderr
