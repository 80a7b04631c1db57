"""Which life of which node begins, and how it ends."""

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest

from meshd import clock, config, invitation, lives
from meshd.config import KEPT_FILES
from meshd.statedir import StateDir
from protocol.ids import is_token, presence_key
from protocol.inputs import Entry
from protocol.replica import Me

PLACED = {"node.name": "b", "node.region": "eu", "node.domain": "sales"}


@pytest.fixture
def home(tmp_path: Path) -> Iterator[StateDir]:
    opened = StateDir.open(tmp_path / "a")
    invitation.found_mesh(opened, now=clock.now())
    yield opened
    opened.close()


def _begun(home: StateDir, **flags: str) -> Me:
    told = {key: flags[key.partition(".")[2]] for key in PLACED if key.partition(".")[2] in flags}
    return lives.next_life(home, config.with_kept(config.load(flags=told), home.path))


def test_a_node_is_called_and_placed_as_it_was_told_now_or_once(home: StateDir) -> None:
    first = _begun(home)
    assert is_token(first.name)
    assert (first.region, first.domain) == ("local", "default")
    assert not (home.path / "region").exists(), "what was not told is not kept"
    _begun(home, name="b", region="eu", domain="sales")
    again = _begun(home, domain="hr")
    assert (again.id, again.name, again.region, again.domain) == (first.id, "b", "eu", "hr")
    assert again.life > first.life


@pytest.mark.parametrize("spoilt", [b"My Host\n", b"", b"\n", b"\xff", b"a" * 4_000])
def test_what_is_told_now_is_kept_whatever_was_kept_before(home: StateDir, spoilt: bytes) -> None:
    for key in PLACED:
        home.write(KEPT_FILES[key], spoilt)
    me = _begun(home, name="b", region="eu", domain="sales")
    assert (me.name, me.region, me.domain) == ("b", "eu", "sales")
    assert [home.read(KEPT_FILES[key]) for key in PLACED] == [b"b\n", b"eu\n", b"sales\n"]


def test_its_life_on_record_is_looked_for_under_its_own_key_alone() -> None:
    looked: list[bytes] = []

    class Reading:
        me = Me(id="a" * 32, life=5, name="a", region="r", domain="d", admission=b"")

        def own_life_in(self, key: str, frame: bytes) -> int:
            looked.append(frame)
            return 7

    node = Reading()
    entries = [Entry(presence_key(name * 32), 1, name.encode()) for name in "bac"]
    assert lives.on_record(node, entries) == 7
    assert looked == [b"a"], "a signature is checked for each"
    assert lives.on_record(node, entries[:1]) == 0


async def test_a_life_that_gives_way_is_followed_by_one_above_the_later_one() -> None:
    course = lives.Course()
    assert not course.is_over
    course.give_way(9)
    async with asyncio.timeout(5):
        await course.wait()
    assert course.outdone_by == 9


def test_a_stop_ends_the_daemon_also_when_its_life_was_about_to_begin_anew() -> None:
    course = lives.Course()
    course.give_way(9)
    course.stop()
    assert (course.is_over, course.outdone_by) == (True, 0)
    course.give_way(9)
    assert course.outdone_by == 0, "nor is it begun anew afterwards"


def test_of_many_failures_the_first_is_told() -> None:
    course = lives.Course()
    course.fail(ValueError("first"))
    course.fail(ValueError("second"))
    assert course.is_over
    assert str(course.failure) == "first"
