"""The arithmetic of failure detection, on its own."""

import pytest

from protocol.suspicion import (
    Accusation,
    Suspicion,
    accusers_needed,
    is_verifier,
    last_alive,
    proof,
    wait_s,
)
from protocol.wire.gossip import Alive, Confirm, Dead, Suspect
from tests.protocol.conversation import heard

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
    assert accusers_needed(unsuspected, most=2) == needed


def test_the_same_accuser_counts_once() -> None:
    suspicion = Suspicion(incarnation=0, since=0)
    assert suspicion.add("a", Accusation("timeout"))
    assert not suspicion.add("a", Accusation("absent"))
    assert suspicion.confirmations == 0
    assert suspicion.count("absent") == 0


def test_one_word_from_the_broker_makes_the_evidence_absent() -> None:
    suspicion = Suspicion(incarnation=0, since=0)
    suspicion.add("a", Accusation("timeout"))
    alone = suspicion.evidence
    suspicion.add("b", Accusation("absent"))
    assert (alone, suspicion.evidence) == ("timeout", "absent")


def _chosen(pool: list[str], incarnation: int = 0) -> list[str]:
    return [node for node in pool if is_verifier(node, pool, suspect="x", life=1, incarnation=incarnation, most=3)]


def test_everybody_chooses_the_same_verifiers_and_an_incarnation_later_others() -> None:
    assert len(_chosen(ANYONE)) == 3
    assert _chosen(ANYONE) == sorted(_chosen(ANYONE[::-1]))
    assert len({tuple(_chosen(ANYONE, incarnation)) for incarnation in range(20)}) > 5
    assert not is_verifier("nobody", ANYONE, suspect="x", life=1, incarnation=0, most=len(ANYONE))


def test_one_node_less_changes_no_other_verifier() -> None:
    three = _chosen(ANYONE)
    bystander = next(node for node in ANYONE if node not in three)
    rest = [node for node in ANYONE if node != bystander]
    assert _chosen(rest) == three


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
    assert (last_alive(DEAD, carried, since_ms=0) is not None) == is_believed
