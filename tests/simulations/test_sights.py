"""Sights: every name is recognised from what it says it is, and from nothing else."""

from typing import get_args

from protocol.events import Event, FrameRefused, PeerSuspect, StateChanged
from simulations.seen import Happened, Seen, Sight, Span
from simulations.sights import SIGHTS, by_kind, kind_of, told


def _names(seen: Seen) -> set[str]:
    return {name for name, is_it in by_kind().get(kind_of(seen), ()) if is_it(seen)}


def test_every_sight_is_of_something_that_the_world_shows() -> None:
    shown = {*get_args(Event), *get_args(Seen)}
    assert {name for name, glance in SIGHTS.items() if not shown.issuperset(glance.of)} == set()


def test_one_thing_may_be_several_sights_and_most_are_none() -> None:
    doubt = PeerSuspect("p", "n2", 1, "a", "timeout", health=2)
    assert _names(Happened("n1", 1, doubt)) == {"peer-suspect", "takes-itself-for-slow"}
    assert _names(Happened("n1", 1, FrameRefused("expired", "n2", "s"))) == {"frame-refused", "replay-refused"}
    assert _names(Happened("n1", 1, StateChanged("joined", ""))) == set()
    assert _names(Sight("n1", "lost")) == {"message-lost"}
    assert _names(Span("crash", ("n1",), is_on=False)) == set()


def test_what_was_seen_is_told_in_words() -> None:
    assert told(Sight("n1", "write-refused"), {}) == "write-refused at n1"
    assert told(Span("outage", (), is_on=True), {}) == "outage began"
