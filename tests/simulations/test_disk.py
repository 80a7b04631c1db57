"""What a host remembers of its lives."""

import pytest

from protocol import ids
from protocol.node import Node
from simulations.checks_bounds import NoException
from simulations.disk import Disk
from simulations.scenario import parsed
from simulations.setting import Check, Setting
from simulations.timeline import ns
from simulations.world import World

BEHIND = """
about = "x"
nodes = 4
run_s = 40
[[fault]]
kind = "clock"
node = "n2"
at_s = 6
for_s = 20
ahead_s = -3000
[[fault]]
kind = "crash"
node = "n2"
at_s = 8
for_s = 1
disk = "lost"
[expect]
eventually = { one-view = 5, all-joined = 5 }
"""


def test_a_life_is_above_every_one_that_is_written_even_when_the_clock_is_not() -> None:
    disk = Disk()
    assert [disk.next_life(wall_ms) for wall_ms in (1_000, 2_000, 500)] == [1_000, 2_000, 2_001]


def test_an_image_that_is_put_back_knows_the_first_life_alone_and_a_lost_disk_none() -> None:
    disk = Disk()
    for wall_ms in (1_000, 2_000, 3_000):
        disk.next_life(wall_ms)
    disk.restore()
    assert disk.next_life(500) == 1_001
    disk.lose()
    assert disk.next_life(500) == 500


def test_an_image_from_before_the_only_life_knows_none() -> None:
    disk = Disk()
    disk.next_life(1_000)
    disk.restore()
    assert disk.next_life(500) == 500


def test_a_life_that_is_remembered_is_below_the_next_one() -> None:
    disk = Disk()
    disk.remember(2_000)
    assert disk.next_life(500) == 2_001


def test_who_lost_its_disk_while_its_clock_was_behind_begins_above_the_life_on_record() -> None:
    lives: list[int] = []

    def note(setting: Setting) -> Check:
        setting.timeline.after(ns(7), lambda: lives.append(setting.hosts["n2"].life))
        setting.timeline.after(ns(39), lambda: lives.append(setting.hosts["n2"].life))
        return NoException(setting)

    verdict = World(parsed(BEHIND, origin="here"), seed=1, watch=[note]).run()
    assert verdict.violations == ()
    former, last = lives
    assert last == former + 1


def test_a_start_looks_for_its_life_under_its_own_key_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[bool] = []
    real = Node.own_life_in

    def own_life_in(node: Node, key: str, frame: bytes) -> int:
        asked.append(key == ids.presence_key(node.me.id))
        return real(node, key, frame)

    monkeypatch.setattr(Node, "own_life_in", own_life_in)
    World(parsed(BEHIND, origin="here"), seed=1).run()
    assert asked
    assert all(asked), "a signature is checked for each"
