"""Who is asked, how often, and what is known of earlier questions."""

from random import Random

from hypothesis import given
from hypothesis import strategies as st

from protocol import limits
from protocol.effects import Send, Spread
from protocol.events import PeerSuspect
from protocol.primitives import NS_PER_S
from protocol.prober import Health, Probe, Probes, ProbeWalk
from protocol.wire.gossip import Suspect
from protocol.wire.swim import Ack
from tests.protocol.conversation import Script, instant
from tests.protocol.views import alive, among, fails_to_answer, lives, number_of, pings, probed, state

ANYONE = ["a", "b", "c", "d", "e", "f"]


def _asked_first(talk: Script) -> Send:
    """Go on to the first question."""
    deadline = talk.machine.next_deadline()
    talk.until((deadline - instant(0.0).mono_ns) / NS_PER_S)
    return probed(talk)


def test_a_lost_question_is_asked_again_and_its_answer_is_no_measure() -> None:
    talk = among("b")
    first, began = _asked_first(talk), talk.seconds
    talk.until(began + 0.13).expects_only(first)
    talk.until(began + 0.24).expects_nothing()
    talk.gets("b", Ack(number_of(first), 0))
    assert talk.machine.round_trip_s("b") == 0.025
    assert talk.machine.health == 0
    talk.until(began + 0.49).expects_nothing()
    assert state(talk, "b") == "alive"


def test_four_unanswered_words_within_the_timeout_are_one_silence() -> None:
    talk = among("b", "c", "d")
    first, began = _asked_first(talk), talk.seconds
    talk.until(began + 0.49)
    assert [ping for ping in pings(talk) if ping == first] == [first] * 3
    talk.expects_no(PeerSuspect)
    talk.until(began + 0.501).expects(Spread(Suspect(first.to, 1, 0, "timeout")))


def test_a_question_to_a_life_that_is_over_is_not_asked_again() -> None:
    talk = among("b")
    assert _asked_first(talk).life == 1
    talk.hears("b", alive("b"), life=2)
    talk.until(talk.seconds + 0.4)
    assert pings(talk) == []


def test_health_stays_between_well_and_worst() -> None:
    health = Health(8)
    health.better()
    assert health.factor == 1
    for _ in range(20):
        health.worse()
    assert health.factor == 9
    for _ in range(20):
        health.better()
    assert health.score == 0


@given(st.integers(min_value=1, max_value=40), st.integers())
def test_every_member_is_probed_once_a_round(count: int, seed: int) -> None:
    members = [f"n{index:02}" for index in range(count)]
    walk, rng = ProbeWalk(), Random(seed)
    for _ in range(3):
        seen = [walk.next(members, lambda node: True, rng) for _ in members]
        assert sorted(str(node) for node in seen) == members


@given(st.integers(min_value=1, max_value=20), st.integers(min_value=0, max_value=20), st.integers())
def test_a_newcomer_is_probed_within_two_rounds(count: int, steps: int, seed: int) -> None:
    members = [f"n{index:02}" for index in range(count)]
    walk, rng = ProbeWalk(), Random(seed)
    for _ in range(steps):
        walk.next(members, lambda node: True, rng)
    members.append("new")
    walk.join("new", rng)
    assert "new" in [walk.next(members, lambda node: True, rng) for _ in range(2 * len(members) - 1)]


def test_who_came_in_the_midst_of_a_round_that_all_began_together_is_asked_as_often_as_any() -> None:
    members, rng = [f"n{index:02}" for index in range(50)], Random(1)
    walks = [ProbeWalk() for _ in range(200)]
    for walk in walks:
        walk.next(members, lambda node: True, rng)
        walk.join("new", rng)
    for _ in range(4):  # of the fifty steps of this round
        seen = [walk.next([*members, "new"], lambda node: True, rng) for walk in walks for _ in range(12)]
        assert 24 <= seen.count("new") <= 72, "two hundred times twelve of fifty, a fiftieth each: 48"


def test_guests_of_a_round_are_bounded_and_forgotten_with_it() -> None:
    walk, rng = ProbeWalk(), Random(1)
    walk.join("early", rng)
    walk.next(ANYONE, lambda node: True, rng)
    for _ in range(limits.PEERS_MAX + 1_000):
        walk.join("new", rng)
    assert sum(map(len, walk._guests.values())) <= limits.PEERS_MAX
    assert [walk.next(["b"], lambda node: node == "b", rng) for _ in range(10)] == ["b"] * 10
    assert walk._guests == {}


def test_a_walk_passes_over_who_left_and_ends_when_all_did() -> None:
    walk, rng = ProbeWalk(), Random(1)
    walk.next(ANYONE, lambda node: True, rng)
    assert [walk.next(["c"], lambda node: node == "c", rng) for _ in range(8)] == ["c"] * 8
    assert walk.next([], lambda node: False, rng) is None
    assert walk.next(["gone"], lambda node: False, rng) is None


def test_an_answer_counts_only_for_the_probe_the_node_and_the_life_that_were_asked() -> None:
    probes = Probes()
    number = probes.send("b", 7, instant(1.0))
    assert number is not None
    assert probes.answered(number + 1, "b", 7) is None
    assert probes.answered(number, "c", 7) is None
    assert probes.answered(number, "b", 8) is None
    assert probes.answered(number, "b", 7) == Probe("b", 7, instant(1.0).mono_ns)
    assert probes.answered(number, "b", 7) is None


def test_probes_that_wait_are_bounded_and_no_node_takes_them_all() -> None:
    probes = Probes()
    assert [probes.send("b", 1, instant(0.0)) for _ in range(6)] == [1, 2, 3, 4, None, None]
    assert sum(probes.send(f"n{index}", 1, instant(0.0)) is not None for index in range(2_000)) == 1_020
    assert probes.close(2) is not None
    assert probes.answered(3, "b", 1) is not None
    assert [probes.send("b", 1, instant(0.2)) is not None for _ in range(3)] == [True, True, False]
    assert len(probes.clear()) == 1_024
    assert probes.send("b", 1, instant(0.3)) is not None


def test_most_last_probes_failing_means_that_it_may_be_us_but_not_with_one_neighbour() -> None:
    probes = Probes()

    def fails(node: str) -> None:
        probe = probes.close(probes.send(node, 1, instant(0.0)) or 0)
        assert probe is not None
        probes.note_silence(probe)

    doubts = []
    for node in ("b", "c"):
        fails(node)
        doubts.append(probes.is_doubtful)
    probes.answered(probes.send("b", 1, instant(0.0)) or 0, "b", 1)
    assert [*doubts, probes.is_doubtful] == [False, True, False]


def test_what_was_asked_and_what_came_of_it_is_counted_by_kind() -> None:
    talk = lives(among("b", "c", "d", "e"), 3.2)
    prober = talk.machine.prober
    assert (prober.sent["turn"], prober.ended["answered"]) == (prober.ended["answered"], prober.sent["turn"])
    assert (prober.sent["word"], prober.sent["again"], prober.ended["timeout"], prober.waiting) == (0, 0, 0, 0)
    fails_to_answer(talk, "b", evidence="timeout")
    assert (prober.sent["again"], prober.ended["timeout"]) == (3, 1)
    fails_to_answer(talk, "c", evidence="absent")
    assert prober.ended["absent"] == 1
    talk.hears("e", Suspect("d", 1, 0, "timeout"))
    assert (prober.sent["word"], prober.waiting) == (1, 1)
