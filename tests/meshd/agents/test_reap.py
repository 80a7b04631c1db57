"""The process that ends groups: at the end of its input, after a silence, and never a stranger."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from meshd import clock
from meshd.agents import reap
from meshd.agents.reap import Group, began, end, heed
from protocol.primitives import NS_PER_S
from tests.waiting import until


class Scene:
    """A reaper and some groups for it, each of one process that sleeps."""

    def __init__(self, stack: ExitStack) -> None:
        self._stack = stack
        self.process = self._started(sys.executable, "-I", "-S", reap.__file__)

    def group(self) -> subprocess.Popen[bytes]:
        return self._started("sleep", "1000")

    def say(self, text: str) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(text.encode())

    def close(self) -> None:
        assert self.process.stdin is not None
        self.process.stdin.close()

    def _started(self, *command: str) -> subprocess.Popen[bytes]:
        process = subprocess.Popen(command, stdin=subprocess.PIPE, bufsize=0, process_group=0)
        self._stack.enter_context(process)
        self._stack.callback(process.kill)
        return process


@pytest.fixture
def scene() -> Iterator[Scene]:
    with ExitStack() as stack:
        yield Scene(stack)


def test_the_end_of_input_ends_what_is_held_and_not_what_was_dropped(scene: Scene) -> None:
    held, dropped = scene.group(), scene.group()
    scene.say(f"hold {held.pid} 0.0\nhold {dropped.pid} 0.0\ndr")
    scene.say(f"op {dropped.pid}\n")
    scene.close()
    assert scene.process.wait(10) == 0
    assert held.wait(10) == -signal.SIGKILL
    assert dropped.poll() is None


def test_a_silence_of_a_lease_ends_the_groups_that_have_one(scene: Scene) -> None:
    bound, free = scene.group(), scene.group()
    scene.say(f"hold {bound.pid} 0.1\nhold {free.pid} 0.0\n")
    assert bound.wait(10) == -signal.SIGKILL
    assert free.poll() is None
    assert scene.process.poll() is None


async def test_when_it_stood_still_itself_no_later_word_saves_what_is_bound(scene: Scene) -> None:
    bound, free = scene.group(), scene.group()
    scene.say(f"hold {bound.pid} 1.0\nhold {free.pid} 0.01\n")
    free.wait(10)  # by now it has read of both
    os.kill(scene.process.pid, signal.SIGSTOP)
    stopped_ns = clock.monotonic_ns()
    await until(lambda: clock.monotonic_ns() - stopped_ns > NS_PER_S)
    scene.say("beat\n")
    os.kill(scene.process.pid, signal.SIGCONT)

    def has_ended() -> bool:
        scene.say("beat\n")
        return bound.poll() is not None

    await until(has_ended)


def test_signals_that_are_meant_for_the_daemon_do_not_end_it(scene: Scene) -> None:
    held, bound = scene.group(), scene.group()
    scene.say(f"hold {held.pid} 0.0\nhold {bound.pid} 0.01\n")
    bound.wait(10)  # by now it has read what was said, so it is up
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        scene.process.send_signal(number)
    scene.close()
    assert scene.process.wait(10) == 0
    assert held.wait(10) == -signal.SIGKILL


@pytest.mark.skipif(sys.platform != "linux", reason="only there it is known when a process began")
def test_a_number_that_another_process_has_by_now_is_left_alone(scene: Scene) -> None:
    stranger = scene.group()
    end(stranger.pid, Group(lease_s=0.0, began="1"))
    assert stranger.poll() is None
    end(stranger.pid, Group(lease_s=0.0, began=began(stranger.pid)))
    assert stranger.wait(10) == -signal.SIGKILL


def test_words_that_it_does_not_know_change_nothing() -> None:
    groups: dict[int, Group] = {}
    for words in (["beat"], [], ["drop", "7"], ["hold", "7"]):
        heed(words, groups)
    assert groups == {}
