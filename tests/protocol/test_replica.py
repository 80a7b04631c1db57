"""What replicas keep: standings, digests, and the order in which facts can be opened."""

from itertools import pairwise, permutations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocol import limits
from protocol.replica import (
    BUCKETS,
    Entry,
    Replica,
    Slot,
    Version,
    fault,
    in_opening_order,
    placed,
    sealed_inside,
    standing,
)
from protocol.wire.agents import Card
from protocol.wire.gossip import Alive, Capabilities, Confirm, Dead, Digest, Left, Load, Row, Suspect
from protocol.wire.swim import Ping
from tests.protocol.conversation import heard

ABOUT = st.sampled_from(["a", "b", "c", "d", "e"])
SLOTS = st.sampled_from(["standing", "capabilities", "load"])
VERSIONS = st.builds(Version, st.integers(1, 3), st.integers(0, 4))
FACTS = st.lists(st.tuples(ABOUT, SLOTS, VERSIONS), max_size=40)


def merged(facts: list[tuple[str, Slot, Version]]) -> Replica:
    """The newest of these, as `test_merging` holds that gossip keeps them."""
    replica = Replica()
    for about, slot, version in sorted(facts):
        replica.put((about, slot), Entry(version, heard(about, Left(version.number), life=version.life)))
    return replica


def versions(replica: Replica) -> dict[tuple[str, str], Version]:
    return {(about, slot): entry.version for about, slot, entry in replica.entries()}


@given(FACTS, FACTS)
def test_hashes_tell_replicas_apart_exactly_when_their_versions_differ(
    some: list[tuple[str, Slot, Version]], others: list[tuple[str, Slot, Version]]
) -> None:
    one, other = merged(some), merged(others)
    assert (versions(one) == versions(other)) == (one.hashes() == other.hashes())


@given(FACTS, FACTS)
def test_a_fine_digest_finds_exactly_what_each_side_lacks(
    some: list[tuple[str, Slot, Version]], others: list[tuple[str, Slot, Version]]
) -> None:
    mine, theirs = merged(some), merged(others)
    scope = tuple(mine.differing(theirs.hashes()))
    rows = tuple(row for bucket in scope for row in theirs.rows(bucket))
    ahead, behind = mine.against(Digest(1, scope=scope, rows=rows))
    zero = Version(0, 0)
    expected_ahead = {key for key, version in versions(mine).items() if versions(theirs).get(key, zero) < version}
    expected_behind = {key for key, version in versions(theirs).items() if versions(mine).get(key, zero) < version}
    assert {(entry.heard.src, entry.version) for entry in ahead} == {
        (about, versions(mine)[(about, slot)]) for about, slot in expected_ahead
    }
    assert {(row.about, row.slot) for row in behind} == expected_behind
    again, none = theirs.against(Digest(1, rows=tuple(behind)))
    assert len(again) == len(expected_behind)
    assert none == []


def test_dropping_what_was_put_leaves_no_trace() -> None:
    replica = Replica()
    empty = replica.hashes()
    replica.put(("a", "load"), Entry(Version(1, 1), heard("a", Left(1))))
    replica.put(("a", "load"), Entry(Version(1, 2), heard("a", Left(2))))
    assert len(replica) == 1
    replica.drop("a", "load")
    replica.drop("a", "load")
    assert (replica.hashes(), len(replica)) == (empty, 0)


def test_a_slot_that_is_none_and_a_bucket_that_is_named_twice_do_no_harm() -> None:
    replica = merged([("a", "standing", Version(1, 1))])
    twice = (*range(BUCKETS), *range(BUCKETS))
    ahead, behind = replica.against(Digest(1, scope=twice, rows=(Row("z", "nonsense", -5, 1 << 63),)))
    assert ([entry.heard.src for entry in ahead], behind) == (["a"], [])


def test_a_death_yields_only_to_a_higher_incarnation_and_a_goodbye_only_to_a_new_life() -> None:
    order = [
        standing(life=1, incarnation=0, state="alive"),
        standing(life=1, incarnation=0, state="dead"),
        standing(life=1, incarnation=1, state="alive"),
        standing(life=1, incarnation=1, state="dead"),
        standing(life=1, incarnation=limits.INCARNATION_MAX, state="dead"),
        standing(life=1, incarnation=0, state="left"),
        standing(life=2, incarnation=0, state="alive"),
    ]
    for earlier, later in pairwise(order):
        assert earlier < later
    assert standing(life=1, incarnation=3, state="suspect") == standing(life=1, incarnation=3, state="alive")


def test_facts_are_placed_by_whom_they_are_about() -> None:
    dead = Dead("x", 9, 2, "timeout", ())
    assert placed("a", 5, dead) == ("x", "standing", standing(life=9, incarnation=2, state="dead"))
    assert placed("a", 5, Capabilities(3, ())) == ("a", "capabilities", Version(5, 3))
    assert placed("a", 5, Load(4, (), 0, 0)) == ("a", "load", Version(5, 4))
    assert placed("a", 5, Suspect("x", 9, 2, "timeout")) is None
    assert placed("a", 5, Ping(1)) is None


def test_a_dead_fact_gives_up_its_proof_in_a_bounded_number_of_frames() -> None:
    many = tuple(bytes([index]) for index in range(50))
    assert sealed_inside(Dead("x", 1, 0, "timeout", many, b"alive"))[:2] == (b"alive", b"\0")
    assert len(sealed_inside(Dead("x", 1, 0, "timeout", many, b"alive"))) == limits.ACCUSATIONS_MAX + 1
    assert sealed_inside(Dead("x", 1, 0, "timeout", (b"1",))) == (b"1",)


def test_facts_travel_in_an_order_in_which_each_can_be_opened() -> None:
    alive, load = heard("a", Alive(0, "a", "r", "", b"")), heard("a", Load(1, (), 0, 0))
    early, late = heard("d", Dead("x", 1, 0, "timeout", ()), at=1.0), heard("a", Dead("d", 1, 0, "timeout", ()), at=2.0)
    for order in permutations([alive, load, early, late]):
        entries = in_opening_order(Entry(Version(1, 1), each) for each in order)
        assert [entry.heard for entry in entries] == [alive, late, early, load]


GOOD = Card(name="scorer", capabilities=("scoring@2",), slots=4)


@pytest.mark.parametrize(
    ("body", "code"),
    [
        (Alive(0, "a", "r", "", b""), ""),
        (Alive(-1, "a", "r", "", b""), "bad_incarnation"),
        (Alive(limits.INCARNATION_MAX + 1, "a", "r", "", b""), "bad_incarnation"),
        (Alive(0, "", "r", "", b""), "bad_name"),
        (Alive(0, "A", "r", "", b""), "bad_name"),
        (Alive(0, "a\u202e", "r", "", b""), "bad_name"),
        (Alive(0, "a" * 33, "r", "", b""), "bad_name"),
        (Alive(0, "a", "", "", b""), "bad_name"),
        (Alive(0, "a", "r", "x.y", b""), "bad_name"),
        (Alive(0, "a", "r", "", b"", version="1" * 65), "bad_name"),
        (Left(0), ""),
        (Left(-1), "bad_incarnation"),
        (Suspect("x", 1, 0, "timeout"), ""),
        (Suspect("x", 0, 0, "timeout"), "bad_incarnation"),
        (Confirm("x", 1, -1, "timeout"), "bad_incarnation"),
        (Dead("x", 1 << 62, 0, "timeout", ()), "bad_incarnation"),
        (Dead("x", 1, 0, "hearsay", ()), "bad_evidence"),
        (Load(1, (("scorer", 3),), 1, 0), ""),
        (Load(1, (("scorer", -3),), 1, 0), "bad_load"),
        (Load(1, (("scorer", 3),) * 129, 1, 0), "bad_load"),
        (Capabilities(1, (GOOD,)), ""),
        (Capabilities(-1, (GOOD,)), "bad_cards"),
        (Capabilities(1, (GOOD, GOOD)), "bad_cards"),
        (Capabilities(1, (Card("scorer", ("scoring",), 1),)), "bad_cards"),
        (Capabilities(1, (Card("Scorer", ("scoring@2",), 1),)), "bad_cards"),
        (Capabilities(1, (Card("scorer", ("scoring@2",), -1),)), "bad_cards"),
        (Capabilities(1, (Card("scorer", ("scoring@2",), limits.SLOTS_MAX + 1),)), "bad_cards"),
        (Capabilities(1, (Card("scorer", (), 1, cost_per_call=float("nan")),)), "bad_cards"),
        (Capabilities(1, (Card("scorer", (), 1, confidence=1.5),)), "bad_cards"),
        (Capabilities(1, (Card("scorer", (), 1, purpose="x" * 513),)), "bad_cards"),
        (Ping(1), ""),
    ],
)
def test_what_no_honest_node_says_is_named(body: object, code: str) -> None:
    assert fault(body) == code  # type: ignore[arg-type] # any body of the wire may come in


def test_a_fact_is_kept_as_one_entry_however_many_keep_it() -> None:
    load = heard("a", Load(4, (), 0, 0), life=5)
    assert load.kept == (("a", "load"), Entry(Version(5, 4), load))
    assert load.kept is load.kept
    assert heard("a", Suspect("x", 9, 2, "timeout")).kept is None
