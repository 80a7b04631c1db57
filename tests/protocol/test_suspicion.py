"""The arithmetic of failure detection, on its own."""

from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocol.suspicion import (
    Accusation,
    Health,
    Probes,
    ProbeWalk,
    Suspicion,
    accusers_needed,
    last_alive,
    proof,
    verifiers,
    wait_s,
)
from protocol.wire.gossip import Alive, Confirm, Dead, Suspect
from tests.protocol.conversation import heard, instant

ANYONE = ["a", "b", "c", "d", "e", "f"]


def test_a_fully_confirmed_suspicion_waits_the_least_and_an_unconfirmed_one_the_most() -> None:
    waits = [wait_s(confirmations=count, expected=3, min_s=5.0, max_s=30.0) for count in range(5)]
    assert waits[0] == 30.0
    assert waits[3] == waits[4] == 5.0
    assert waits == sorted(waits, reverse=True)
    assert waits[1] == pytest.approx(17.5)  # ln 2 / ln 4 is a half


def test_where_no_confirmation_can_come_the_wait_is_the_least() -> None:
    assert wait_s(confirmations=0, expected=0, min_s=5.0, max_s=30.0) == 5.0
    assert wait_s(confirmations=0, expected=-1, min_s=5.0, max_s=30.0) == 5.0


@pytest.mark.parametrize(("unsuspected", "needed"), [(0, 1), (1, 1), (2, 2), (3, 2), (40, 2)])
def test_a_lone_survivor_may_declare_alone_and_nobody_else(unsuspected: int, needed: int) -> None:
    assert accusers_needed(unsuspected) == needed


def test_the_same_accuser_counts_once() -> None:
    suspicion = Suspicion(incarnation=0, since=0)
    assert suspicion.add("a", Accusation("timeout"))
    assert not suspicion.add("a", Accusation("absent"))
    assert suspicion.confirmations == 0
    assert suspicion.count("absent") == 0


def test_one_word_from_the_broker_makes_the_evidence_absent() -> None:
    suspicion = Suspicion(incarnation=0, since=0)
    suspicion.add("a", Accusation("timeout"))
    assert suspicion.evidence == "timeout"
    suspicion.add("b", Accusation("absent"))
    assert suspicion.evidence == "absent"


def test_everybody_chooses_the_same_verifiers_and_an_incarnation_later_others() -> None:
    def chosen(pool: list[str], incarnation: int) -> list[str]:
        return verifiers(pool, suspect="x", life=1, incarnation=incarnation)[:3]

    assert chosen(ANYONE, 0) == chosen(ANYONE[::-1], 0)
    assert len({tuple(chosen(ANYONE, incarnation)) for incarnation in range(20)}) > 5


def test_one_node_less_changes_no_other_verifier() -> None:
    three = verifiers(ANYONE, suspect="x", life=1, incarnation=0)[:3]
    bystander = next(node for node in ANYONE if node not in three)
    rest = [node for node in ANYONE if node != bystander]
    assert verifiers(rest, suspect="x", life=1, incarnation=0)[:3] == three


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
    assert "new" in [walk.next(members, lambda node: True, rng) for _ in range(2 * len(members) - 1)]


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
    assert probes.answered(number + 1, "b", 7, instant(1.1)) is None
    assert probes.answered(number, "c", 7, instant(1.1)) is None
    assert probes.answered(number, "b", 8, instant(1.1)) is None
    assert probes.answered(number, "b", 7, instant(1.25)) == pytest.approx(0.25)
    assert probes.answered(number, "b", 7, instant(1.3)) is None


def test_probes_that_wait_are_bounded_and_no_node_takes_them_all() -> None:
    probes = Probes()
    assert [probes.send("b", 1, instant(0.0)) for _ in range(6)] == [1, 2, 3, 4, None, None]
    assert sum(probes.send(f"n{index}", 1, instant(0.0)) is not None for index in range(2_000)) == 1_020
    assert probes.unanswered(2) is not None
    assert probes.answered(3, "b", 1, instant(0.1)) is not None
    assert [probes.send("b", 1, instant(0.2)) is not None for _ in range(3)] == [True, True, False]
    assert len(probes.clear()) == 1_024
    assert probes.send("b", 1, instant(0.3)) is not None


def test_most_last_probes_failing_means_that_it_may_be_us_but_not_with_one_neighbour() -> None:
    probes = Probes()

    def fails(node: str) -> None:
        probe = probes.unanswered(probes.send(node, 1, instant(0.0)) or 0)
        assert probe is not None
        probes.failed(probe)

    doubts = []
    for node in ("b", "c"):
        fails(node)
        doubts.append(probes.is_doubtful)
    probes.answered(probes.send("b", 1, instant(0.0)) or 0, "b", 1, instant(0.1))
    assert [*doubts, probes.is_doubtful] == [False, True, False]


DEAD = Dead("x", 5, 2, "timeout", (b"1", b"2"))


def test_a_proof_counts_distinct_signers_of_the_very_same_accusation() -> None:
    carried = [
        heard("b", Suspect("x", 5, 2, "absent")),
        heard("b", Confirm("x", 5, 2, "timeout")),
        heard("c", Confirm("x", 5, 1, "timeout")),
        heard("d", Confirm("x", 4, 2, "timeout")),
        heard("e", Confirm("y", 5, 2, "timeout")),
        heard("x", Confirm("x", 5, 2, "timeout")),
        heard("f", Alive(2, "f", "r", "", b"")),
        heard("a", Suspect("x", 5, 2, "timeout")),
    ]
    assert sorted(proof(heard("a", DEAD), DEAD, carried)) == ["a", "b"]


@pytest.mark.parametrize(
    ("src", "life", "incarnation", "is_believed"),
    [("x", 5, 2, True), ("x", 5, 0, True), ("x", 5, 3, False), ("x", 4, 2, False), ("y", 5, 2, False)],
)
def test_a_life_is_proven_by_the_dead_nodes_own_word_only(
    src: str, life: int, incarnation: int, is_believed: bool
) -> None:
    carried = [heard(src, Alive(incarnation, "x", "r", "", b""), life=life)]
    assert (last_alive(DEAD, carried) is not None) == is_believed
