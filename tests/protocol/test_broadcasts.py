"""Broadcasts are repeated once and bounded; pages hold what one frame may."""

from hypothesis import given
from hypothesis import strategies as st

from protocol import limits
from protocol.broadcasts import Repeats, pages
from protocol.effects import Spread
from protocol.wire.gossip import Left, Load
from tests.protocol.conversation import instant


def spread(version: int) -> Spread:
    return Spread(Load(version, (), 0, 0), "subject", b"frame %d" % version)


def test_a_broadcast_is_sent_once_more_as_it_was_sealed() -> None:
    repeats = Repeats()
    repeats.keep(("a", "load"), spread(1), instant(1.0).mono_ns)
    assert repeats.due(instant(0.9)) == []
    assert repeats.due(instant(1.0)) == [spread(1)]
    assert repeats.due(instant(9.0)) == []
    assert repeats.next() is None


def test_a_newer_word_about_the_same_thing_replaces_the_one_that_waits() -> None:
    repeats = Repeats()
    repeats.keep(("a", "load"), spread(1), instant(1.0).mono_ns)
    repeats.keep(("a", "left"), Spread(Left(0)), instant(1.1).mono_ns)
    repeats.keep(("a", "load"), spread(2), instant(1.2).mono_ns)
    assert repeats.due(instant(2.0)) == [Spread(Left(0)), spread(2)]


def test_what_was_said_of_a_node_that_has_answered_is_not_said_again() -> None:
    repeats = Repeats()
    for about, kind in (("b", "suspect"), ("b", "dead"), ("c", "suspect")):
        repeats.keep((about, kind), spread(ord(about)), instant(1.0).mono_ns)
    repeats.drop("b")
    assert repeats.due(instant(2.0)) == [spread(ord("c"))]
    assert repeats.next() is None


def test_what_waits_is_bounded_and_the_newest_stays() -> None:
    repeats = Repeats()
    for index in range(limits.BROADCASTS_MAX + 50):
        repeats.keep((f"n{index:04}", "load"), spread(index), instant(1.0).mono_ns)
    assert len(repeats) == limits.BROADCASTS_MAX
    assert repeats.due(instant(1.0))[0] == spread(50)


def test_after_clearing_nothing_comes_due() -> None:
    repeats = Repeats()
    repeats.keep(("a", "load"), spread(1), instant(1.0).mono_ns)
    repeats.clear()
    assert (repeats.next(), repeats.due(instant(9.0)), len(repeats)) == (None, [], 0)


@given(st.lists(st.integers(1, limits.FACT_BYTES_MAX).map(bytes), max_size=30), st.integers(0, 200))
def test_pages_keep_every_frame_in_order_and_none_is_too_big(large: list[bytes], small: int) -> None:
    frames = large + [b"x"] * small
    made = list(pages(frames))
    assert [frame for page in made for frame in page] == frames
    for page in made:
        assert 0 < len(page) <= limits.FACTS_PER_DELTA_MAX
        assert sum(map(len, page)) <= limits.DELTA_BYTES_MAX < limits.GOSSIP_BYTES_MAX
